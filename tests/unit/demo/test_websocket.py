"""The WebSocket provider asks for a token, snapshots, streams every event to every subscriber, and can be cut."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosedError, InvalidStatus

from service.demo.faults import Faults
from service.demo.oracle import Change, Poison
from service.demo.providers import Providers
from service.demo.season import OPENING

_TOKEN = {"X-Auth-Token": "demo"}
_SUBSCRIBE = {"op": "subscribe", "channel": "scores"}


async def _say(connection: ClientConnection, **message: Any) -> None:
    await connection.send(json.dumps(message))


async def _hear(connection: ClientConnection) -> Any:
    return json.loads(await connection.recv())


async def _drain(connection: ClientConnection) -> None:
    while True:
        await connection.recv()


@asynccontextmanager
async def _subscribed(providers: Providers) -> AsyncIterator[ClientConnection]:
    # A client that leaves in mid-stream does not read on until it finds the answer to its close frame.
    async with connect(providers.websocket_url, additional_headers=_TOKEN, close_timeout=0.1) as connection:
        await _say(connection, **_SUBSCRIBE)
        assert await _hear(connection) == {"type": "subscribed", "channel": "scores"}
        yield connection


async def test_a_token_in_the_subscribe_message_serves_as_well_as_one_in_the_header() -> None:
    async with Providers(total=0) as providers, connect(providers.websocket_url) as connection:
        await _say(connection, **_SUBSCRIBE, token="demo")
        assert (await _hear(connection))["type"] == "subscribed"


async def test_without_a_token_the_subscription_is_refused_and_the_connection_closed() -> None:
    async with Providers(total=0) as providers, connect(providers.websocket_url) as connection:
        await _say(connection, **_SUBSCRIBE)
        assert (await _hear(connection))["type"] == "error"
        with pytest.raises(ConnectionClosedError) as closed:
            await connection.recv()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1008


@pytest.mark.parametrize(("path", "token", "status"), [("live", "wrong", 401), ("elsewhere", "demo", 404)])
async def test_a_handshake_with_a_wrong_token_or_path_is_refused(path: str, token: str, status: int) -> None:
    async with Providers(total=0) as providers:
        url = providers.websocket_url.replace("live", path)
        with pytest.raises(InvalidStatus) as refused:
            await connect(url, additional_headers={"X-Auth-Token": token}).__aenter__()
    assert refused.value.response.status_code == status


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"op":"dance"}', '{"op":"subscribe","channel":"news"}'])
async def test_a_message_that_makes_no_sense_is_answered_with_an_error(text: str) -> None:
    async with (
        Providers(total=0) as providers,
        connect(providers.websocket_url, additional_headers=_TOKEN) as connection,
    ):
        await connection.send(text)
        assert (await _hear(connection))["type"] == "error"
        await _say(connection, op="ping")
        assert await _hear(connection) == {"type": "pong"}


async def test_heartbeats_come_when_nothing_else_does() -> None:
    async with Providers(total=0, heartbeat=0.01) as providers, _subscribed(providers) as connection:
        assert await _hear(connection) == {"type": "heartbeat"}
        assert await _hear(connection) == {"type": "heartbeat"}


@pytest.mark.parametrize("prebuilt", [False, True])
async def test_a_subscriber_receives_every_event_in_order(prebuilt: bool) -> None:
    total = 3000
    providers = Providers(
        total=total, speed=0, audience=1, heartbeat=None, prebuilt=prebuilt, faults=Faults(poison=0.02)
    )
    async with providers, _subscribed(providers) as connection:
        frames = [await connection.recv(decode=False) for _ in range(total)]
        await providers.finished()
        oracle = providers.oracle()

    entries = list(oracle.log)[OPENING:]
    assert oracle.poison.total() > 20
    assert len(entries) == total
    for frame, entry in zip(frames, entries, strict=True):
        if isinstance(entry, Poison):
            assert frame == entry.body
        else:
            message = json.loads(frame)
            assert message["seq"] == entry.sequence
            assert message["data"]["id"] == entry.match.id


async def test_every_one_of_several_subscribers_receives_everything_even_if_one_is_slow() -> None:
    total = 20_000
    providers = Providers(total=total, speed=0, audience=3, heartbeat=None)

    async def count(slow: bool) -> int:
        async with connect(providers.websocket_url, additional_headers=_TOKEN, max_queue=1) as connection:
            await _say(connection, **_SUBSCRIBE)
            heard = 0
            async for text in connection:
                heard += '"score"' in str(text)
                if slow and heard % 1000 == 0:
                    await asyncio.sleep(0.001)
                if heard == total:
                    return heard
            return heard

    async with providers, asyncio.TaskGroup() as group:
        counts = [group.create_task(count(slow)) for slow in (False, True, False)]

    assert [task.result() for task in counts] == [total] * 3


async def test_a_client_that_reads_nothing_stalls_the_publisher_instead_of_filling_memory() -> None:
    providers = Providers(total=200_000, speed=0, audience=1, heartbeat=None, patience=None)
    async with providers, _subscribed(providers) as connection:
        connection.transport.pause_reading()
        before = -1
        while before != providers.oracle().published:  # until a whole tenth of a second passes without progress
            before = providers.oracle().published
            await asyncio.sleep(0.1)
        assert before < 100_000
        assert not providers.live.finished.is_set()
        connection.transport.abort()


async def test_a_new_subscriber_gets_a_snapshot_of_the_live_matches_before_the_next_event() -> None:
    async with Providers(speed=2000, audience=1, heartbeat=None) as providers:
        async with _subscribed(providers) as connection:
            for _ in range(205):
                await connection.recv()
        async with _subscribed(providers) as connection:
            messages = [await _hear(connection) for _ in range(40)]

    sequences = [message["seq"] for message in messages]
    snapshot = [message for message in messages if message["seq"] == sequences[0]]
    assert len(snapshot) > 1
    assert {message["data"]["st"] for message in snapshot} == {"live"}
    assert [message for message in messages if message.get("snapshot")] == snapshot
    assert all(later - earlier == 1 for earlier, later in pairwise(sequences[len(snapshot) - 1 :]))
    changes = {entry.sequence: entry for entry in providers.oracle().log if isinstance(entry, Change)}
    expected = {
        change.match.id: change.match.status for sequence, change in sorted(changes.items()) if sequence <= sequences[0]
    }
    assert {message["data"]["id"] for message in snapshot} == {
        match_id for match_id, status in expected.items() if status == "live"
    }


async def test_cut_breaks_every_connection_and_publishing_waits_for_the_audience_to_return() -> None:
    async with Providers(speed=0, audience=1, heartbeat=None) as providers:
        async with _subscribed(providers) as connection:
            await connection.recv()
            providers.cut()
            with pytest.raises(ConnectionClosedError):
                await _drain(connection)
        async with _subscribed(providers) as connection:
            assert (await _hear(connection))["type"] == "score"
        assert providers.live.connections == 2


async def test_chance_cuts_connections_too() -> None:
    faults = Faults(disconnect=0.01)
    async with Providers(speed=0, audience=1, faults=faults) as providers, _subscribed(providers) as connection:
        with pytest.raises(ConnectionClosedError):
            await _drain(connection)


async def test_chance_drops_changes_and_leaves_their_numbers_out() -> None:
    providers = Providers(total=300, speed=0, audience=1, heartbeat=None, faults=Faults(drop=0.2))
    async with providers, _subscribed(providers) as connection:
        await providers.finished()
        published = [entry.sequence for entry in list(providers.oracle().log)[OPENING:]]
        heard = [(await _hear(connection))["seq"]]
        while heard[-1] < max(published) - 20:
            heard.append((await _hear(connection))["seq"])
    assert set(heard) < set(range(published[0], heard[-1] + 1))


async def test_chance_drops_no_poison() -> None:
    providers = Providers(total=200, speed=0, audience=1, heartbeat=None, faults=Faults(drop=1.0, poison=0.3))
    async with providers, _subscribed(providers) as connection:
        await providers.finished()
        bodies = [entry.body for entry in providers.oracle().log if isinstance(entry, Poison)]
        assert [await connection.recv(decode=False) for _ in bodies] == bodies


async def test_speed_is_events_a_second() -> None:
    providers = Providers(total=100, speed=500, audience=1, heartbeat=None)
    loop = asyncio.get_running_loop()
    async with providers, _subscribed(providers):
        start = loop.time()
        await providers.finished()
        assert 0.15 < loop.time() - start < 2
