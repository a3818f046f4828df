"""`headrace explain` beside a running daemon: one key through messages, refusals, versions and the row."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from tests.daemon import Daemon
from tests.sql import execute
from tests.unit.cli.commands import Ended, headrace

CONFIG = """\
database: {{url: "{database}"}}
http: {{host: 127.0.0.1, port: "${{HEADRACE_PORT:-1}}"}}
tables:
  goals:
    key: [source, id]
    version: at
    history: true
    columns:
      source: text
      id: text
      at: timestamp
      n: {{type: integer, max: {most}, null: true}}
      token: {{type: text, null: true}}
      extra: {{type: json, null: true}}
providers:
  acme:
    feeds:
      posted:
        kind: webhook
        unverified: true
        breaker: 100
        where: "kind != 'test'"
        delete_when: gone == true
        into: goals
        map: {{source: {{const: acme}}, id: id, at: at, n: n, token: token, extra: extra}}
"""


def goal(name: str, second: int, n: Any = 1, **more: Any) -> dict[str, Any]:
    return {"id": name, "at": f"2026-01-01T12:00:{second:02}Z", "n": n, **more}


class Setting:
    """A running daemon with one feed, and the command beside it."""

    def __init__(self, folder: Path, database: str) -> None:
        self.folder, self.database = folder, database

    @asynccontextmanager
    async def running(self, most: int = 9, config: str = CONFIG) -> AsyncIterator[Daemon]:
        file = self.folder / "config.yaml"
        file.write_text(config.format(database=self.database, most=most))
        async with Daemon(self.folder, {}, file) as daemon:
            await daemon.until(lambda status: status["feeds"]["acme.posted"]["state"] in {"live", "quiet"})
            yield daemon

    async def explain(self, *arguments: str) -> Ended:
        return await asyncio.to_thread(headrace, self.folder, "explain", "goals", *arguments)

    async def found(self, *arguments: str) -> dict[str, Any]:
        ended = await self.explain(*arguments, "--json")
        assert ended.code == 0, ended.err
        return dict(json.loads(ended.out))


async def post(daemon: Daemon, *records: Any) -> None:
    """Post one message after another; each is settled before the next."""
    for record in records:
        url = f"{daemon.url}/ingest/acme/posted"
        async with aiohttp.ClientSession() as session, session.post(url, json=record) as answer:
            assert answer.status == 202
        await daemon.until(
            lambda status: (
                status["feeds"]["acme.posted"]["buffered_bytes"] == 0
                or status["feeds"]["acme.posted"]["state"] == "parked"
            )
        )


def outcomes(found: dict[str, Any]) -> list[tuple[str, str]]:
    return [(record["outcome"], record["because"]) for record in found["records"]]


async def test_one_key_through_time(tmp_path: Path, database: str) -> None:
    setting = Setting(tmp_path, database)
    (tmp_path / "old.ndjson").write_text(
        '{"id": "r", "at": "2025-12-31T00:00:00Z", "n": 5}\n{"id": "r", "at": "2026-01-01T00:00:00Z", "n": 1}\n'
    )
    async with setting.running() as daemon:
        await post(
            daemon,
            goal("a", 10),
            [goal("b", 1), goal("a", 20, 2, token="t0ps3cr3t", extra={"price": 2.10})],
            goal("a", 15, 3),
            goal("a", 20, 2, token="t0ps3cr3t", extra={"price": 2.1}),
            goal("a", 30, 10),
            goal("a", 40, kind="test"),
            goal("ab", 50),
            goal("d", 10),
            goal("d", 20, gone=True),
            {"no": "id", "for": "d"},
            goal("h", 1),
            goal("w", 1, 99),
        )
        await execute(database, "UPDATE goals SET n = 7 WHERE id = 'h'")
        await execute(database, "INSERT INTO goals VALUES ('acme', 'r', '2026-01-01Z', 1)")
        await post(daemon, [goal(f"x{number}", 1, 99) for number in range(200)], goal("w", 2, 1), goal("b", 2))
        won, deleted, changed, recorded, refused, waiting = await asyncio.gather(
            setting.found("id=a", "acme"),
            setting.found("acme", "d"),
            setting.found("acme", "h"),
            setting.found("acme", "r", "--from", "old.ndjson"),
            setting.found("acme", "w"),
            setting.found("acme", "b"),
        )
        shown, nowhere = await asyncio.gather(setting.explain("acme", "a"), setting.explain("acme", "none"))

    because = dict(outcomes(won))
    assert list(because) == ["replaced", "won", "stale", "unchanged", "refused", "filtered"]
    assert because["replaced"] == "by version 2026-01-01T12:00:20Z"
    assert because["won"] == "version 2026-01-01T12:00:20Z is the newest"
    assert because["stale"] == "version 2026-01-01T12:00:15Z < 2026-01-01T12:00:20Z"
    assert "10 is more than the maximum 9" in because["refused"]
    assert because["filtered"] == "`where: kind != 'test'` is not true"
    places = [record["place"].partition(" ")[0] for record in won["records"]]
    assert places == ["buffer", "buffer", "buffer", "buffer", "quarantine", "buffer"]
    assert won["records"][1]["record"] == 2
    assert won["rows"][0]["n"] == 2
    assert [row["n"] for row in won["history"]] == [1, 3, 2]
    assert won["conclusion"].startswith("The row is what record 2 of acme.posted at ")
    assert shown.code == 0
    assert "t0ps3cr3t" not in shown.out

    assert [outcome for outcome, _ in outcomes(deleted)] == ["replaced", "deleted", "mentioned"]
    assert deleted["rows"] == []
    assert deleted["deleted"]["version"] == "2026-01-01T12:00:20Z"
    assert deleted["conclusion"].startswith("There is no row: record 1 of acme.posted at ")

    assert outcomes(changed) == [("replaced", "the row differs: n is 7, not 1")]
    assert "changed by hand" in changed["conclusion"]
    assert [(record["place"], record["outcome"]) for record in recorded["records"]] == [
        ("old.ndjson", "replaced"),
        ("old.ndjson", "won"),
    ]
    assert [outcome for outcome, _ in outcomes(refused)] == ["refused", "waiting"]
    assert refused["conclusion"].startswith("There is no row: what came for it waits: record 1 of ")
    assert [outcome for outcome, _ in outcomes(waiting)] == ["won", "waiting"]
    assert waiting["conclusion"].endswith(" is the newest. 1 record waits.")
    assert (nowhere.code, nowhere.out) == (1, "")
    assert "found nowhere" in nowhere.err


async def test_a_replayed_record_is_followed_and_nothing_is_written(tmp_path: Path, database: str) -> None:
    setting = Setting(tmp_path, database)
    async with setting.running() as daemon:
        await post(daemon, goal("a", 10, 50))
        assert await daemon.stop() == 0
    (tmp_path / "config.yaml").write_text(CONFIG.format(database=database, most=99))
    assert (await asyncio.to_thread(headrace, tmp_path, "quarantine", "replay")).code == 0
    spool = {path: path.read_bytes() for path in (tmp_path / "data").rglob("*") if path.is_file()}
    found = await setting.found("acme", "a")
    assert [record["outcome"] for record in found["records"]] == ["refused", "won"]
    assert found["records"][1]["because"] == "version 2026-01-01T12:00:10Z is the newest; it was replayed"
    assert {path: path.read_bytes() for path in (tmp_path / "data").rglob("*") if path.is_file()} == spool


UTF_16 = CONFIG.replace("kind: webhook", "kind: webhook\n        format: {{kind: csv, encoding: utf-16-le}}")


async def test_refused_records_in_utf_16_are_found(tmp_path: Path, database: str) -> None:
    setting = Setting(tmp_path, database)
    lines = "town,id,at,n\n\u6771\u4eac,a1,2026-01-01T12:00:00Z,99\n\u6771\u4eac,b,2026-01-01T12:00:00Z,98\n"
    async with setting.running(config=UTF_16) as daemon, aiohttp.ClientSession() as session:
        await session.post(f"{daemon.url}/ingest/acme/posted", data=lines.encode("utf-16-le"))
        await daemon.until(lambda status: status["ledger"]["quarantined"] == 2)
        found = await setting.found("acme", "a1")
    assert ("quarantine 1", "refused") in [(record["place"], record["outcome"]) for record in found["records"]]


DELTAS = CONFIG.replace("    version: at\n    history: true", "    version: at").replace(
    "        delete_when: gone == true\n", "        partial: true\n        wait_for_row: 1h\n"
)


async def test_a_delta_that_waits_and_the_versions_of_columns_are_told(tmp_path: Path, database: str) -> None:
    setting = Setting(tmp_path, database)
    config = DELTAS.replace("at: timestamp", "at: timestamp\n      home: text")
    config = config.replace("id: id,", "id: id, home: home, held: password,")
    config = config.replace("home: text", "home: text\n      held: {{type: text, null: true}}")
    config += "buffer: {{kind: memory}}\n"  # what waits is told by the database alone
    async with setting.running(config=config) as daemon:
        await post(
            daemon,
            goal("w", 5),
            goal("a", 1, 1, home="Bee", token="t0ps3cr3t", password="hunter2"),
            goal("a", 9, 2),
            {"id": "a", "at": "2026-01-01T12:00:04Z", "extra": 5},
        )
        waits, made = await asyncio.gather(setting.found("acme", "w"), setting.found("acme", "a"))
        shown = await setting.explain("acme", "a")
    (record,) = waits["records"]
    assert (record["place"], record["outcome"], record["row"]["n"]) == ("waiting 1", "waiting", 1)
    assert waits["rows"] == []
    assert "what came for it waits" in waits["conclusion"]
    first, third = "2026-01-01T12:00:01Z", "2026-01-01T12:00:04Z"
    assert made["versions"] == {"home": first, "token": first, "held": first, "extra": third}
    assert made["rows"][0]["held"] == "***"
    assert "t0ps3cr3t" not in shown.out
    assert "hunter2" not in shown.out
    assert f"Bee  (of version {first})" in shown.out
