"""A REST feed of rows and a WebSocket feed of deltas into one table, killed in the middle: each field is the newest."""

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

from tests.daemon import PATIENCE, ROOT, Daemon, balanced, rows
from tests.site import Site
from tests.ticker import Ticker

CONFIG = """\
database: {{url: "{database}"}}
buffer: {{path: ./spool}}
batch: {{max_rows: 40}}
http: {{host: 127.0.0.1, port: "${{HEADRACE_PORT}}"}}
tables:
  matches:
    key: id
    version: v
    columns:
      id: text
      v: integer
      name: text
      home: integer
      away: integer
      minute: integer
      note: {{type: text, null: true}}
providers:
  acme:
    url: {site}
    feeds:
      listed:
        kind: rest
        path: /matches
        every: 200ms
        into: matches
        map: {{id: id, v: v, name: name, home: home, away: away, minute: minute}}
      ticker:
        kind: websocket
        url: ws://127.0.0.1:{port}
        partial: true
        wait_for_row: {wait}
        into: matches
        map: {{id: id, v: v, home: home, away: away, minute: minute, note: note}}
"""
QUERY = "SELECT * FROM matches ORDER BY id"


def received(status: dict[str, Any]) -> int:
    return int(status["feeds"]["acme.ticker"].get("ledger", {}).get("received", 0))


async def until_newest(database: str, ticker: Ticker) -> None:
    """Wait until the table holds what it must."""
    async with asyncio.timeout(PATIENCE):
        while await rows(database, QUERY) != ticker.rows():
            await asyncio.sleep(0.05)


async def checked(daemon: Daemon, database: str) -> dict[str, Any]:
    """Give the status, which balances, and agrees with what is committed."""
    status = await daemon.status()
    assert not status or balanced(status)
    terms = "inserted + updated + deleted + unchanged + stale + duplicate + filtered + quarantined"
    for position in await rows(database, f"SELECT received, {terms} AS settled FROM headrace.positions"):
        assert position["received"] == position["settled"]
    return status


async def test_killed_in_the_middle_every_field_is_the_newest_and_the_ledger_balances(
    tmp_path: Path, database: str
) -> None:
    ticker = Ticker(30)
    late = {f"n{n}": {"id": f"n{n}", "v": 1, "name": "late", "home": 0, "away": 0, "minute": 0} for n in range(5)}
    async with ticker.serving(), Site(ticker.answer) as site:
        config = tmp_path / "partial.yaml"
        config.write_text(CONFIG.format(database=database, site=site.url, port=ticker.port, wait="10m"))
        async with Daemon(tmp_path, {}, config) as daemon:
            await ticker.change(50)
            await daemon.until(lambda status: received(status) >= 50)
            await until_newest(database, ticker)
            await ticker.change(40, *late)  # of matches that REST does not list yet
            waiting = "SELECT DISTINCT key ->> 0 AS id FROM headrace.waiting ORDER BY 1"
            await daemon.until(lambda status: received(status) >= 90)
            for _ in range(5):
                await ticker.change(60)
                await daemon.kill()
                await ticker.change(20)  # what is not heard now is told again
                await daemon.start()
                await daemon.until(lambda status: status["feeds"]["acme.ticker"].get("messages", 0) > 0)
                await checked(daemon, database)
            await daemon.until(lambda status: status["feeds"]["acme.ticker"].get("waiting", 0) >= len(late))
            assert [row["id"] for row in await rows(database, waiting)] == sorted(late)
            ticker.listed |= late
            await until_newest(database, ticker)
            await daemon.until(lambda status: not status["ledger"]["in_flight"])
            status = await checked(daemon, database)
            assert status["ledger"]["quarantined"] == 0
            assert await daemon.stop() == 0
        assert await rows(database, QUERY) == ticker.rows()
        assert await rows(database, "SELECT * FROM headrace.waiting") == []


async def test_a_delta_whose_row_never_comes_is_quarantined_in_time_and_replayed_once_it_is_there(
    tmp_path: Path, database: str
) -> None:
    ticker = Ticker(3)
    ghost = {"id": "ghost", "v": 1, "name": "late", "home": 0, "away": 0, "minute": 0}
    async with ticker.serving(), Site(ticker.answer) as site:
        config = tmp_path / "partial.yaml"
        config.write_text(CONFIG.format(database=database, site=site.url, port=ticker.port, wait="1s"))
        async with Daemon(tmp_path, {}, config) as daemon:
            await daemon.until(lambda status: status["tables"]["matches"]["inserted"] == 3)
            await ticker.change(1, "ghost")
            status = await daemon.until(lambda status: status["ledger"]["quarantined"] == 1)
            assert balanced(status)
            assert status["ledger"]["in_flight"] == 0
            assert (await replayed(tmp_path, config)).startswith("replayed 1 = 0 loaded")
            ticker.listed["ghost"] = ghost
            await daemon.until(lambda status: status["tables"]["matches"]["inserted"] == 4)
            assert (await replayed(tmp_path, config)).startswith("replayed 1 = 1 loaded")
            assert await daemon.stop() == 0
        assert await rows(database, QUERY) == ticker.rows()
        ((reason, attempts),) = [
            tuple(row.values()) for row in await rows(database, "SELECT reason, attempts FROM headrace.quarantine")
        ]
        assert (reason, attempts) == ("partial: no row", 2)


async def replayed(folder: Path, config: Path) -> str:
    """Replay the quarantine as an operator would; give what is printed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "service", "quarantine", "replay", "--feed", "acme.ticker", "-c", str(config),
        cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT), "HEADRACE_PORT": "0"}, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, _ = await process.communicate()
    return out.decode()
