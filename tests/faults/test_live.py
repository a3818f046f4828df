"""Faults of a live connection: after each the table is what the provider holds, and attempts to connect are few."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest

from service.config.load import loads
from service.daemon import Daemon
from tests.daemon import balanced, rows
from tests.exchange import Exchange
from tests.proxy import Proxy

CONFIG = """
database: {url: "%(database)s"}
buffer: {path: "%(folder)s", max_bytes: %(room)s}
http: {host: 127.0.0.1, port: 0}
tables:
  prices: {key: id, version: v, columns: {id: text, v: integer, p: integer}}
providers:
  exchange:
    url: ws://%(address)s
    timeout: 1s
    feeds:
      live:
        kind: websocket
        into: prices
        where: type == 'price'
        subscribe: [{op: subscribe}]
        acknowledge: {match: {type: subscribed}, timeout: 500ms}
        heartbeat: {every: 100ms}
        idle_timeout: 500ms
        map: {id: id, v: v, p: p}
        %(more)s
"""
PATIENCE = 30.0


class Running:
    """A daemon within the test, behind a proxy, with the exchange that it listens to."""

    def __init__(self, exchange: Exchange, proxy: Proxy, daemon: Daemon, database: str) -> None:
        self.exchange = exchange
        self.proxy = proxy
        self.daemon = daemon
        self._database = database

    @property
    def status(self) -> dict[str, Any]:
        return self.daemon.overview.status()

    @property
    def feed(self) -> dict[str, Any]:
        found: dict[str, Any] = self.status["feeds"].get("exchange.live", {})
        return found

    async def metrics(self) -> str:
        url = f"http://127.0.0.1:{self.daemon.overview.port}/metrics"
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            return await response.text()

    async def until(self, condition: Callable[[], bool]) -> None:
        limit = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < limit, self.status
            await asyncio.sleep(0.01)

    async def live(self, reconnects: int = 0) -> None:
        """Wait until the feed is subscribed, after so many reconnects."""

        def subscribed() -> bool:
            return self.up and self.feed["reconnects"] >= reconnects and self.exchange.audience > 0

        await self.until(subscribed)

    @property
    def up(self) -> bool:
        """Whether the feed is connected; before the first data it is quiet."""
        return self.feed.get("state") in {"live", "quiet"}

    async def ends_well(self) -> None:
        """Publish some more, and wait until the table is what the exchange holds, and nothing is on its way."""
        await self.exchange.publish(100)
        expected = sorted((key, version, price) for key, (version, price) in self.exchange.rows.items())
        limit = time.monotonic() + PATIENCE
        found: list[tuple[Any, ...]] = []
        while found != expected and time.monotonic() < limit:
            await asyncio.sleep(0.02)
            read = await rows(self._database, "select id, v, p from prices") if self.status["ready"] else []
            found = sorted(tuple(row.values()) for row in read)
        assert found == expected, self.status
        await self.until(lambda: self.status["ledger"]["in_flight"] == 0 and self.status["buffer"]["messages"] == 0)
        assert balanced(self.status)
        assert self.status["ledger"]["quarantined"] == 0


@contextlib.asynccontextmanager
async def running(
    database: str, folder: Path, more: str = "", exchange: Exchange | None = None, room: str = "64MiB"
) -> AsyncIterator[Running]:
    async with (exchange or Exchange()).serving() as served, Proxy("127.0.0.1", served.port) as proxy:
        values = {"database": database, "folder": folder, "address": proxy.address, "more": more, "room": room}
        daemon = Daemon(loads(CONFIG % values, "test", {}))
        async with asyncio.TaskGroup() as group:
            task = group.create_task(daemon.run())
            try:
                yield Running(served, proxy, daemon, database)
            finally:
                daemon.stop()
        assert task.result() == 0


Fault = Callable[[Running], Awaitable[None]]


async def cut(run: Running) -> None:
    run.proxy.cut()


async def reset(run: Running) -> None:
    run.proxy.reset()


async def half_open(run: Running) -> None:
    run.proxy.freeze()


async def stall(run: Running) -> None:
    run.proxy.stall()
    await run.until(lambda: run.feed["state"] == "reconnecting")
    run.proxy.resume()


async def accept_then_close(run: Running) -> None:
    run.proxy.closes = True
    run.proxy.cut()
    before = run.proxy.accepted
    await run.until(lambda: run.proxy.accepted >= before + 2)
    run.proxy.closes = False


@pytest.mark.parametrize("fault", [cut, reset, half_open, stall, accept_then_close])
async def test_a_broken_connection_ends_well_and_is_counted_once(database: str, tmp_path: Path, fault: Fault) -> None:
    async with running(database, tmp_path / "spool") as run:
        await run.live()
        await run.exchange.publish(500)
        await run.until(lambda: run.feed["messages"] >= 500)
        await fault(run)
        await run.exchange.publish(300)
        await run.live(reconnects=1)
        await run.ends_well()
        assert run.feed["gaps"] >= 1
        assert run.feed["last_error"]
        assert run.proxy.accepted <= 8


async def drip(run: Running) -> None:
    run.proxy.piece = 1


async def split(run: Running) -> None:
    run.proxy.piece = 7


async def burst(run: Running) -> None:
    await run.exchange.publish(100_000)


@pytest.mark.parametrize("fault", [drip, split, burst])
async def test_an_odd_flow_costs_nothing(database: str, tmp_path: Path, fault: Fault) -> None:
    async with running(database, tmp_path / "spool") as run:
        await run.live()
        await fault(run)
        await run.ends_well()
        assert (run.feed["gaps"], run.feed["reconnects"], run.proxy.accepted) == (0, 0, 1)


def doubled(frames: list[bytes]) -> list[bytes]:
    return [frame for frame in frames for _ in range(2)]


def reordered(frames: list[bytes]) -> list[bytes]:
    return frames[::-1]


@pytest.mark.parametrize("mangle", [doubled, reordered])
async def test_doubled_and_reordered_frames_do_no_harm(database: str, tmp_path: Path, mangle: Any) -> None:
    async with running(database, tmp_path / "spool") as run:
        await run.live()
        run.exchange.mangle = mangle
        await run.exchange.publish(1000)
        await run.ends_well()
        assert run.feed["reconnects"] == 0


async def test_a_sequence_that_begins_again_does_no_harm(database: str, tmp_path: Path) -> None:
    async with running(database, tmp_path / "spool") as run:
        await run.live()
        await run.exchange.publish(300)
        run.exchange.restart()
        await run.exchange.publish(300)
        await run.ends_well()


@pytest.mark.parametrize(
    ("status", "headers", "state", "least"),
    [(503, {}, "reconnecting", 0.0), (429, {"Retry-After": "1"}, "reconnecting", 1.0)],
)
async def test_a_handshake_that_is_refused_for_now_is_tried_again_in_time(
    database: str, tmp_path: Path, status: int, headers: dict[str, str], state: str, least: float
) -> None:
    exchange = Exchange()
    exchange.refusals = [(status, headers)] * 2
    started = time.monotonic()
    async with running(database, tmp_path / "spool", exchange=exchange) as run:
        await run.until(lambda: run.feed.get("state") == state and str(status) in run.feed["last_error"])
        await run.live(reconnects=2)
        assert time.monotonic() - started >= 2 * least
        await run.ends_well()
        assert run.exchange.asked == 3
        assert run.feed["gaps"] == 0


@pytest.mark.parametrize("status", [401, 403])
async def test_a_handshake_that_is_refused_for_good_parks_the_feed(database: str, tmp_path: Path, status: int) -> None:
    exchange = Exchange()
    exchange.refusals = [(status, {})]
    async with running(database, tmp_path / "spool", exchange=exchange) as run:
        await run.until(lambda: run.feed.get("state") == "parked")
        assert str(status) in run.feed["last_error"]
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.Event().wait(), 1.0)
        assert run.exchange.asked == 1
        line = run.daemon.overview.line("exchange.live")
        assert line is not None
        assert line.feed is not None
        line.feed.poll()
        await run.live(reconnects=1)
        await run.ends_well()


async def test_a_peer_that_never_acknowledges_is_not_hammered(database: str, tmp_path: Path) -> None:
    exchange = Exchange()
    exchange.acknowledges = False
    async with running(database, tmp_path / "spool", exchange=exchange) as run:
        await run.until(lambda: run.feed.get("reconnects", 0) >= 2)
        assert "not acknowledged for 0.5 s" in run.feed["last_error"]
        exchange.acknowledges = True
        await run.live(reconnects=2)
        await run.ends_well()
        assert exchange.opened <= 6


async def test_a_message_that_is_too_large_parks_the_feed_and_says_why(database: str, tmp_path: Path) -> None:
    exchange = Exchange()
    async with running(database, tmp_path / "spool", "max_message: 200", exchange=exchange) as run:
        await run.live()
        exchange.mangle = lambda frames: [*frames, b" " * 300]
        await run.exchange.publish(100)
        await run.until(lambda: run.feed["state"] == "parked")
        assert "max_message (200 bytes)" in run.feed["last_error"]
        assert run.exchange.opened == 1


async def test_one_redundant_connection_that_dies_is_no_outage(database: str, tmp_path: Path) -> None:
    async with running(database, tmp_path / "spool", "connections: 2") as run:
        await run.until(lambda: [each["state"] for each in run.feed.get("connections", ())] == ["live", "live"])
        for _ in range(3):
            before = run.feed["reconnects"]
            await run.exchange.publish(300)
            next(iter(run.proxy._writers)).transport.abort()
            await run.exchange.publish(300)
            await run.until(lambda before=before: run.feed["reconnects"] > before)  # type: ignore[misc]
            assert run.feed["state"] == "live"
            await run.until(lambda: all(each["state"] == "live" for each in run.feed["connections"]))
        await run.ends_well()
        assert run.feed["gaps"] == 0
        first, second = run.feed["connections"]
        assert first["first"] + second["first"] >= 1900
        assert first["later"] + second["later"] > 0
        metrics = await run.metrics()
        assert (
            f'headrace_copies_first_total{{connection="0",copy="1",feed="exchange.live"}} {second["first"]}.0'
            in metrics
        )
        assert 'headrace_feed_stale{feed="exchange.live"} 0.0' in metrics


async def test_many_subscriptions_over_several_connections_end_well(database: str, tmp_path: Path) -> None:
    more = "subscriptions: [{for: [a, b, c, d, e], send: {op: subscribe, of: '{item}'}}]\n        max_subscriptions: 2"
    async with running(database, tmp_path / "spool", more) as run:
        await run.until(lambda: [each["state"] for each in run.feed.get("connections", ())] == ["live"] * 3)
        await run.exchange.publish(300)
        await run.ends_well()
        assert [sum(each["subscriptions"].values()) for each in run.feed["connections"]] == [2, 2, 2]


async def test_the_socket_is_read_while_postgres_makes_us_wait(database: str, tmp_path: Path) -> None:
    async with running(database, tmp_path / "spool") as run:
        await run.live()
        await run.ends_well()
        locker = await asyncpg.connect(database)
        try:
            await locker.execute("begin; lock table prices")
            before = run.feed["messages"]
            await run.exchange.publish(20_000)
            await run.until(lambda: run.feed["messages"] >= before + 20_000)
            assert run.feed["paused_s"] == 0
        finally:
            await locker.close()
        await run.ends_well()


async def test_a_full_buffer_conflates_where_it_may_and_every_record_is_accounted_for(
    database: str, tmp_path: Path
) -> None:
    async with running(database, tmp_path / "spool", "when_full: conflate", room="1MiB") as run:
        await run.live()
        await run.ends_well()
        locker = await asyncpg.connect(database)
        try:
            await locker.execute("begin; lock table prices")
            await run.exchange.publish(100_000)
            await run.until(lambda: run.feed["conflated"] > 10_000)
        finally:
            await locker.close()
        await run.ends_well()
        ledger = run.status["ledger"]
        assert ledger["received"] == 100_000 + 2 * 100
        assert run.feed["reconnects"] == 0
