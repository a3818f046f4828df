"""Reloading: the real daemon, a real SIGHUP, and providers that notice every connection and every request."""

import asyncio
import contextlib
import json
import signal
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest
from aiohttp import web
from websockets.asyncio.server import ServerConnection, serve

from tests.daemon import Daemon, balanced, rows
from tests.site import Asked, Site

TOKEN = {"HEADRACE_TOKEN": "commander", "SECRET": "s3cr3t-of-acme"}
QUOTES = {"key": "id", "version": "v", "columns": {"id": "text", "v": "integer"}}
ITEMS: dict[str, Any] = {"key": "id", "columns": {"id": "text", "note": {"type": "text", "null": True}}}


class Market:
    """Two providers: quotes by WebSocket, which come when told, and lists by REST, one for each path.

    Attributes:
        connections: how many the WebSocket server ever had.
        sent: how many quotes were sent.
        polls: how often each path was asked for.
        config: of the daemon; ``write`` makes it the file.
    """

    def __init__(self, folder: Path, database: str, kind: str = "spool") -> None:
        self._kind = kind
        self.connections = 0
        self.sent = 0
        self.polls: Counter[str] = Counter()
        self.folder = folder
        self.database = database
        self.file = folder / "config.yaml"
        self.config: dict[str, Any] = {}
        self.audience: set[ServerConnection] = set()
        self.daemon = Daemon(folder, TOKEN, self.file)

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator["Market"]:
        async with Site(self._answer) as site, serve(self._talk, "127.0.0.1", 0, close_timeout=0.1) as server:
            live = {
                "kind": "websocket",
                "url": f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}",
                "into": "quotes",
                "map": {"id": "id", "v": "v"},
            }
            lists = {"kind": "rest", "path": "/first", "every": "100ms", "into": "items", "map": {"id": "id"}}
            self.config = {
                "database": {"url": self.database, "pool": 2},
                "buffer": {"kind": self._kind, "path": str(self.folder / "spool")},
                "http": {"host": "127.0.0.1", "port": "${HEADRACE_PORT}", "token": "${HEADRACE_TOKEN:-}"},
                "shutdown_timeout": "20s",
                "tables": {"quotes": QUOTES, "items": ITEMS},
                "providers": {
                    "exchange": {"headers": {"X-Key": "${SECRET}"}, "feeds": {"live": live}},
                    "shop": {"url": site.url, "feeds": {"lists": lists}},
                },
            }
            self.write()
            async with self.daemon:
                await self.daemon.until(lambda status: status["ready"] and status["tables"]["items"]["inserted"])
                await self.until_connected(1)
                yield self

    @property
    def lists(self) -> dict[str, Any]:
        found: dict[str, Any] = self.config["providers"]["shop"]["feeds"]["lists"]
        return found

    def write(self) -> None:
        self.file.write_text(json.dumps(self.config))

    def _answer(self, asked: Asked) -> web.Response:
        self.polls[asked.path] += 1
        return web.json_response([{"id": asked.path.strip("/"), "note": "a note", "n": "many"}])

    async def _talk(self, connection: ServerConnection) -> None:
        self.connections += 1
        self.audience.add(connection)
        try:
            await connection.wait_closed()
        finally:
            self.audience.discard(connection)

    async def until_connected(self, count: int) -> None:
        async with asyncio.timeout(30):
            while self.connections < count or not self.audience:
                await asyncio.sleep(0.02)

    async def quote(self, count: int) -> None:
        for _ in range(count):
            self.sent += 1
            for connection in tuple(self.audience):
                await connection.send(json.dumps({"id": f"q{self.sent}", "v": self.sent}))

    async def has_loaded(self) -> None:
        """Wait until every quote is in its table, and nothing is on its way."""
        status = await self.daemon.until(
            lambda status: (
                status["feeds"]["exchange.live"]["ledger"]["received"] == self.sent
                and not status["feeds"]["exchange.live"]["ledger"]["in_flight"]
            )
        )
        assert balanced(status)
        assert [row["n"] for row in await rows(self.database, "select count(*) n from quotes")] == [self.sent]

    async def reload(self, token: str = "commander") -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {token}"}
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.post(f"{self.daemon.url}/reload") as answer,
        ):
            return answer.status, await answer.json()

    async def hang_up(self, event: str) -> str:
        """Send SIGHUP, and give the line of the log that follows with the event in it."""
        assert self.daemon.process is not None
        known = len(self.daemon.log.read_text())
        self.daemon.process.send_signal(signal.SIGHUP)
        async with asyncio.timeout(30):
            while True:
                lines = self.daemon.log.read_text()[known:].splitlines()
                if found := [line for line in lines if json.loads(line)["event"].startswith(event)]:
                    return found[0]
                await asyncio.sleep(0.02)

    async def until_row(self, name: str) -> dict[str, Any]:
        async with asyncio.timeout(30):
            while not (found := await rows(self.database, f"select * from items where id = '{name}'")):
                await asyncio.sleep(0.02)
        return found[0]


