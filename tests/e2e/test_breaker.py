"""A feed whose records do not fit any more: the daemon parks it, loses nothing, and loads all once that is mended."""

import asyncio
import json
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from tests.daemon import Daemon, balanced, rows
from tests.site import Asked, Site
from tests.sql import execute
from tests.unit.cli.commands import headrace

CONFIG = """\
database: {{url: "{database}"}}
buffer: {{kind: {buffer}, path: data/spool, max_bytes: 1MiB}}
http: {{host: 127.0.0.1, port: "${{HEADRACE_PORT}}", token: "${{HEADRACE_TOKEN:-}}"}}
tables:
  goals: {{key: id, columns: {{id: integer, n: {{type: integer, max: {most}}}}}}}
  others: {{key: id, columns: {{id: integer}}}}
providers:
  acme:
    url: {site}
    feeds:
      posted: {{kind: webhook, unverified: true, breaker: 100, into: goals, map: {{id: id, n: n}}}}
      polled: {{kind: rest, path: /, every: 50ms, breaker: 100, into: goals, map: {{id: id, n: n}}}}
      other: {{kind: webhook, unverified: true, into: others, map: {{id: id}}}}
"""
TOKEN = {"HEADRACE_TOKEN": "sesame"}


class Setting:
    """A provider of one document, and the daemon's configuration, more or less strict."""

    def __init__(self, folder: Path, database: str) -> None:
        self.folder, self.database = folder, database
        self.polled: list[dict[str, int]] = []
        self.site = Site(self._answer)

    def _answer(self, asked: Asked) -> web.Response:
        return web.json_response([*self.polled, {"id": -asked.number - 1, "n": 1}])

    def daemon(self, most: int = 9, buffer: str = "spool") -> Daemon:
        config = self.folder / "config.yaml"
        config.write_text(CONFIG.format(database=self.database, site=self.site.url, most=most, buffer=buffer))
        return Daemon(self.folder, TOKEN, config)


def goals(first: int, count: int, n: int) -> list[dict[str, int]]:
    return [{"id": number, "n": n} for number in range(first, first + count)]


async def post(daemon: Daemon, path: str, document: Any = None) -> int:
    async with (
        aiohttp.ClientSession(headers=daemon.headers) as session,
        session.post(daemon.url + path, json=document) as response,
    ):
        return response.status


async def parked(daemon: Daemon, feed: str = "acme.posted") -> dict[str, Any]:
    return await daemon.until(lambda status: status["feeds"][feed]["state"] == "parked")


def term(status: dict[str, Any], feed: str, name: str) -> int:
    """Give a term of a feed's ledger, 0 before it starts."""
    return int(status["feeds"][feed].get("ledger", {}).get(name, 0))


async def live(daemon: Daemon) -> None:
    await daemon.until(lambda status: all(feed["state"] in {"live", "quiet"} for feed in status["feeds"].values()))


def quarantined(feed: str) -> str:
    return f"SELECT count(*) FROM headrace.quarantine WHERE feed = '{feed}'"


async def count(setting: Setting, query: str) -> int:
    return int((await rows(setting.database, query))[0]["count"])


