"""What a provider's protocol asks for: handshakes, subscriptions, heartbeats, resume tokens, compressed messages."""

import asyncio
import gzip
import ssl
import zlib
from pathlib import Path
from typing import Any

import orjson
import pytest
import trustme
from pydantic import ValidationError
from websockets.asyncio.server import ServerConnection, serve

from service.config.load import loads
from service.errors import SourceLost, SourceRefused, StartError
from service.provider import Provider
from tests.collector import Collector, configured, running
from tests.listening import Talk, hear, listening, quiet, say, says
from tests.socks import Socks
from tests.tunnel import Tunnel

LOGIN = [
    {"expect": {"match": {"type": "hello"}, "timeout": "300ms"}},
    {
        "send": {"op": "auth", "key": "k3y-of-ours", "answer": "{reply.challenge}", "session": "{replies[0].session}"},
        "expect": {"match": {"type": "welcome"}, "refuse": {"type": "denied"}, "timeout": "300ms"},
    },
]


def door(answer: dict[str, Any], said: list[Any]) -> Talk:
    async def talk(connection: ServerConnection) -> None:
        await say(connection, {"type": "hello", "challenge": [1, 2], "session": "s"})
        said.append(await hear(connection))
        await say(connection, {"type": "heartbeat"}, {"type": "score", "n": 0}, answer)
        said.append(await hear(connection))
        await say(connection, {"type": "score", "n": 1})
        await connection.wait_closed()

    return talk


async def test_a_handshake_goes_step_by_step_with_values_of_earlier_replies() -> None:
    said: list[Any] = []
    feed = {
        "handshake": LOGIN,
        "subscribe": [{"op": "subscribe", "as": "{reply.user}"}],
        "heartbeat": {"expect": {"type": "heartbeat"}},
    }
    async with listening(door({"type": "welcome", "user": 7}, said), feed) as (source, link), running(source, link):
        await link.until(lambda: len(link.messages) == 2)
    assert said == [
        {"op": "auth", "key": "k3y-of-ours", "answer": [1, 2], "session": "s"},
        {"op": "subscribe", "as": 7},
    ]
    assert link.bodies == [b'{"type":"score","n":0}', b'{"type":"score","n":1}']  # what came early is not lost


async def test_a_refused_handshake_is_told_in_the_providers_words_without_our_key() -> None:
    denied = {"type": "denied", "why": "k3y-of-ours is unknown"}
    async with listening(door(denied, []), {"handshake": LOGIN}) as (source, link):
        with pytest.raises(SourceRefused, match=r"handshake refused: .*\*\*\* is unknown"):
            await source.run(link)


async def test_a_reply_that_does_not_come_in_time_is_a_source_lost() -> None:
    async with listening(quiet, {"handshake": LOGIN}) as (source, link):
        with pytest.raises(SourceLost, match=r"no reply to step 1 of the handshake for 0\.3 s"):
            await source.run(link)


async def test_a_reply_that_lacks_what_is_to_be_sent_is_a_refusal() -> None:
    async with listening(says({"type": "hello"}), {"handshake": LOGIN}) as (source, link):
        with pytest.raises(SourceRefused, match=r"step 2 of the handshake: there is no \{reply.challenge\}"):
            await source.run(link)


async def test_what_came_from_a_variable_is_never_shown() -> None:
    text = """
tables: {t: {key: a, columns: {a: text}}}
providers:
  p:
    url: ws://127.0.0.1:1
    feeds:
      f: {kind: websocket, into: t, map: {a: a}, subscribe: ["GO ${PIN}"], handshake: [{send: [login, "${PIN}"]}]}
"""
    config = loads(text, "x", {"PIN": "quite secret"})
    provider = Provider("p", config.providers["p"])
    assert provider.said(b"no: quite secret") == "no: ***"
    assert provider.said(b"login failed, GO away") == "login failed, GO away"


SYMBOLS = {
    "send": {"op": "sub", "s": "{item}"},
    "for": ["A", "B", "C"],
    "confirm": {"subscribed": "{item}"},
    "refuse": {"refused": "{item}"},
    "data": {"s": "{item}"},
    "unsubscribe": {"op": "unsub", "s": "{item}"},
    "freshness": "200ms",
}


