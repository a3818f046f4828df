"""A feed that calls for each row another feed loaded: killed amid its rows, beside rows that fail, and by command."""

import asyncio
import json
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from aiohttp import web

from tests.daemon import Daemon, balanced, rows
from tests.site import Asked, Site
from tests.sql import execute
from tests.unit.cli.commands import headrace

CONFIG = """\
database: {url: "${DATABASE_URL}"}
buffer: {path: ./spool}
http: {host: 127.0.0.1, port: "${HEADRACE_PORT:-0}"}
tables:
  matches: {key: [provider, id], columns: {provider: text, id: text, live: boolean}}
  events: {key: [match, n], columns: {match: text, n: integer, what: text}}
providers:
  acme:
    url: ${SITE}
    auth: {kind: bearer, token: t0ken}
    feeds:
      fixtures:
        kind: rest
        path: /matches
        every: 300ms
        into: matches
        map: {provider: {const: acme}, id: id, live: live}
      events:
        kind: rest
        for_each: {feed: fixtures, where: live, concurrency: 3}
        path: "/matches/{id}/events"
        every: 300ms
        records: data
        paginate: {kind: cursor, next: next, param: page}
        incremental: {field: n, param: after}
        range: {since: from, until: to}
        into: events
        map: {match: $params.id, n: n, what: what}
"""
ODD = ["a/b", "../x", "?q", "//evil.example/x", "50%", "#", "é ☃"]


class Acme:
    """Matches with events in pages of two; what was asked for, by match."""

    def __init__(self) -> None:
        self.events: dict[str, list[str]] = {
            match: [f"{match}: {number}" for number in range(5)] for match in [*ODD, *map(str, range(40))]
        }
        self.missing = {"7", "8"}
        self.lost = {"9": 2}
        self.asked: Counter[str] = Counter()
        self.slow = 0.0

    async def __call__(self, asked: Asked) -> web.Response:
        if asked.headers.get("Authorization") != "Bearer t0ken":
            return web.Response(status=401)
        parts = asked.target.partition("?")[0].split("/")
        if parts[1:] == ["matches"]:
            return web.json_response([{"id": match, "live": match != "39"} for match in self.events])
        assert (parts[1], parts[3:]) == ("matches", ["events"])
        match = unquote(parts[2])
        self.asked[match] += 1
        await asyncio.sleep(self.slow)
        if match in self.missing:
            return web.Response(status=404)
        if self.lost.get(match):
            self.lost[match] -= 1
            return web.Response(status=500)
        first = int(asked.query.get("after", -1)) + 1 + 2 * int(asked.query.get("page", 0))
        found = [{"n": number, "what": what} for number, what in enumerate(self.events[match])][first:]
        following = int(asked.query.get("page", 0)) + 1 if len(found) > 2 else None
        return web.json_response({"data": found[:2], "next": following})

    @property
    def oracle(self) -> set[tuple[str, int, str]]:
        return {
            (match, number, what)
            for match, events in self.events.items()
            if match not in {*self.missing, "39"}
            for number, what in enumerate(events)
        }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "config.yaml").write_text(CONFIG)
    return tmp_path


async def table(database: str) -> set[tuple[str, int, str]]:
    if not await rows(database, "select 1 from pg_tables where tablename = 'events'"):
        return set()
    return {(row["match"], row["n"], row["what"]) for row in await rows(database, "select * from events")}


async def until_equal(database: str, acme: Acme) -> None:
    async with asyncio.timeout(60):
        while await table(database) != acme.oracle:
            await asyncio.sleep(0.05)


def calls(status: dict[str, Any]) -> dict[str, Any]:
    (connection,) = status["feeds"]["acme.events"].get("connections") or [{}]
    return dict(connection)