async def test_a_feed_is_parked_and_loads_all_of_it_once_the_configuration_is_mended(
    tmp_path: Path, database: str
) -> None:
    setting = Setting(tmp_path, database)
    async with setting.site:
        async with setting.daemon() as daemon:
            await live(daemon)
            assert await post(daemon, "/ingest/acme/posted", goals(0, 60, 99)) == 202
            await daemon.until(lambda status: term(status, "acme.posted", "quarantined") == 60)
            assert await post(daemon, "/ingest/acme/posted", goals(1000, 100, 1)) == 202
            await daemon.until(lambda status: term(status, "acme.posted", "loaded") == 100)
            assert await post(daemon, "/ingest/acme/posted", goals(2000, 300, 99)) == 202
            status = await parked(daemon)
            assert "300 of the last 300 records were refused" in status["feeds"]["acme.posted"]["last_error"]
            assert term(status, "acme.posted", "in_flight") == 300
            assert status["feeds"]["acme.posted"]["lag_s"] > 0
            assert balanced(status)
            assert (await daemon.get("/readyz"))[0] == 200
            assert 'headrace_feed_breaker_open{feed="acme.posted"} 1.0' in (await daemon.get("/metrics"))[1]
            assert await post(daemon, "/ingest/acme/posted", goals(3000, 50, 2)) == 202
            assert await post(daemon, "/ingest/acme/other", {"id": 1}) == 202
            status = await daemon.until(lambda status: term(status, "acme.other", "loaded") == 1)
            assert term(status, "acme.posted", "quarantined") == 60
            assert await daemon.stop() == 0
        assert daemon.log.read_text().count('"feed parked"') == 1
        assert await count(setting, quarantined("acme.posted")) == 60
        assert await count(setting, "SELECT count(*) FROM goals WHERE id >= 0") == 100
        async with setting.daemon(most=100) as daemon:
            status = await daemon.until(lambda status: term(status, "acme.posted", "loaded") == 450)
            assert term(status, "acme.posted", "received") == 510
            assert term(status, "acme.posted", "in_flight") == 0
            assert balanced(status)
            assert await daemon.stop() == 0
        assert await count(setting, "SELECT count(*) FROM goals WHERE id >= 0") == 450


async def test_after_kill_9_it_trips_again_and_resumed_it_goes_to_quarantine(tmp_path: Path, database: str) -> None:
    setting = Setting(tmp_path, database)
    async with setting.site:
        async with setting.daemon() as daemon:
            await live(daemon)
            assert await post(daemon, "/ingest/acme/posted", goals(0, 300, 99)) == 202
            await parked(daemon)
            await daemon.kill()
        async with setting.daemon() as daemon:
            await parked(daemon)
            assert await count(setting, quarantined("acme.posted")) == 0
            assert await post(daemon, "/feeds/acme.posted/resume") == 202
            status = await daemon.until(
                lambda status: (
                    term(status, "acme.posted", "quarantined") == 300
                    and status["feeds"]["acme.posted"]["state"] in {"live", "quiet"}
                )
            )
            assert status["feeds"]["acme.posted"]["last_error"] is None
            assert balanced(status)
            assert await post(daemon, "/ingest/acme/posted", goals(1000, 5, 1)) == 202
            await daemon.until(lambda status: term(status, "acme.posted", "loaded") == 5)


async def test_what_nobody_would_keep_goes_to_quarantine_when_the_daemon_stops(tmp_path: Path, database: str) -> None:
    setting = Setting(tmp_path, database)
    async with setting.site, setting.daemon(buffer="memory") as daemon:
        await live(daemon)
        assert await post(daemon, "/ingest/acme/posted", goals(0, 300, 99)) == 202
        await parked(daemon)
        assert await post(daemon, "/ingest/acme/posted", goals(1000, 10, 1)) == 202
        assert await daemon.stop() == 0
        assert await count(setting, quarantined("acme.posted")) == 300
        assert await count(setting, "SELECT count(*) FROM goals WHERE id >= 1000") == 10


async def test_a_feed_that_can_be_asked_again_is_not_polled_while_it_is_parked(tmp_path: Path, database: str) -> None:
    setting = Setting(tmp_path, database)
    async with setting.site, setting.daemon() as daemon:
        await live(daemon)
        setting.polled = goals(0, 300, 99)
        await parked(daemon, "acme.polled")
        await daemon.until(lambda _: '"feed paused"' in daemon.log.read_text())
        asked = len(setting.site.asked)
        setting.polled = goals(0, 300, 5)
        assert await post(daemon, "/ingest/acme/other", {"id": 1}) == 202
        await daemon.until(lambda status: term(status, "acme.other", "loaded") == 1)
        assert len(setting.site.asked) == asked
        status = await parked(daemon, "acme.polled")
        while term(status, "acme.polled", "loaded") < 300:  # another bad answer may lie in the buffer already
            assert await post(daemon, "/feeds/acme.polled/resume") == 202
            status = await daemon.until(
                lambda status: (
                    term(status, "acme.polled", "loaded") >= 300 or status["feeds"]["acme.polled"]["state"] == "parked"
                )
            )
        assert status["feeds"]["acme.polled"]["state"] == "live"
        assert balanced(status)


