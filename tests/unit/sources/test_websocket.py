"""Listening: groups, subscriptions, heartbeats, the watchdog, and what ends a connection."""

import asyncio
import time
from typing import Any

import pytest
from aiohttp import web
from pydantic import ValidationError
from websockets.asyncio.server import ServerConnection
from websockets.http11 import Request, Response

from service.errors import SourceLost, SourceRefused
from service.provider import Provider
from tests.collector import Collector, configured, running
from tests.listening import listening, quiet, says
from tests.site import Asked, Site


async def test_text_and_binary_messages_are_handed_on_as_they_arrived() -> None:
    messages = ["", "ä", b"\x00\xff", "not { json"]
    async with listening(says(*messages)) as (source, link), running(source, link):
        await link.until(lambda: len(link.messages) == 4)
    assert link.bodies == [b"", "ä".encode(), b"\x00\xff", b"not { json"]
    assert all(message.position is None for message in link.messages)


async def test_frames_that_arrived_together_are_handed_on_together() -> None:
    async def burst(connection: ServerConnection) -> None:
        connection.transport.write(b"".join(b"\x81\x03%03d" % number for number in range(900)))
        await connection.wait_closed()

    async with listening(burst) as (source, link), running(source, link):
        await link.until(lambda: len(link.messages) == 900)
    assert link.bodies == [b"%03d" % number for number in range(900)]
    assert len(link.groups) < 100


async def test_a_message_in_fragments_stays_whole_whatever_comes_between() -> None:
    async def fragments(connection: ServerConnection) -> None:
        # 10 = text begins, 00 = goes on, 80 = ends; 89 = a ping in between (RFC 6455, section 5.4).
        for piece in (b"\x81\x01a\x01\x01b", b"\x89\x00\x00\x01c", b"\x80\x01d\x81\x01e\x01\x01f", b"\x80\x01g"):
            connection.transport.write(piece)
            await asyncio.sleep(0.05)
        await connection.wait_closed()

    async with listening(fragments) as (source, link), running(source, link):
        await link.until(lambda: len(link.messages) == 4)
    assert link.bodies == [b"a", b"bcd", b"e", b"fg"]


async def test_a_whole_message_does_not_wait_for_the_end_of_the_next() -> None:
    handed_on = asyncio.Event()

    async def begun(connection: ServerConnection) -> None:
        connection.transport.write(b"\x81\x01a\x01\x01b")
        await asyncio.wait_for(handed_on.wait(), 5)
        connection.transport.write(b"\x80\x01c")
        await connection.wait_closed()

    async with listening(begun) as (source, link), running(source, link):
        await link.until(lambda: link.bodies == [b"a"])
        handed_on.set()
        await link.until(lambda: link.bodies == [b"a", b"bc"])


async def test_what_was_received_before_the_end_is_handed_on() -> None:
    async def talk(connection: ServerConnection) -> None:
        for number in range(100):
            await connection.send(str(number))
        await connection.close(1001, "going away")

    async with listening(talk) as (source, link):
        with pytest.raises(SourceLost, match="1001 going away"):
            await source.run(link)
    assert link.bodies == [b"%d" % number for number in range(100)]


async def test_a_server_that_closes_normally_is_lost_all_the_same() -> None:
    async def talk(connection: ServerConnection) -> None:
        await connection.close()

    async with listening(talk) as (source, link):
        with pytest.raises(SourceLost, match="1000"):
            await source.run(link)


async def test_subscriptions_are_sent_in_order_as_text_or_json() -> None:
    received: list[str | bytes] = []

    async def talk(connection: ServerConnection) -> None:
        received.extend([await connection.recv(), await connection.recv()])
        await connection.send("ok")
        await connection.wait_closed()

    feed = {"subscribe": ["HELLO", {"op": "subscribe", "channels": ["a", "b"]}]}
    async with listening(talk, feed) as (source, link), running(source, link):
        await link.until(lambda: len(link.messages) == 1)
    assert received == ["HELLO", '{"op":"subscribe","channels":["a","b"]}']


async def test_credentials_and_headers_are_in_the_handshake() -> None:
    seen: list[Request] = []

    def note(_connection: ServerConnection, request: Request) -> None:
        seen.append(request)

    feed = {"headers": {"X-Feed": "f"}, "subprotocols": ["v2", "v1"]}
    auth = {"kind": "query", "name": "key", "value": "s3cret"}
    async with (
        listening(says("hi"), feed, note, ["v1"], auth=auth, headers={"X-Provider": "p"}) as (source, link),
        running(source, link),
    ):
        await link.until(lambda: len(link.messages) == 1)
    assert seen[0].path == "/live?key=s3cret"
    assert (seen[0].headers["X-Feed"], seen[0].headers["X-Provider"]) == ("f", "p")
    assert seen[0].headers["Sec-WebSocket-Protocol"] == "v2, v1"
    assert "Sec-WebSocket-Extensions" not in seen[0].headers


