"""Backfills as an operator runs them: beside the daemon, killed, interrupted, and run again."""

import asyncio
import gzip
import os
import re
import signal
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.daemon import ROOT, Daemon, rows
from tests.site import Asked, Site

FILES, EACH = 4, 60_000
CONFIG = """\
database: {url: "${DATABASE_URL}"}
buffer: {path: ./spool}
batch: {max_rows: 1000}
http: {host: 127.0.0.1, port: "${HEADRACE_PORT:-0}"}
tables:
  goals:
    key: [id]
    columns: {id: integer, player: text, feed: text}
providers:
  acme:
    url: ${SITE:-http://127.0.0.1:9}
    feeds:
      goals:
        kind: rest
        every: 100ms
        incremental: {field: id, param: after}
        range: {since: from, until: to}
        into: goals
        map: {id: id, player: player, feed: $feed}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "config.yaml").write_text(CONFIG)
    for file in range(FILES):
        with gzip.open(tmp_path / f"goals-{file}.ndjson.gz", "wb", 1) as packed:
            numbers = range(file * EACH, (file + 1) * EACH)
            packed.write(b"".join(b'{"id": %d, "player": "p%d"}\n' % (number, number) for number in numbers))
    return tmp_path


async def backfill(folder: Path, database: str, *options: str, **environ: str) -> Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "service", "backfill", "acme.goals", *options,
        cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT), "DATABASE_URL": database, **environ},
        stdin=PIPE, stdout=PIPE, stderr=PIPE,
    )  # fmt: skip


async def ended(process: Process) -> tuple[int, str, str]:
    async with asyncio.timeout(60):
        out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


async def loaded(database: str) -> int:
    """Give how many rows are there; none while there is no table."""
    if not await rows(database, "select 1 from pg_tables where tablename = 'goals'"):
        return 0
    return int((await rows(database, "select count(*) from goals"))[0]["count"])


async def _until_loaded(database: str, count: int, process: Process) -> None:
    async with asyncio.timeout(60):
        while await loaded(database) < count:
            assert process.returncode is None
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
async def test_interrupted_it_goes_on_where_its_rows_stand(database: str, folder: Path, number: signal.Signals) -> None:
    options = ("--from", "goals-*.ndjson.gz")
    received = 0
    for part in (0.2, 0.6):
        process = await backfill(folder, database, *options)
        await _until_loaded(database, int(part * FILES * EACH), process)
        process.send_signal(number)
        code, _, err = await ended(process)
        assert code == (1 if number == signal.SIGINT else -9)
        assert ("the same command goes on from here" in err) == (number == signal.SIGINT)
        (position,) = await rows(database, "select received from headrace.positions")
        assert received < position["received"] < FILES * EACH
        received = position["received"]
    code, out, _ = await ended(await backfill(folder, database, *options))
    assert code == 0
    read = int(re.search(r"([\d,]+) records read", out)[1].replace(",", ""))  # type: ignore[index]
    assert read == FILES * EACH - received
    assert await loaded(database) == FILES * EACH
    (position,) = await rows(database, "select feed, received, inserted from headrace.positions")
    assert position == {
        "feed": "acme.goals@backfill:goals-*.ndjson.gz",
        "received": FILES * EACH,
        "inserted": FILES * EACH,
    }


class Provider:
    """Publishes goals by number, and those of a day."""

    def __init__(self) -> None:
        self.numbers = 0

    def answer(self, asked: Asked) -> web.Response:
        if "from" in asked.query:
            day = int(asked.query["from"][8:10])
            return web.json_response([{"id": -day, "player": asked.query["to"]}])
        after = int(asked.query.get("after", 0))
        self.numbers += 1
        return web.json_response([{"id": 10_000_000 + number, "player": "live"} for number in range(after, after + 1)])


async def test_it_runs_beside_the_daemon_and_leaves_its_position_alone(database: str, folder: Path) -> None:
    provider = Provider()
    async with Site(provider.answer) as site:
        environ = {"DATABASE_URL": database, "SITE": site.url}
        async with Daemon(folder, environ, folder / "config.yaml") as daemon:
            await daemon.until(lambda status: status["ledger"]["loaded"] > 0)
            files = await backfill(folder, database, "--from", "goals-*.ndjson.gz", SITE=site.url)
            spans = await backfill(
                folder, database, "--since", "2026-01-01", "--until", "2026-01-11", "--step", "1d", SITE=site.url
            )
            assert [(await ended(each))[0] for each in (files, spans)] == [0, 0]
            before = (await daemon.status())["feeds"]["acme.goals"]["messages"]
            await daemon.until(lambda status: status["feeds"]["acme.goals"]["messages"] > before)
            assert await daemon.stop() == 0
    found: dict[str, dict[str, Any]] = {
        row["feed"]: row for row in await rows(database, "select feed, received, source from headrace.positions")
    }
    assert set(found) == {
        "acme.goals",
        "acme.goals@backfill:goals-*.ndjson.gz",
        "acme.goals@backfill:2026-01-01T00:00:00+00:00..2026-01-11T00:00:00+00:00",
    }
    assert "file" not in found["acme.goals"]["source"]
    (counts,) = await rows(
        database, "select count(*) filter (where id < 0) days, count(*) filter (where player = 'live') live,"
        " count(distinct feed) feeds from goals"
    )  # fmt: skip
    assert counts["days"] == 10
    assert counts["live"] >= 1
    assert counts["feeds"] == 1  # $feed is the feed's own name for all of them


async def test_of_the_same_backfill_twice_one_ends(database: str, folder: Path) -> None:
    both = [await backfill(folder, database, "--from", "goals-*.ndjson.gz") for _ in range(2)]
    found = [await ended(each) for each in both]
    assert sorted(code for code, _, _ in found) == [0, 1]
    assert "Traceback" not in found[0][2] + found[1][2]
    assert await loaded(database) == FILES * EACH


async def test_it_reads_standard_input(database: str, folder: Path) -> None:
    process = await backfill(folder, database, "--from", "-", "--format", "csv")
    async with asyncio.timeout(60):
        out, _ = await process.communicate(b"id,player\n1,Ada\nx,Bob\n3,Cy\n")
    assert process.returncode == 0
    assert "3 records read; 2 loaded" in out.decode()
    assert "1 in quarantine" in out.decode()


@pytest.mark.parametrize("options", [("--from", "old-*.csv.gz"), ("--from", "-", "--format", "csv")])
async def test_rows_of_csv_are_records_wherever_the_provider_keeps_them(
    database: str, folder: Path, options: tuple[str, ...]
) -> None:
    (folder / "config.yaml").write_text(CONFIG.replace("kind: rest", "kind: rest\n        records: data.goals"))
    (folder / "old-1.csv.gz").write_bytes(gzip.compress(b"id,player\n1,Kane\n2,Saka\n"))
    process = await backfill(folder, database, *options)
    async with asyncio.timeout(60):
        out, _ = await process.communicate(b"id,player\n1,Kane\n2,Saka\n")
    assert "2 records read; 2 loaded" in out.decode()


async def test_what_a_backfill_refused_can_be_replayed(database: str, folder: Path) -> None:
    config = folder / "config.yaml"
    config.write_text(CONFIG.replace("player: player", "player: {from: player, values: {Ada: Ada}}"))
    process = await backfill(folder, database, "--from", "-", "--format", "ndjson")
    async with asyncio.timeout(60):
        await process.communicate(b'{"id": 1, "player": "Ada"}\n{"id": 2, "player": "Bob"}\n')
    config.write_text(CONFIG)
    replay = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "service", "quarantine", "replay", "--feed", "acme.goals",
        cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT), "DATABASE_URL": database}, stdout=PIPE, stderr=PIPE,
    )  # fmt: skip
    code, out, err = await ended(replay)
    assert code == 0, out + err
    found = await rows(database, "select * from goals order by id")
    assert [(row["id"], row["player"], row["feed"]) for row in found] == [
        (1, "Ada", "acme.goals"),
        (2, "Bob", "acme.goals"),
    ]
    (ledger,) = await rows(database, "select feed, received, inserted, quarantined from headrace.positions")
    assert ledger == {"feed": "acme.goals@backfill:-", "received": 2, "inserted": 2, "quarantined": 0}


async def test_a_provider_that_refuses_ends_it_with_the_reason(database: str, folder: Path) -> None:
    async with Site(lambda _asked: web.Response(status=403, text="not for you")) as site:
        process = await backfill(folder, database, "--since", "2026-01-01", SITE=site.url)
        code, _, err = await ended(process)
    assert code == 1
    assert "403: not for you" in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "--from a file, or --since a moment"),
        (("--from", "a", "--since", "2026-01-01"), "--from a file, or --since a moment"),
        (("--from", "none-*.csv"), "there is no file none-*.csv"),
        (("--from", "-", "--format", "yaml"), "there is no format 'yaml'"),
        (("--since", "yesterday"), "'yesterday' is no moment"),
        (("--since", "2026-01-01", "--step", "soon"), "is not a duration"),
        (("--since", "2026-01-02", "--until", "2026-01-01"), "--until must lie after --since"),
    ],
)
async def test_a_wrong_command_line_is_told_before_anything_starts(
    folder: Path, options: tuple[str, ...], said: str
) -> None:
    code, _, err = await ended(await backfill(folder, "postgresql://127.0.0.1:9/none", *options, COLUMNS="300"))
    assert code == 2
    assert said in err