async def test_rows_that_the_database_refuses_park_their_feed_too(tmp_path: Path, database: str) -> None:
    setting = Setting(tmp_path, database)
    async with setting.site, setting.daemon() as daemon:
        await live(daemon)
        await execute(database, "ALTER TABLE goals ADD CONSTRAINT odd CHECK (n <> 4)")
        assert await post(daemon, "/ingest/acme/posted", goals(0, 150, 4)) == 202
        status = await parked(daemon)
        assert "the latest for" in status["feeds"]["acme.posted"]["last_error"]
        assert term(status, "acme.posted", "quarantined") == 150
        assert await post(daemon, "/ingest/acme/posted", goals(1000, 100, 4)) == 202
        await daemon.until(lambda status: term(status, "acme.posted", "in_flight") == 100)
        await execute(database, "ALTER TABLE goals DROP CONSTRAINT odd")
        assert await post(daemon, "/feeds/acme.posted/resume") == 202
        status = await daemon.until(lambda status: term(status, "acme.posted", "loaded") == 100)
        assert balanced(status)


async def test_a_backfill_of_the_wrong_file_ends_and_goes_on_once_it_is_mended(tmp_path: Path, database: str) -> None:
    setting = Setting(tmp_path, database)
    (tmp_path / "goals.ndjson").write_text("".join(json.dumps(goal) + "\n" for goal in goals(0, 200, 99)))
    backfill = ("backfill", "acme.polled", "--from", "goals.ndjson")
    async with setting.site:
        setting.daemon()
        ended = await asyncio.to_thread(headrace, tmp_path, *backfill, HEADRACE_PORT="0")
        assert ended.code == 1
        assert "200 of the last 200 records were refused" in ended.err
        assert await count(setting, "SELECT count(*) FROM headrace.quarantine") == 0
        setting.daemon(most=99)
        ended = await asyncio.to_thread(headrace, tmp_path, *backfill, HEADRACE_PORT="0")
        assert ended.code == 0, ended.err
        assert await count(setting, "SELECT count(*) FROM goals") == 200


async def test_a_file_that_is_read_to_its_end_before_its_records_are_refused_parks_its_feed(
    tmp_path: Path, database: str
) -> None:
    file = tmp_path / "goals.ndjson"
    file.write_text("\n".join(map(json.dumps, goals(0, 200, 77))))
    setting = Setting(tmp_path, database)
    async with setting.site:
        daemon = setting.daemon()
        config = tmp_path / "config.yaml"
        config.write_text(config.read_text().replace("kind: rest, path: /, every: 50ms,", f"kind: file, path: {file},"))
        async with daemon:
            status = await parked(daemon, "acme.polled")
            assert term(status, "acme.polled", "quarantined") == 0
            assert await post(daemon, "/feeds/acme.polled/resume") == 202
            await daemon.until(lambda status: term(status, "acme.polled", "quarantined") == 200)
            assert await daemon.stop() == 0
        command = ("backfill", "acme.posted", "--from", str(file), "-c", str(config))
        ended = await asyncio.to_thread(headrace, tmp_path, *command, HEADRACE_PORT="0")
        assert ended.code == 1
        assert "Traceback" not in ended.err
        told = ended.err.splitlines()[-1]
        assert told.startswith("headrace: 200 of the last 200 records were refused, the latest for 'n: max'; correct")
        assert "run the command again" in told
        assert await count(setting, quarantined("acme.posted@backfill:" + str(file))) == 0