async def test_compression_is_offered_when_asked_for() -> None:
    large = "compress me " * 10_000
    async with listening(says(large), {"compression": True}) as (source, link), running(source, link):
        await link.until(lambda: len(link.messages) == 1)
    assert link.bodies == [large.encode()]


ACK = {"acknowledge": {"match": {"type": "subscribed"}, "timeout": "300ms"}, "refuse": {"type": "error"}}


async def test_acknowledgements_are_no_data() -> None:
    messages = [{"type": "subscribed", "channel": "a"}, {"type": "score"}, {"type": "subscribed", "channel": "b"}]
    feed = {**ACK, "subscribe": ["a", "b"], "idle_timeout": "1s"}
    async with listening(says(*messages), feed) as (source, link):
        started = time.monotonic()
        with pytest.raises(SourceLost, match="silent for 1 s"):
            await source.run(link)
    assert time.monotonic() - started > 0.9  # acknowledged: the deadline of 300 ms does not count any more
    assert link.bodies == [b'{"type":"score"}']


async def test_a_subscription_that_is_not_acknowledged_is_a_source_lost() -> None:
    feed = {**ACK, "subscribe": ["a", "b"]}
    async with listening(says({"type": "subscribed"}), feed) as (source, link):
        with pytest.raises(SourceLost, match=r"1 subscriptions not acknowledged for 0\.3 s"):
            await source.run(link)


async def test_data_does_not_stand_in_for_an_acknowledgement() -> None:
    async def talk(connection: ServerConnection) -> None:
        while True:
            await connection.send('{"type":"score"}')
            await asyncio.sleep(0.02)

    async with listening(talk, {**ACK, "subscribe": ["a"]}) as (source, link):
        with pytest.raises(SourceLost, match="not acknowledged"):
            await source.run(link)
    assert link.messages


async def test_a_refused_subscription_is_told_in_the_providers_words_without_our_secret() -> None:
    messages = ["data", {"type": "error", "message": "bad key s3cret-key", "more": "x" * 500}]
    feed = {**ACK, "subscribe": ["a"]}
    auth = {"kind": "bearer", "token": "s3cret-key"}
    async with listening(says(*messages), feed, auth=auth) as (source, link):
        with pytest.raises(SourceRefused, match=r"bad key \*\*\*") as refused:
            await source.run(link)
    assert len(refused.value.reason) < 300
    assert link.bodies == [b"data"]


async def test_heartbeats_go_both_ways_and_keep_the_connection() -> None:
    beats: list[str | bytes] = []

    async def talk(connection: ServerConnection) -> None:
        async for beat in connection:
            beats.append(beat)
            await connection.send('{"op": "pong", "at": 1}')
            if len(beats) == 8:
                await connection.send("data")

    feed = {"heartbeat": {"every": "50ms", "send": {"op": "ping"}, "expect": {"op": "pong"}}, "idle_timeout": "300ms"}
    async with listening(talk, feed) as (source, link), running(source, link):
        await link.until(lambda: len(link.messages) == 1)
        assert link.lives >= 8
    assert beats[:2] == ['{"op":"ping"}'] * 2
    assert link.bodies == [b"data"]


async def test_beats_go_on_while_the_source_is_held_up() -> None:
    beaten = asyncio.Event()

    async def talk(connection: ServerConnection) -> None:
        await connection.send("data")
        for _ in range(10):
            assert await connection.recv() == "ping"
        beaten.set()
        await connection.wait_closed()

    feed = {"heartbeat": {"every": "20ms", "send": "ping"}, "idle_timeout": "100ms"}
    async with listening(talk, feed) as (source, link):
        link.room.clear()
        async with running(source, link) as run:
            async with asyncio.timeout(5):
                await beaten.wait()
            assert not run.ended.is_set()


async def test_silence_after_the_handshake_is_a_source_lost() -> None:
    async with listening(quiet, {"idle_timeout": "200ms"}) as (source, link):
        with pytest.raises(SourceLost, match=r"silent for 0\.2 s"):
            await source.run(link)


async def test_a_source_that_is_held_up_slows_the_provider_down() -> None:
    sent = 0
    piece = b"x" * (64 << 10)

    async def flood(connection: ServerConnection) -> None:
        nonlocal sent
        for _ in range(1000):
            await connection.send(piece)
            sent += 1
        await connection.wait_closed()

    async with listening(flood, {"idle_timeout": "200ms"}) as (source, link):
        link.room.clear()
        async with running(source, link) as run:
            await link.until(lambda: link.emitting > 0)
            before = -1
            while before != sent:  # until the provider cannot send any more
                before = sent
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(run.ended.wait(), 0.3)
            assert sent < 300
            link.room.set()
            await link.until(lambda: len(link.messages) == 1000)