async def test_a_stale_subscription_is_begun_again_on_the_same_connection() -> None:
    asked: list[str] = []
    connections = 0

    async def talk(connection: ServerConnection) -> None:
        nonlocal connections
        connections += 1
        async with asyncio.TaskGroup() as group:
            flowing: dict[str, asyncio.Task[None]] = {}

            async def flow(symbol: str) -> None:
                while True:
                    await say(connection, {"s": symbol})
                    await asyncio.sleep(0.02)

            async for text in connection:
                message = orjson.loads(text)
                asked.append(f"{message['op']} {message['s']}")
                if message["op"] == "unsub":
                    continue
                await say(connection, {"subscribed": message["s"]})
                if message["s"] != "B" or asked.count("sub B") > 1:  # B is acknowledged, and never delivers
                    flowing[message["s"]] = group.create_task(flow(message["s"]))
            for task in flowing.values():
                task.cancel()

    async with listening(talk, {"subscriptions": [SYMBOLS]}) as (source, link), running(source, link) as run:
        await link.until(lambda: b'{"s":"B"}' in link.bodies)
        assert link.tracked is not None
        assert link.tracked.counts() == {"live": 3}
        assert not run.ended.is_set()
    assert asked[:5] == ["sub A", "sub B", "sub C", "unsub B", "sub B"]
    assert connections == 1


async def test_heartbeats_are_no_data_of_a_subscription() -> None:
    async def talk(connection: ServerConnection) -> None:
        while True:
            await say(connection, {"type": "heartbeat"})
            await asyncio.sleep(0.02)

    feed = {"subscribe": ["go"], "heartbeat": {"expect": {"type": "heartbeat"}}, "freshness": "300ms"}
    async with listening(talk, feed) as (source, link):
        with pytest.raises(SourceLost, match=r"no data for 0\.3 s"):
            await source.run(link)
        assert link.lives > 5


async def test_a_subscription_is_not_stale_because_we_are_slow() -> None:
    async def talk(connection: ServerConnection) -> None:
        while True:
            await say(connection, {"n": 1})
            await asyncio.sleep(0.01)

    async with listening(talk, {"subscribe": ["go"], "freshness": "150ms"}) as (source, link):
        link.room.clear()
        async with running(source, link) as run:
            await link.until(lambda: link.emitting > 0)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(run.ended.wait(), 0.5)
            link.room.set()
            await link.until(lambda: len(link.messages) > 20)
            assert not run.ended.is_set()


async def test_hundreds_of_subscriptions_are_packed_paced_and_batched() -> None:
    moments: list[float] = []
    asked: list[Any] = []

    async def talk(connection: ServerConnection) -> None:
        while True:
            asked.append(await hear(connection))
            moments.append(asyncio.get_running_loop().time())
            await say(connection, {"ok": asked[-1]["id"]})

    spec = {
        "send": {"args": "{items}", "id": "{number}"},
        "for": [f"S{n}" for n in range(250)],
        "batch": 50,
        "confirm": {"ok": "{number}"},
    }
    feed = {"subscriptions": [spec], "max_subscriptions": 100, "send_every": "50ms"}
    async with listening(talk, feed) as (source, link):
        parts = source.parts()
        assert len(parts) == 3
        for part in parts:
            async with running(part, link):
                await link.until(lambda: link.tracked is not None and link.tracked.counts().get("pending") is None)
                link.tracked = None
    assert [item for message in asked for item in message["args"]] == [f"S{n}" for n in range(250)]
    assert max(len(message["args"]) for message in asked) == 50
    assert moments[1] - moments[0] > 0.04


