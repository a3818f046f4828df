"""Holes in a live feed: each is in headrace.gaps, the REST side fills it, and the table is what the provider holds."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from aiohttp import web
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from service.config.load import loads
from service.daemon import Daemon
from tests.daemon import Daemon as Process
from tests.daemon import balanced
from tests.exchange import Exchange
from tests.proxy import Proxy
from tests.site import Asked, Site
from tests.sql import fetch

CONFIG = """
database: {url: "%(database)s"}
buffer: {path: "%(folder)s"}
http: {host: 127.0.0.1, port: "%(port)s"}
tables:
  prices: {key: id, version: v, columns: {id: text, v: integer, p: integer}}
providers:
  exchange:
    url: %(site)s
    timeout: 1s
    feeds:
      live:
        kind: websocket
        url: ws://%(address)s
        into: prices
        where: type == 'price'
        subscribe: [{op: subscribe}]
        acknowledge: {match: {type: subscribed}, timeout: 2s}
        heartbeat: {every: 100ms}
        idle_timeout: 1s
        map: {id: id, v: v, p: p}
        %(more)s
      all: {kind: rest, path: /prices, every: 1h, into: prices, map: {id: id, v: v, p: p}}
"""
EVENTS = """
database: {url: "%(database)s"}
buffer: {path: "%(folder)s"}
http: {host: 127.0.0.1, port: "%(port)s"}
tables:
  prices: {key: id, version: v, columns: {id: text, v: integer, p: integer}}
providers:
  exchange:
    url: %(site)s
    feeds:
      live:
        kind: sse
        path: /events
        sequence: {field: $params.id, on_gap: {refetch: all}}
        into: prices
        map: &map {id: id, v: v, p: p}
      all: {kind: rest, path: /prices, every: 1h, into: prices, map: *map}