async def test_a_message_beyond_max_message_is_a_refusal_that_names_it() -> None:
    async with listening(says("small", "x" * 5000), {"max_message": "4KiB"}) as (source, link):
        with pytest.raises(SourceRefused, match=r"max_message \(4096 bytes\)"):
            await source.run(link)
    assert link.bodies == [b"small"]


async def test_a_compressed_bomb_is_a_refusal() -> None:
    async with listening(says("x" * (8 << 20)), {"compression": True, "max_message": "1MiB"}) as (source, link):
        with pytest.raises(SourceRefused, match="max_message"):
            await source.run(link)


async def test_a_handshake_that_is_redirected_is_a_refusal_and_carries_nothing_away() -> None:
    def nothing(_asked: Asked) -> Any:
        raise AssertionError("the redirect was followed")

    async with Site(nothing) as other:

        def away(connection: ServerConnection, _request: Request) -> Response:
            response = connection.respond(302, "")
            response.headers["Location"] = other.url.replace("http", "ws")
            return response

        auth = {"kind": "header", "name": "X-Auth-Token", "value": "s3cret"}
        async with listening(quiet, handshake=away, auth=auth) as (source, link):
            with pytest.raises(SourceRefused, match="302"):
                await source.run(link)
        assert not other.asked


async def test_a_server_that_speaks_no_websocket_is_a_source_lost_or_refused() -> None:
    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"220 mail.example ESMTP\r\n")
        writer.close()

    server = await asyncio.start_server(babble, "127.0.0.1", 0)
    url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        source, settings = configured({"kind": "websocket", "url": url})
        async with Provider("test", settings) as provider:
            with pytest.raises(SourceLost, match="ws://127"):
                await source.run(Collector(provider))


async def test_a_handshake_with_an_ended_token_is_made_again_with_a_new_one() -> None:
    tokens: list[str] = []

    def ended(connection: ServerConnection, request: Request) -> Response | None:
        tokens.append(request.headers["Authorization"])
        return connection.respond(401, "expired token-1") if len(tokens) == 1 else None

    async with Site(lambda asked: web.json_response({"t": f"token-{asked.number + 1}"})) as login:
        auth = {"kind": "login", "url": login.url, "token": "t"}
        async with listening(says("hi"), None, ended, auth=auth) as (source, link), running(source, link):
            await link.until(lambda: len(link.messages) == 1)
    assert tokens == ["Bearer token-1", "Bearer token-2"]


async def test_a_handshake_that_is_refused_twice_is_a_refusal_that_shows_no_token() -> None:
    def refused(connection: ServerConnection, request: Request) -> Response:
        return connection.respond(401, f"no {request.headers['Authorization']}")

    async with Site(lambda asked: web.json_response({"t": f"token-{asked.number + 1}"})) as login:
        auth = {"kind": "login", "url": login.url, "token": "t"}
        async with listening(quiet, handshake=refused, auth=auth) as (source, link):
            with pytest.raises(SourceRefused, match=r"401: no Bearer \*\*\*"):
                await source.run(link)
    assert len(login.asked) == 2


async def test_a_handshake_that_is_answered_with_a_page_is_a_refusal_or_lost() -> None:
    def page(connection: ServerConnection, _request: Request) -> Response:
        return connection.respond(200, "<html>hello")

    async with listening(quiet, handshake=page) as (source, link):
        with pytest.raises((SourceLost, SourceRefused), match="200"):
            await source.run(link)


async def test_handshakes_keep_the_pace_of_the_provider() -> None:
    moments: list[float] = []

    def note(connection: ServerConnection, _request: Request) -> Response:
        moments.append(time.monotonic())
        return connection.respond(503, "")

    async with listening(quiet, handshake=note, rate_limit="2/s") as (source, link):
        for _ in range(3):
            with pytest.raises(SourceLost):
                await source.run(link)
    assert moments[2] - moments[0] >= 1


@pytest.mark.parametrize(
    ("feed", "problem"),
    [
        ({"url": "https://a.example"}, "pattern"),
        ({"heartbeat": {"send": "ping"}}, "needs `every`"),
        ({"heartbeat": {"answer": "pong"}}, "needs `expect`"),
        ({"acknowledge": {"match": {}}}, "at least 1"),
        ({"idle_timeout": "0s"}, "greater than"),
    ],
)
def test_settings_that_make_no_sense_are_refused(feed: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        configured({"kind": "websocket", **feed}, url="wss://b.example")