@pytest.fixture
async def market(database: str, tmp_path: Path) -> AsyncIterator[Market]:
    async with Market(tmp_path, database).open() as market:
        yield market


async def test_a_bad_file_is_refused_whole_and_all_goes_on(market: Market) -> None:
    market.lists["path"] = "/second"
    market.lists["everi"] = "1s"
    market.config["tables"]["quotes"] = {**QUOTES, "version": "w"}
    market.write()
    told = json.loads(await market.hang_up("reload refused"))
    assert told["problems"] == 2
    assert "config.yaml:1:" in told["problem"]
    code, answer = await market.reload()
    assert (code, sorted(problem["code"] for problem in answer["problems"])) == (422, ["unknown-column", "unknown-key"])
    before = market.polls["/first"]
    await market.quote(5)
    await market.has_loaded()
    await market.daemon.until(lambda _: market.polls["/first"] > before)
    assert (market.connections, market.polls["/second"]) == (1, 0)
    assert "s3cr3t" not in market.daemon.log.read_text()


async def test_a_file_that_is_not_there_is_refused(market: Market) -> None:
    market.file.unlink()
    code, answer = await market.reload()
    assert (code, answer["problems"][0]["code"]) == (422, "unreadable-file")


async def test_only_what_changed_restarts_and_the_ledger_still_balances(market: Market) -> None:
    await market.quote(5)
    market.lists["path"] = "/second"
    market.write()
    code, answer = await market.reload()
    expected = {"restarted": ["shop.lists"], "started": [], "stopped": [], "unchanged": ["exchange.live"]}
    assert (code, answer) == (200, expected)
    asked = market.polls["/first"]
    await market.until_row("second")
    await market.quote(5)
    await market.has_loaded()
    assert (market.connections, market.polls["/first"]) == (1, asked)
    status = await market.daemon.until(lambda status: status["feeds"]["shop.lists"]["ledger"]["loaded"] == 2)
    assert status["tables"]["items"]["inserted"] == 2
    assert list(status["feeds"]) == ["exchange.live", "shop.lists"]


async def test_feeds_are_added_and_removed_and_their_neighbours_keep_their_connection(market: Market) -> None:
    feeds = market.config["providers"]["exchange"]["feeds"]
    feeds["more"] = {**market.lists, "url": market.config["providers"]["shop"]["url"] + "/more"}
    del feeds["more"]["path"]
    del market.config["providers"]["shop"]
    market.write()
    told = json.loads(await market.hang_up("reloaded"))
    assert (told["started"], told["stopped"], told["restarted"]) == (["exchange.more"], ["shop.lists"], [])
    asked = market.polls["/first"]
    await market.until_row("more")
    await market.quote(5)
    await market.has_loaded()
    assert (market.connections, market.polls["/first"]) == (1, asked)
    assert list((await market.daemon.status())["feeds"]) == ["exchange.live", "exchange.more"]
    metrics = (await market.daemon.get("/metrics"))[1]
    assert 'feed="exchange.more"' in metrics
    assert 'feed="shop.lists"' not in metrics
    assert 'headrace_rows_total{outcome="inserted",table="items"} 2.0' in metrics