"""
NUMBERED = "sequence: {field: seq, on_gap: {refetch: all}}"
GAPS = """select cause, from_position, to_position, filled_by from headrace.gaps where cause <> 'start'
order by from_time, from_position"""
STARTS = "select count(*), count(filled_at) from headrace.gaps where cause = 'start'"
PATIENCE = 60.0


class Market:
    """An exchange with its REST side, and the way to it.

    Attributes:
        open: cleared to hold the answers of the REST side back.
    """

    def __init__(self) -> None:
        self.exchange = Exchange()
        self.exchange.tells = False
        self.open = asyncio.Event()
        self.open.set()
        self.site = Site(self._answer)
        self.proxy = Proxy("127.0.0.1", 0)

    async def _answer(self, _asked: Asked) -> web.StreamResponse:
        await self.open.wait()
        return web.Response(body=self.exchange.prices(), content_type="application/json")

    @contextlib.asynccontextmanager
    async def opened(self) -> AsyncIterator["Market"]:
        async with self.exchange.serving() as served, Proxy("127.0.0.1", served.port) as self.proxy, self.site:
            yield self

    def config(self, database: str, folder: Path, more: str, port: str = "0") -> str:
        return CONFIG % {
            "database": database,
            "folder": folder / "spool",
            "site": self.site.url,
            "address": self.proxy.address,
            "more": more,
            "port": port,
        }

    async def drop(self, count: int) -> None:
        """Publish changes that nobody is sent."""
        self.exchange.mangle = lambda _frames: []
        await self.exchange.publish(count)
        self.exchange.mangle = list

    async def is_told(self, database: str) -> None:
        """Wait until the table is what the exchange holds."""
        expected = sorted((key, version, price) for key, (version, price) in self.exchange.rows.items())
        await until(database, "select id, v, p from prices", lambda rows: sorted(rows) == expected)


async def until(database: str, query: str, condition: Callable[[list[tuple[Any, ...]]], bool]) -> list[tuple[Any, ...]]:
    limit = time.monotonic() + PATIENCE
    while True:
        rows = await fetch(database, query)
        if condition(rows):
            return rows
        assert time.monotonic() < limit, rows
        await asyncio.sleep(0.02)


async def is_ready(daemon: Daemon) -> None:
    """Wait until its tables are there."""
    limit = time.monotonic() + PATIENCE
    while not daemon.overview.ready():
        assert time.monotonic() < limit, daemon.overview.status()
        await asyncio.sleep(0.01)


def settled(records: int) -> Callable[[dict[str, Any]], bool]:
    """Whether so many records of the live feed were received, and none is on its way."""

    def condition(status: dict[str, Any]) -> bool:
        ledger = status["feeds"]["exchange.live"].get("ledger", {})
        return (ledger.get("received"), ledger.get("in_flight")) == (records, 0)

    return condition


def all_filled(count: int) -> Callable[[list[tuple[Any, ...]]], bool]:
    return lambda gaps: len(gaps) >= count and all(gap[3] for gap in gaps)


class Running(Market):
    """The market, with a daemon within the test."""

    daemon: Daemon

    @property
    def feed(self) -> dict[str, Any]:
        found: dict[str, Any] = self.daemon.overview.status()["feeds"].get("exchange.live", {})
        return found

    async def metrics(self) -> str:
        url = f"http://127.0.0.1:{self.daemon.overview.port}/metrics"
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            return await response.text()

    async def until(self, condition: Callable[[], bool]) -> None:
        limit = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < limit, self.daemon.overview.status()
            await asyncio.sleep(0.01)

    async def live(self, reconnects: int = 0) -> None:
        """Wait until the feed is subscribed, and what was there at the start is asked for and loaded."""
        await self.until(
            lambda: (
                self.feed.get("state") in {"live", "quiet"}
                and self.feed["reconnects"] >= reconnects
                and self.exchange.audience > 0
                and self.daemon.overview.ready()
                and self.daemon.overview.status()["feeds"]["exchange.all"]["next_poll_at"] is not None
                and (self.feed["open_gaps"] == 0 or reconnects > 0)
            )
        )

    async def loaded(self, messages: int) -> None:
        """Wait until so many changes were loaded."""
        await self.until(lambda: self.feed["ledger"]["received"] - self.feed["ledger"]["in_flight"] >= messages)


@contextlib.asynccontextmanager
async def running(database: str, folder: Path, more: str = NUMBERED) -> AsyncIterator[Running]:
    run = Running()
    async with run.opened():
        run.daemon = Daemon(loads(run.config(database, folder, more), "test", {}))
        async with asyncio.TaskGroup() as group:
            task = group.create_task(run.daemon.run())
            try:
                await run.live()
                yield run
            finally:
                run.daemon.stop()
        assert task.result() == 0
        assert balanced(run.daemon.overview.status())


async def test_each_hole_is_written_down_and_filled_and_the_table_is_whole(database: str, tmp_path: Path) -> None:
    async with running(database, tmp_path) as run:
        for _ in range(3):
            await run.exchange.publish(100)
            await run.drop(30)
        await run.exchange.publish(1)
        found = await until(database, GAPS, all_filled(3))
        await run.is_told(database)
        assert found == [("sequence", at, at + 31, "exchange.all") for at in (100, 230, 360)]
        assert run.feed["gaps"] == 1 + 3
        assert run.feed["open_gaps"] == 0
        metrics = await run.metrics()
        assert 'headrace_feed_gaps_total{feed="exchange.live"} 4.0' in metrics
        assert 'headrace_feed_open_gaps{feed="exchange.live"} 0.0' in metrics
        start = await fetch(database, "select to_time - from_time, filled_by from headrace.gaps where cause = 'start'")
        assert start == [(timedelta(), "exchange.all")]
        times = await fetch(
            database, "select bool_and(from_time <= to_time and to_time < filled_at) from headrace.gaps"
        )
        assert times == [(True,)]


async def test_without_anybody_to_ask_a_hole_stays_open_and_says_so(database: str, tmp_path: Path) -> None:
    async with running(database, tmp_path, "sequence: {field: seq}") as run:
        await run.exchange.publish(10)
        await run.drop(5)
        await run.exchange.publish(10)
        assert await until(database, GAPS, lambda gaps: len(gaps) == 1) == [("sequence", 10, 16, None)]
        await run.until(lambda: (run.feed["gaps"], run.feed["open_gaps"]) == (1, 1))


async def test_what_is_doubled_is_no_gap_and_a_burst_makes_none(database: str, tmp_path: Path) -> None:
    async with running(database, tmp_path) as run:
        run.exchange.mangle = lambda frames: [frame for frame in frames for _ in range(2)]
        await run.exchange.publish(1000)
        run.exchange.mangle = list
        await run.exchange.publish(50_000)
        await run.is_told(database)
        assert await fetch(database, GAPS) == []


async def test_what_comes_late_closes_its_own_gap(database: str, tmp_path: Path) -> None:
    async with running(database, tmp_path, "sequence: {field: seq}") as run:
        held: list[bytes] = []

        def hold(frames: list[bytes]) -> list[bytes]:
            held.extend(frames[40:43])
            return frames[:40] + frames[43:]

        run.exchange.mangle = hold
        await run.exchange.publish(100)
        assert await until(database, GAPS, lambda gaps: len(gaps) == 1) == [("sequence", 40, 44, None)]
        run.exchange.mangle = lambda _frames: held[1:2]
        await run.exchange.publish(1)
        found = await until(database, GAPS, lambda gaps: len(gaps) == 2)
        assert found == [("sequence", 40, 42, None), ("sequence", 42, 44, None)]
        run.exchange.mangle = lambda frames: [held[2], held[0], *frames]
        await run.exchange.publish(1)  # the one before was swapped for what was held: it is missing now
        found = await until(database, GAPS, lambda gaps: len(gaps) == 3 and all(gap[3] for gap in gaps[:2]))
        assert found == [
            ("sequence", 40, 42, "exchange.live"),
            ("sequence", 42, 44, "exchange.live"),
            ("sequence", 100, 102, None),
        ]


async def test_reversed_frames_leave_nothing_open(database: str, tmp_path: Path) -> None:
    async with running(database, tmp_path) as run:
        await run.exchange.publish(100)
        run.exchange.mangle = lambda frames: frames[::-1]
        await run.exchange.publish(1000)
        run.exchange.mangle = list
        await run.exchange.publish(100)
        await run.is_told(database)
        await until(database, GAPS, all_filled(0))


@pytest.mark.parametrize("more", ["reset_below: 2", "epoch: epoch"])
async def test_numbers_that_begin_anew_are_a_gap_of_unknown_size(database: str, tmp_path: Path, more: str) -> None:
    async with running(database, tmp_path, f"sequence: {{field: seq, {more}, on_gap: {{refetch: all}}}}") as run:
        await run.exchange.publish(300)
        run.exchange.restart()
        await run.exchange.publish(250)
        await run.drop(20)
        await run.exchange.publish(10)
        found = await until(database, GAPS, all_filled(2))
        await run.is_told(database)
        assert found == [("reset", 300, 1, "exchange.all"), ("sequence", 250, 271, "exchange.all")]


async def test_a_lost_connection_is_a_gap_even_without_numbers(database: str, tmp_path: Path) -> None:
    async with running(database, tmp_path, "on_gap: {refetch: all}") as run:
        await run.exchange.publish(100)
        await run.loaded(100)
        run.proxy.refuse()
        run.proxy.cut()
        # It is there while it lasts, though no message follows.
        query = "select cause, to_time, filled_at from headrace.gaps where cause <> 'start'"
        assert await until(database, query, lambda gaps: len(gaps) == 1) == [("reconnect", None, None)]
        await run.exchange.publish(200)
        await run.proxy.accept()
        await run.live(reconnects=1)
        await until(database, GAPS, all_filled(1))
        await run.is_told(database)
        assert run.feed["gaps"] == 2


async def test_numbers_that_go_on_show_that_a_lost_connection_lost_nothing(database: str, tmp_path: Path) -> None:
    async with running(database, tmp_path) as run:
        await run.exchange.publish(100)
        await run.loaded(100)
        run.open.clear()  # the REST side cannot help
        run.proxy.cut()
        await run.live(reconnects=1)
        await run.exchange.publish(1)
        assert await until(database, GAPS, all_filled(1)) == [("reconnect", None, None, "exchange.live")]
        run.open.set()


async def test_a_feed_that_was_paused_has_a_gap(database: str, tmp_path: Path) -> None:
    async with running(database, tmp_path, "on_gap: {refetch: all}") as run:
        await run.exchange.publish(100)
        await run.loaded(100)
        line = run.daemon.overview.line("exchange.live")
        assert line is not None
        assert line.feed is not None
        line.feed.pause()
        await run.until(lambda: run.exchange.audience == 0)
        await run.exchange.publish(100)
        line.feed.resume()
        found = await until(database, GAPS, all_filled(1))
        await run.is_told(database)
        assert found == [("paused", None, None, "exchange.all")]


async def test_a_connection_with_a_live_copy_is_no_gap(database: str, tmp_path: Path) -> None:
    async with running(database, tmp_path, f"connections: 2\n        {NUMBERED}") as run:
        await run.until(lambda: [each["state"] for each in run.feed.get("connections", ())] == ["live", "live"])
        for number in range(3):
            await run.exchange.publish(200)
            await run.loaded(200 * number + 200)
            next(iter(run.proxy._writers)).transport.abort()
            await run.until(lambda number=number: run.feed["reconnects"] > number)  # type: ignore[misc]
            await run.until(lambda: all(each["state"] == "live" for each in run.feed["connections"]))
        await run.exchange.publish(100)
        await run.is_told(database)
        assert await fetch(database, GAPS) == []


async def test_a_stop_and_a_start_are_a_gap_that_is_open_while_nobody_listens(database: str, tmp_path: Path) -> None:
    market = Market()
    async with market.opened():
        (tmp_path / "config.yaml").write_text(market.config(database, tmp_path, NUMBERED, "${HEADRACE_PORT}"))
        async with Process(tmp_path, {}, tmp_path / "config.yaml") as process:
            await process.until(lambda status: status["feeds"]["exchange.live"]["state"] in {"live", "quiet"})
            await market.exchange.publish(100)
            await process.until(settled(100))
            assert await process.stop() == 0
            assert await fetch(database, "select cause, to_time from headrace.gaps where filled_at is null") == [
                ("restart", None)
            ]
            await market.exchange.publish(100)
            await process.start()
            found = await until(database, GAPS, all_filled(1))
            assert found == [("restart", None, None, "exchange.all")]
            await market.is_told(database)


async def test_a_gap_that_is_open_when_the_daemon_is_killed_is_filled_by_the_next(
    database: str, tmp_path: Path
) -> None:
    market = Market()
    async with market.opened():
        config = market.config(database, tmp_path, NUMBERED, "${HEADRACE_PORT}")
        (tmp_path / "config.yaml").write_text(config)
        async with Process(tmp_path, {}, tmp_path / "config.yaml") as process:
            await process.until(lambda status: status["feeds"]["exchange.live"]["state"] in {"live", "quiet"})
            await market.exchange.publish(100)
            await process.until(settled(100))
            market.open.clear()
            await market.drop(50)
            await market.exchange.publish(10)
            assert await until(database, GAPS, lambda gaps: len(gaps) == 1) == [("sequence", 100, 151, None)]
            await process.kill()
            await market.exchange.publish(50)
            market.open.set()
            await process.start()
            found = await until(database, GAPS, all_filled(2))
            await market.is_told(database)
            assert [gap[:3] for gap in found] == [("sequence", 100, 151), ("restart", None, None)]
            assert {gap[3] for gap in found} == {"exchange.all"}
            await market.exchange.publish(10)
            found = await until(database, GAPS, all_filled(3))
            assert ("sequence", 160, 211, "exchange.all") in found
            await market.is_told(database)


async def test_a_key_is_asked_for_alone_until_the_answer_goes_beyond_the_gap(database: str, tmp_path: Path) -> None:
    more = (
        "sequence: {field: v, key: id, on_gap: {refetch: all, params: "
        "{only: '{gap.key}', after: '{gap.first}', to: '{gap.last}'}, number: '[0].v'}}"
    )
    asked: list[tuple[str, ...]] = []
    wanted = ("k7", "2", "50")

    class Lagging(Running):
        async def _answer(self, ask: Asked) -> web.StreamResponse:
            rows = orjson.loads(self.exchange.prices())
            if "only" in ask.query:
                asked.append((ask.query["only"], ask.query["after"], ask.query["to"]))
                rows = [row for row in rows if row["id"] == ask.query["only"]]
                if asked[-1] == wanted and asked.count(wanted) == 1:  # no number that anybody should write out
                    return web.Response(body=b'[{"id":"k7","v":1e999999999}]', content_type="application/json")
                if asked[-1] == wanted and asked.count(wanted) < 3:
                    rows[0]["v"] = 1
            return web.Response(body=orjson.dumps(rows), content_type="application/json")

    run = Lagging()
    async with run.opened():
        run.daemon = Daemon(loads(run.config(database, tmp_path, more), "test", {}))
        async with asyncio.TaskGroup() as group:
            group.create_task(run.daemon.run())
            await run.live()
            # Versions rise by 50 from one change of a key to its next: each number but the first is one too far.
            await run.exchange.publish(51)
            found = await until(database, GAPS, all_filled(1))
            assert found == [("sequence", 1, 51, "exchange.all")]
            await run.is_told(database)
            assert asked.count(wanted) == 3
            assert len({key for key, *_ in asked}) == 50  # what is before the first message of a key is asked for once
            await until(database, STARTS, lambda rows: rows == [(50, 50)])
            assert len(asked) == 3 + 50
            run.daemon.stop()


async def test_a_hole_in_an_event_stream_is_found_by_the_ids_of_its_events_and_filled(
    database: str, tmp_path: Path
) -> None:
    prices = {f"k{number % 5}": number for number in range(1, 41)}

    async def answer(asked: Asked) -> web.StreamResponse:
        if asked.path == "/prices":
            held = [{"id": key, "v": v, "p": v} for key, v in prices.items()]
            return web.Response(body=orjson.dumps(held), content_type="application/json")
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(asked.request)
        # The first connection is sent 1 to 10, the second 21 to 40: what lies between, nobody is sent.
        first, to = (1, 10) if "Last-Event-ID" not in asked.headers else (21, 40)
        for number in range(first, to + 1):
            event = b'id: %d\ndata: {"type":"price","id":"k%d","v":%d,"p":%d}\n\n'
            await response.write(event % (number, number % 5, number, number))
        if to == 40:
            await asyncio.sleep(3600)
        return response

    async with Site(answer) as site:
        values = {"database": database, "folder": tmp_path / "spool", "site": site.url, "port": "0"}
        daemon = Daemon(loads(EVENTS % values, "test", {}))
        async with asyncio.TaskGroup() as group:
            group.create_task(daemon.run())
            await is_ready(daemon)
            found = await until(database, GAPS, all_filled(1))
            assert found == [("sequence", 10, 21, "exchange.all")]
            query = "select id, v, p from prices order by id"
            await until(database, query, lambda rows: rows == sorted((key, v, v) for key, v in prices.items()))
            daemon.stop()


async def test_a_provider_that_will_not_let_us_resume_is_subscribed_to_anew_and_the_time_is_a_gap(
    database: str, tmp_path: Path
) -> None:
    subscribed: list[dict[str, Any]] = []
    open_ = asyncio.Event()

    async def talk(connection: ServerConnection) -> None:
        subscribed.append(orjson.loads(await connection.recv()))
        if "clk" in subscribed[-1]:
            await connection.send('{"errorCode":"INVALID_CLOCK"}')
            await connection.wait_closed()
            return
        number = len(subscribed)
        price = {"type": "price", "id": f"k{number}", "v": number, "p": number, "clk": f"c{number}"}
        await connection.send(orjson.dumps(price), text=True)
        if number == 1:
            await open_.wait()
            await until(database, "select id from prices where id = 'k1'", lambda rows: rows == [("k1",)])
            connection.transport.abort()
        await connection.wait_closed()

    async def answer(_asked: Asked) -> web.StreamResponse:
        return web.Response(body=b'[{"id":"k0","v":9,"p":9}]', content_type="application/json")

    more = """on_gap: {refetch: all}
        resume: {fields: {clk: clk}, refuse: {errorCode: INVALID_CLOCK}}"""
    plain = CONFIG.replace("acknowledge: {match: {type: subscribed}, timeout: 2s}", "")
    plain = plain.replace("[{op: subscribe}]", '[{op: subscribe, clk: "{resume.clk}"}]')
    async with serve(talk, "127.0.0.1", 0, close_timeout=0.1) as server, Site(answer) as site:
        address = f"127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"
        values = {"database": database, "folder": tmp_path / "spool", "site": site.url, "port": "0"}
        daemon = Daemon(loads(plain % {**values, "address": address, "more": more}, "test", {}))
        async with asyncio.TaskGroup() as group:
            group.create_task(daemon.run())
            await is_ready(daemon)
            open_.set()
            found = await until(database, GAPS, all_filled(1))
            await until(database, "select id from prices order by id", lambda rows: len(rows) == 3)
            daemon.stop()
    assert found == [("reconnect", None, None, "exchange.all")]
    assert subscribed == [{"op": "subscribe"}, {"op": "subscribe", "clk": "c1"}, {"op": "subscribe"}]


async def test_a_subscription_that_falls_silent_is_a_gap_from_its_last_data_on(database: str, tmp_path: Path) -> None:
    heard = asyncio.Event()
    told: list[float] = []

    async def talk(connection: ServerConnection) -> None:
        subscribed = 0
        async for text in connection:
            told.append(time.time())
            if orjson.loads(text)["op"] == "subscribe":
                subscribed += 1
                await connection.send('{"type":"subscribed"}')
                await connection.send(orjson.dumps({"type": "price", "id": "k1", "v": subscribed, "p": 1}), text=True)
            if subscribed == 2:
                heard.set()

    async def answer(_asked: Asked) -> web.StreamResponse:
        return web.Response(body=b'[{"id":"k0","v":9,"p":9}]', content_type="application/json")

    more = "on_gap: {refetch: all}"
    config = CONFIG.replace(
        "subscribe: [{op: subscribe}]",
        "subscriptions: [{send: {op: subscribe}, data: {type: price}, unsubscribe: {op: leave}, freshness: 1s}]",
    )
    async with serve(talk, "127.0.0.1", 0, close_timeout=0.1) as server, Site(answer) as site:
        address = f"127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"
        values = {"database": database, "folder": tmp_path / "spool", "site": site.url, "port": "0"}
        daemon = Daemon(loads(config % {**values, "address": address, "more": more}, "test", {}))
        async with asyncio.TaskGroup() as group:
            group.create_task(daemon.run())
            await is_ready(daemon)
            async with asyncio.timeout(PATIENCE):
                await heard.wait()
            found = await until(database, GAPS, all_filled(1))
            times = await fetch(
                database,
                "select extract(epoch from from_time), extract(epoch from to_time) from headrace.gaps"
                " where cause = 'stale' order by from_time limit 1",
            )
            daemon.stop()
    assert found[0] == ("stale", None, None, "exchange.all")
    ((since, to),) = times
    subscribed, left, again = told[:3]
    assert float(since) <= left - 0.9
    assert abs(float(since) - subscribed) < left - float(since)
    assert float(to) >= again


async def test_what_a_silent_subscription_missed_is_a_gap_though_the_others_resume_and_ends_in_another_run(
    database: str, tmp_path: Path
) -> None:
    resumed: list[Any] = []
    healed = asyncio.Event()

    async def talk(connection: ServerConnection) -> None:
        if resumed and not healed.is_set():
            return
        with contextlib.suppress(ConnectionClosed):
            for number in range(1000 * len(resumed), 1000 * len(resumed) + 1000):
                with contextlib.suppress(TimeoutError):
                    said = orjson.loads(await asyncio.wait_for(connection.recv(), 0.02))
                    if said["op"] == "subscribe":
                        resumed.append(said.get("from"))
                        await connection.send('{"type":"subscribed"}')
                for name in ("a", "b") if number % 1000 < 5 or healed.is_set() else ("b",):
                    price = {"type": "price", "id": name, "v": number, "p": number}
                    await connection.send(orjson.dumps(price), text=True)

    async def answer(_asked: Asked) -> web.StreamResponse:
        return web.Response(body=b'[{"id":"c","v":9,"p":9}]', content_type="application/json")

    more = "on_gap: {refetch: all}\n        resume: {fields: {v: v}}"
    subscription = """subscriptions:
          - for: [a, b]
            send: {op: subscribe, id: "{item}", from: "{resume.v}"}
            data: {id: "{item}"}
            unsubscribe: {op: leave}
            freshness: 1s"""
    config = CONFIG.replace("subscribe: [{op: subscribe}]", subscription)
    query = "select cause, to_time, filled_by from headrace.gaps where cause <> 'start'"
    async with serve(talk, "127.0.0.1", 0, close_timeout=0.1) as server, Site(answer) as site:
        address = f"127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"
        values = {"database": database, "folder": tmp_path / "spool", "site": site.url, "port": "${HEADRACE_PORT}"}
        (tmp_path / "config.yaml").write_text(config % {**values, "address": address, "more": more})
        async with Process(tmp_path, {}, tmp_path / "config.yaml") as process:
            await process.until(lambda status: status["feeds"]["exchange.live"]["state"] == "reconnecting")
            assert await until(database, query, bool) == [("stale", None, None)]
            assert await process.stop() == 0
            healed.set()
            await process.start()
            ((cause, end, by),) = await until(database, query, lambda gaps: gaps[0][2] is not None)
    assert (cause, by) == ("stale", "exchange.all")
    assert end is not None
    assert resumed[:2] == [None, None]
    assert None not in resumed[2:]