@pytest.mark.parametrize(
    ("heartbeat", "theirs", "ours"),
    [
        ({"expect": "ping", "answer": "pong"}, "ping", "pong"),
        ({"expect": {"ping": "*"}, "answer": {"pong": "{reply.ping}"}}, {"ping": 1690}, {"pong": 1690}),
    ],
)
async def test_the_providers_heartbeats_are_answered(heartbeat: Any, theirs: Any, ours: Any) -> None:
    heard: list[Any] = []

    async def talk(connection: ServerConnection) -> None:
        for _ in range(3):
            await say(connection, theirs)
            heard.append(await hear(connection))
        await say(connection, "data")
        await connection.wait_closed()

    async with listening(talk, {"heartbeat": heartbeat}) as (source, link), running(source, link):
        await link.until(lambda: bool(link.messages))
    assert heard == [ours] * 3
    assert link.bodies == [b"data"]


async def test_pings_of_the_protocol_keep_a_silent_connection() -> None:
    feed = {"heartbeat": {"every": "50ms"}, "idle_timeout": "250ms"}
    async with listening(quiet, feed) as (source, link), running(source, link) as run:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(run.ended.wait(), 1)


BETFAIR = {
    "subscribe": [{"op": "subscribe", "clk": "{resume.clk}", "initialClk": "{resume.first}"}],
    "resume": {"fields": {"clk": "clk", "first": "initialClk"}, "refuse": {"errorCode": "INVALID_CLOCK"}},
}


async def test_resume_tokens_are_kept_with_the_position_and_sent_again() -> None:
    asked: list[Any] = []

    async def talk(connection: ServerConnection) -> None:
        asked.append(await hear(connection))
        await say(connection, {"initialClk": "i", "clk": "1"}, {"clk": "2"}, {"clk": "3"}, {"other": 1})
        await connection.wait_closed()

    async with listening(talk, BETFAIR) as (source, link):
        for _ in range(2):
            async with running(source, link):
                count = len(link.messages) + 4
                await link.until(lambda count=count: len(link.messages) == count)  # type: ignore[misc]
        assert link.position is not None
        assert link.position["resume"] == {"clk": "3", "first": "i"}
        other = source.model_copy(update={"subscribe": ({"op": "subscribe", "what": "else", "clk": "{resume.clk}"},)})
        async with running(other, link):
            await link.until(lambda: len(link.messages) == 12)
    assert asked[0] == {"op": "subscribe"}
    assert asked[1] == {"op": "subscribe", "clk": "3", "initialClk": "i"}
    assert asked[2] == {"op": "subscribe", "what": "else"}


async def test_a_token_that_is_refused_is_forgotten() -> None:
    asked: list[Any] = []

    async def talk(connection: ServerConnection) -> None:
        asked.append(await hear(connection))
        if "clk" in asked[-1]:
            await say(connection, {"errorCode": "INVALID_CLOCK"})
        else:
            await say(connection, {"initialClk": "i", "clk": "9"})
        await connection.wait_closed()

    async with listening(talk, BETFAIR) as (source, link):
        async with running(source, link):
            await link.until(lambda: len(link.messages) == 1)
        with pytest.raises(SourceLost, match="cannot resume, beginning anew"):
            await source.run(link)
        async with running(source, link):
            await link.until(lambda: len(link.messages) == 2)
    assert ["clk" in each for each in asked] == [False, True, False]


@pytest.mark.parametrize(
    ("packing", "pack"),
    [
        ("gzip", gzip.compress),
        ("zlib", zlib.compress),
        ("deflate", lambda body: zlib.compress(body, wbits=-15)),
    ],
)
async def test_messages_that_the_provider_compresses_itself_are_unfolded(packing: str, pack: Any) -> None:
    feed = {"packing": packing, "heartbeat": {"expect": {"ping": "*"}}, "max_message": "1KiB"}
    messages = [pack(b'{"n":1}'), pack(b'{"ping":1}'), "plain", pack(b'{"n":2}'), pack(b"x" * 5000)]
    async with listening(says(*messages), feed) as (source, link):
        with pytest.raises(SourceRefused, match=r"max_message \(1024 bytes\) once it is unfolded"):
            await source.run(link)
    assert link.bodies == [b'{"n":1}', b"plain", b'{"n":2}']