async def test_a_file_that_did_not_change_changes_nothing(market: Market) -> None:
    market.lists["every"] = "1h"
    market.write()
    await market.reload()
    await market.daemon.until(lambda status: status["feeds"]["shop.lists"]["next_poll_at"])
    asked = market.polls["/first"]
    market.file.write_text(json.dumps(market.config, indent=2))
    await market.hang_up("nothing to reload")
    code, answer = await market.reload()
    assert (code, answer["unchanged"]) == (200, ["exchange.live", "shop.lists"])
    await market.quote(1)
    await market.has_loaded()
    assert (market.connections, market.polls["/first"]) == (1, asked)


async def test_a_column_that_is_added_is_there_before_the_feed_loads(market: Market) -> None:
    market.config["tables"]["items"] = {**ITEMS, "columns": {**ITEMS["columns"], "n": {"type": "text", "null": True}}}
    market.lists.update({"path": "/wide", "map": {"id": "id", "n": "n", "note": "note"}})
    market.write()
    code, answer = await market.reload()
    assert (code, answer["restarted"]) == (200, ["shop.lists"])
    assert await market.until_row("wide") == {"id": "wide", "n": "many", "note": "a note"}
    await market.quote(5)
    await market.has_loaded()
    assert market.connections == 1
    assert (await market.daemon.get("/startupz"))[0] == 200


async def test_what_the_database_cannot_become_is_refused_whole(market: Market) -> None:
    columns = {"id": "text", "v": "json"}
    market.config["tables"]["quotes"] = {"key": "id", "columns": columns}
    market.lists["path"] = "/second"
    market.write()
    code, answer = await market.reload()
    assert code == 422
    assert "quotes.v is BIGINT" in answer["problems"][0]["message"]
    await market.quote(5)
    await market.has_loaded()
    assert (market.connections, market.polls["/second"]) == (1, 0)


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [("database", "pool", 3), ("buffer", "max_bytes", "1GiB"), ("http", "host", "0.0.0.0"), ("log", "level", "debug")],
)
async def test_what_cannot_change_while_it_runs_is_refused_by_name(
    market: Market, section: str, key: str, value: Any
) -> None:
    market.config.setdefault(section, {})[key] = value
    market.lists["path"] = "/second"
    market.write()
    code, answer = await market.reload()
    assert code == 422
    (problem,) = answer["problems"]
    assert (problem["path"], problem["code"]) == (f"{section}.{key}", "needs-restart")
    assert "restart" in problem["message"]
    await market.quote(1)
    await market.has_loaded()
    assert market.polls["/second"] == 0


async def test_a_certificate_that_cannot_be_read_is_refused_before_anything_ends(market: Market) -> None:
    market.config["providers"]["shop"]["tls"] = {"ca": "/nowhere.pem"}
    market.config["providers"]["exchange"]["headers"]["X-More"] = "1"
    market.write()
    code, answer = await market.reload()
    assert code == 422
    assert "/nowhere.pem" in answer["problems"][0]["message"]
    await market.quote(1)
    await market.has_loaded()
    assert market.connections == 1


async def test_what_a_provider_has_for_all_its_feeds_restarts_them(market: Market) -> None:
    market.config["providers"]["exchange"]["headers"]["X-More"] = "1"
    market.write()
    code, answer = await market.reload()
    assert (code, answer["restarted"], answer["unchanged"]) == (200, ["exchange.live"], ["shop.lists"])
    await market.until_connected(2)
    await market.quote(5)
    await market.has_loaded()
    assert market.connections == 2


async def test_reloads_go_one_after_another(market: Market) -> None:
    market.lists["path"] = "/second"
    market.write()
    answers = await asyncio.gather(*(market.reload() for _ in range(5)))
    assert sorted(answer["restarted"] for code, answer in answers if code == 200) == [[], [], [], [], ["shop.lists"]]