async def test_killed_amid_its_rows_it_goes_on_with_those_that_are_left(database: str, folder: Path) -> None:
    acme = Acme()
    async with Site(acme) as site:
        environ = {"DATABASE_URL": database, "SITE": site.url}
        acme.slow = 0.03
        async with Daemon(folder, environ, folder / "config.yaml") as daemon:
            async with asyncio.timeout(60):
                while len(await table(database)) < 60:
                    await asyncio.sleep(0.01)
            await daemon.kill()
        before = await table(database)
        whole = {match for match in acme.asked if sum(row[0] == match for row in before) == 5}
        assert 5 < len(whole) < 45
        acme.asked.clear()
        acme.slow = 0
        async with Daemon(folder, environ, folder / "config.yaml") as daemon:
            async with asyncio.timeout(60):
                while not acme.asked:
                    await asyncio.sleep(0.001)
            first = next(iter(acme.asked))
            await until_equal(database, acme)
            status = await daemon.until(
                lambda status: (
                    calls(status).get("rows") == {"all": 46, "missing": 2} and not status["ledger"]["in_flight"]
                )
            )
            assert status["feeds"]["acme.events"]["state"] in {"live", "quiet"}
            assert set(calls(status)["troubles"]) == acme.missing
            # Only what is new is asked for, of each match by itself; and a match that is over is asked for no more.
            acme.events["3"].append("late")
            acme.events["50"] = ["new"]
            acme.events["a/b"] += ["one", "two", "three", "four"]
            await until_equal(database, acme)
            await execute(database, "update matches set live = false where id = '5'")
            status = await daemon.until(lambda status: not status["ledger"]["in_flight"])
            assert balanced(status)
            assert await daemon.stop() == 0
        assert first not in whole
        log = daemon.log.read_text()
        assert log.count("rows without answer") <= 4
        assert "t0ken" not in log
    kept = (await rows(database, "select source from headrace.positions where feed = 'acme.events'"))[0]["source"]
    items = json.loads(kept)["items"]
    assert items["3"]["cursor"] == 5
    assert "39" not in items


async def test_a_preview_asks_for_the_first_rows_or_says_what_it_needs(database: str, folder: Path) -> None:
    acme = Acme()
    async with Site(acme) as site:
        environ = {"DATABASE_URL": database, "SITE": site.url}

        async def preview(**other: str) -> tuple[int, str, str]:
            command = ["preview", "acme.events", "--limit", "2"]
            return await asyncio.to_thread(lambda: headrace(folder, *command, **{**environ, **other}))

        code, _, err = await preview()
        assert code == 1
        assert "the rows of `for_each` lie in a table that is not made yet" in err
        async with Daemon(folder, environ, folder / "config.yaml") as daemon:
            await until_equal(database, acme)
            await daemon.stop()
        acme.asked.clear()
        code, out, err = await preview()
        assert (code, err) == (0, "")
        assert "record 1 loads into events" in out
        assert len(acme.asked) <= 2
        assert await table(database) == acme.oracle
        await execute(database, "delete from matches")
        code, _, err = await preview()
        assert (code, "gives no row to call for" in err) == (1, True)
        code, _, err = await preview(DATABASE_URL="embedded")
        assert (code, "which `headrace run` makes and fills" in err) == (1, True)


async def test_a_backfill_asks_for_a_range_of_each_row_and_files_must_not_need_one(database: str, folder: Path) -> None:
    asked: list[tuple[str, str, str]] = []

    def range_(request: Asked) -> web.Response:
        match = request.path.split("/")[2]
        asked.append((match, request.query["from"], request.query["to"]))
        day = int(request.query["from"][8:10])
        return web.json_response({"data": [{"n": day, "what": match}], "next": None})

    async with Site(range_) as site:
        environ = {"DATABASE_URL": database, "SITE": site.url}

        async def backfill(*options: str) -> tuple[int, str, str]:
            return await asyncio.to_thread(lambda: headrace(folder, "backfill", "acme.events", *options, **environ))

        code, _, err = await backfill("--from", "events.json")
        assert (code, "$params.id" in err) == (2, True)
        code, _, err = await backfill("--since", "2026-03-01", "--until", "2026-03-04", "--step", "1d")
        assert code == 0  # no rows yet, so nothing to ask for
        await execute(database, "insert into matches values ('acme', 'a', true), ('acme', 'b', true)")
        await execute(database, "delete from headrace.positions")
        code, out, err = await backfill("--since", "2026-03-01", "--until", "2026-03-04", "--step", "1d")
        assert (code, "6 records read; 6 loaded" in out) == (0, True), err
    assert sorted({(match, since[:10]) for match, since, _ in asked}) == [
        (match, f"2026-03-0{day}") for match in "ab" for day in (1, 2, 3)
    ]
    assert await table(database) == {(match, day, match) for match in "ab" for day in (1, 2, 3)}
