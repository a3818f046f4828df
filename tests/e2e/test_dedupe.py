"""Repeats that are left out, where what they repeat is refused, or written over by somebody else."""

import asyncio
import json
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg

from tests.daemon import Daemon, balanced, rows
from tests.sql import execute
from tests.unit.cli.commands import headrace

CONFIG = """\
database: {{url: "{database}"}}
buffer: {{path: data/spool, max_bytes: 1MiB}}
http: {{host: 127.0.0.1, port: "${{HEADRACE_PORT:-0}}"}}
tables:
  goals: {{key: id, columns: {{id: integer, n: {{type: integer, max: {most}}}}}}}
providers:
  acme:
    feeds:
      posted: {{kind: webhook, unverified: true, dedupe: 1000, into: goals, map: {{id: id, n: n}}}}
"""


def config(folder: Path, database: str, most: int = 9) -> Path:
    path = folder / f"config_{most}.yaml"
    path.write_text(CONFIG.format(database=database, most=most))
    return path


async def post(daemon: Daemon, number: int, n: int) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{daemon.url}/ingest/acme/posted", json={"id": number, "n": n}) as response,
    ):
        assert response.status == 202


async def settled(daemon: Daemon, received: int) -> dict[str, int]:
    status = await daemon.until(lambda status: _is_settled(status, received))
    assert balanced(status)
    return dict(status["ledger"])


def _is_settled(status: dict[str, Any], received: int) -> bool:
    return bool(status["ledger"]["received"] == received and not status["ledger"]["in_flight"])


async def goal(database: str) -> int:
    ((found,),) = [row.values() for row in await rows(database, "SELECT n FROM goals WHERE id = 1")]
    return int(found)


async def started(daemon: Daemon) -> None:
    await daemon.until(lambda status: status["feeds"]["acme.posted"]["state"] in {"live", "quiet"})


async def test_what_repeats_a_row_that_the_database_refuses_is_tried_itself(tmp_path: Path, database: str) -> None:
    async with Daemon(tmp_path, {}, config(tmp_path, database)) as daemon:
        await started(daemon)
        await post(daemon, 2, 2)
        await settled(daemon, 1)
        await execute(database, "ALTER TABLE goals ADD CONSTRAINT fair CHECK (n <> 6)")
        other = await asyncpg.connect(database)
        async with other.transaction():
            await other.execute("LOCK TABLE goals")
            await post(daemon, 1, 6)
            waiting = "SELECT 1 FROM pg_locks WHERE relation = 'goals'::regclass AND NOT granted"
            async with asyncio.timeout(30):
                while not await rows(database, waiting):
                    await asyncio.sleep(0.01)
            await post(daemon, 1, 6)
            await daemon.until(lambda status: status["ledger"]["in_flight"] == 2)
        await other.close()
        ledger = await settled(daemon, 3)
        assert (ledger["quarantined"], ledger["duplicate"]) == (2, 0)
        await execute(database, "ALTER TABLE goals DROP CONSTRAINT fair")
        await post(daemon, 1, 6)
        await settled(daemon, 4)
        assert await goal(database) == 6


async def test_a_record_is_written_again_after_somebody_else_wrote_its_row(tmp_path: Path, database: str) -> None:
    lenient = config(tmp_path, database, 1000)
    file = tmp_path / "goals.ndjson"
    file.write_text(json.dumps({"id": 1, "n": 7}))
    async with Daemon(tmp_path, {}, config(tmp_path, database)) as daemon:
        await started(daemon)
        await post(daemon, 1, 100)
        await post(daemon, 1, 5)
        assert (await settled(daemon, 2))["quarantined"] == 1
        await post(daemon, 1, 5)
        assert (await settled(daemon, 3))["duplicate"] == 1

        done = await asyncio.to_thread(headrace, tmp_path, "quarantine", "replay", "-c", str(lenient))
        assert done.code == 0, done.err
        assert await goal(database) == 100
        await post(daemon, 1, 5)
        await daemon.until(lambda status: _is_settled(status, 4))
        assert await goal(database) == 5

        done = await asyncio.to_thread(
            headrace, tmp_path, "backfill", "acme.posted", "--from", str(file), "-c", str(lenient)
        )
        assert done.code == 0, done.err
        assert await goal(database) == 7
        await post(daemon, 1, 5)
        await daemon.until(lambda status: _is_settled(status, 5))
        assert await goal(database) == 5

        for received in (6, 7):  # all was forgotten: the first tells the window anew
            await post(daemon, 1, 5)
            ledger = await settled(daemon, received)
        assert (ledger["unchanged"], ledger["duplicate"]) == (1, 2)