async def test_after_kill_9_it_goes_on_as_it_was_reloaded(market: Market) -> None:
    market.lists["path"] = "/second"
    market.write()
    await market.reload()
    await market.quote(5)
    await market.daemon.kill()
    market.sent -= 5  # of which some were heard, and perhaps not yet safe
    await market.daemon.start()
    await market.until_connected(2)
    asked = market.polls["/first"]
    await market.daemon.until(lambda status: status["ready"])
    await market.until_row("second")
    await market.quote(5)
    status = await market.daemon.until(
        lambda status: (
            status["tables"]["quotes"]["unchanged"] + status["tables"]["quotes"]["inserted"] >= 5
            and not status["ledger"]["in_flight"]
        )
    )
    assert balanced(status)
    assert market.polls["/first"] == asked


@contextlib.asynccontextmanager
async def held_up(database: str, table: str) -> AsyncIterator[None]:
    """Let nobody write a table within the block."""
    connection = await asyncpg.connect(database)
    try:
        async with connection.transaction():
            await connection.execute(f"LOCK TABLE {table} IN EXCLUSIVE MODE")
            yield
    finally:
        await connection.close()


async def test_sigterm_during_a_reload_still_drains(market: Market) -> None:
    async with held_up(market.database, "quotes"):
        await market.quote(5)
        await market.daemon.until(lambda status: status["feeds"]["exchange.live"]["ledger"]["received"] == market.sent)
        market.config["providers"]["exchange"]["headers"]["X-More"] = "1"
        market.write()
        reloading = asyncio.create_task(market.reload())
        async with asyncio.timeout(30):
            while market.audience:
                await asyncio.sleep(0.02)
        ending = asyncio.create_task(market.daemon.stop())
        await market.daemon.until(lambda status: status["checks"]["daemon"] == "draining")
        assert not reloading.done()
    assert await ending == 0
    with contextlib.suppress(aiohttp.ClientError):
        assert (await reloading)[0] == 422
    assert market.connections == 1
    assert [row["n"] for row in await rows(market.database, "select count(*) n from quotes")] == [5]


@pytest.mark.parametrize("kind", ["spool", "memory"])
async def test_a_feed_that_does_not_drain_in_time_is_cut_short_and_goes_on_where_it_stood(
    database: str, tmp_path: Path, kind: str
) -> None:
    async with Market(tmp_path, database, kind).open() as market:
        market.config["shutdown_timeout"] = "500ms"
        async with held_up(database, "quotes"):
            await market.quote(5)
            await market.daemon.until(
                lambda status: status["feeds"]["exchange.live"]["ledger"]["received"] == market.sent
            )
            market.config["providers"]["exchange"]["headers"]["X-More"] = "1"
            market.write()
            code, answer = await market.reload()
            assert (code, answer["restarted"]) == (200, ["exchange.live"])
            await market.until_connected(2)
            await market.quote(5)
        await market.has_loaded()


async def test_what_a_parked_feed_holds_is_mapped_anew_by_the_corrected_configuration(market: Market) -> None:
    live = market.config["providers"]["exchange"]["feeds"]["live"]
    live.update({"map": {"id": "id", "v": "wrong"}, "breaker": 100})
    market.write()
    assert (await market.reload())[0] == 200
    await market.until_connected(2)
    await market.quote(300)
    await market.daemon.until(lambda status: status["feeds"]["exchange.live"]["breaker_open"])
    live["map"] = {"id": "id", "v": "v"}
    market.write()
    await market.reload()
    status = await market.daemon.until(
        lambda status: (
            status["feeds"]["exchange.live"]["ledger"]["received"] == market.sent and not status["ledger"]["in_flight"]
        )
    )
    assert balanced(status)
    assert status["tables"]["quotes"]["inserted"] >= 100


async def test_only_the_token_reloads(market: Market) -> None:
    assert (await market.reload(token="guess"))[0] == 401