async def test_replies_of_a_handshake_that_are_compressed_are_understood() -> None:
    async def talk(connection: ServerConnection) -> None:
        await say(connection, gzip.compress(b'{"type":"hello","challenge":1,"session":"s"}'))
        said.append(await hear(connection))
        await say(connection, gzip.compress(b'{"n":0}'), gzip.compress(b'{"type":"welcome"}'))
        await say(connection, gzip.compress(b'{"n":1}'))
        await connection.wait_closed()

    said: list[Any] = []
    async with listening(talk, {"packing": "gzip", "handshake": LOGIN}) as (source, link), running(source, link):
        await link.until(lambda: len(link.messages) == 2)
    assert said == [{"op": "auth", "key": "k3y-of-ours", "answer": 1, "session": "s"}]
    assert link.bodies == [b'{"n":0}', b'{"n":1}']


async def test_what_follows_the_end_of_a_compressed_message_is_not_dropped() -> None:
    odd = gzip.compress(b'{"n":1}') + b'{"n":2}'
    async with listening(says(odd), {"packing": "gzip"}) as (source, link), running(source, link):
        await link.until(lambda: link.bodies == [odd])


async def test_a_message_of_ours_that_is_too_large_for_the_provider_is_a_refusal() -> None:
    async def talk(connection: ServerConnection) -> None:
        await connection.close(1009, "too big")

    async with listening(talk) as (source, link):
        with pytest.raises(SourceRefused, match="1009 too big: a message of ours"):
            await source.run(link)


async def test_a_private_authority_is_trusted_when_it_is_named_and_only_then(tmp_path: Path) -> None:
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    async with serve(says("hi"), "127.0.0.1", 0, ssl=context) as server:
        url = f"wss://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"
        source, settings = configured({"kind": "websocket"}, url=url, tls={"ca": str(tmp_path / "ca.pem")})
        async with Provider("test", settings) as provider, running(source, link := Collector(provider)):
            await link.until(lambda: link.bodies == [b"hi"])
        source, settings = configured({"kind": "websocket"}, url=url)
        async with Provider("test", settings) as provider:
            with pytest.raises(SourceLost, match="certificate verify failed"):
                await source.run(Collector(provider))


async def test_an_authority_that_cannot_be_read_forbids_the_start() -> None:
    _, settings = configured({"kind": "websocket"}, url="wss://x", tls={"ca": "/nowhere/ca.pem"})
    with pytest.raises(StartError, match=r"providers\.test\.tls\.ca: /nowhere/ca\.pem"):
        async with Provider("test", settings):
            pass


@pytest.mark.parametrize(
    ("scheme", "kind", "refusal"),
    [("http", Tunnel, "407"), ("socks5", Socks, "SOCKS proxy"), ("socks5h", Socks, "SOCKS proxy")],
)
async def test_everything_goes_through_the_proxy_that_is_configured(
    scheme: str, kind: type[Tunnel], refusal: str
) -> None:
    async with kind(user="u", password="p4ssword") as tunnel, serve(says("hi"), "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        proxy = f"{scheme}://u:p4ssword@127.0.0.1:{tunnel.port}"
        source, settings = configured({"kind": "websocket"}, url=f"ws://127.0.0.1:{port}", proxy=proxy)
        async with Provider("test", settings) as provider, running(source, link := Collector(provider)):
            await link.until(lambda: link.bodies == [b"hi"])
        assert tunnel.targets == [f"127.0.0.1:{port}"]
        wrong = proxy.replace("p4ssword", "wr0ngword")
        source, settings = configured({"kind": "websocket"}, url=f"ws://127.0.0.1:{port}", proxy=wrong)
        async with Provider("test", settings) as provider:
            with pytest.raises(SourceLost, match=refusal) as lost:
                await source.run(Collector(provider))
            assert "wr0ngword" not in lost.value.reason


@pytest.mark.parametrize("proxy", ["socks4://x:1", "socks5://x", "proxy:3128", "http://"])
def test_a_proxy_of_another_kind_is_refused(proxy: str) -> None:
    with pytest.raises(ValidationError, match="address of a proxy"):
        configured({"kind": "websocket"}, url="ws://x", proxy=proxy)
