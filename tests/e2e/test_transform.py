"""Routes, a function of the user's own, an SQLAlchemy class, repeats and drift in the running daemon."""

from pathlib import Path
from typing import Any

import sqlalchemy as sa
from aiohttp import web
from sqlalchemy.ext.asyncio import create_async_engine

from tests.daemon import Daemon, balanced, rows
from tests.site import Asked, Site
from tests.unit.config.sample_models import Numbered

CONFIG = """\
database: {{url: "{database}"}}
http: {{host: 127.0.0.1, port: "${{HEADRACE_PORT}}"}}
tables:
  numbered: {{model: "tests.unit.config.sample_models:Numbered", key: name}}
  goals:
    key: [source, id]
    columns: {{source: text, id: text, minute: {{type: integer, max: 120}}, late: boolean}}
providers:
  acme:
    url: {site}
    feeds:
      mixed:
        kind: rest
        path: /mixed
        every: 50ms
        records: items
        transform: own.functions:unpack
        dedupe: 10m
        routes:
          - where: kind == 'goal' && minute > 0
            into: goals
            delete_when: annulled == true
            map: {{source: $feed, id: id, minute: minute, late: {{expr: minute > 85}}}}
          - where: kind == 'team'
            into: numbered
            map: {{name: name}}
      watched:
        kind: rest
        path: /watched
        every: 50ms
        on_drift: quarantine
        into: goals
        map: {{source: $feed, id: {{expr: "'w' + id"}}, minute: minute, late: {{const: false}}}}
"""
FUNCTIONS = """\
def unpack(records):
    for record in records:
        if record["kind"] == "broken":
            raise ValueError("no such kind")
        yield {**record, **record.pop("data", {})}
"""


class Provider:
    """Answers with what it holds, each time with another time, so that no answer is like the one before."""

    def __init__(self) -> None:
        self.mixed: list[dict[str, Any]] = []
        self.watched: list[dict[str, Any]] = [{"id": str(number), "minute": 1} for number in range(100)]

    def answer(self, asked: Asked) -> web.Response:
        if asked.path == "/watched":
            return web.json_response(self.watched)
        return web.json_response({"at": asked.number, "items": self.mixed})


def goal(name: str, minute: int, **more: Any) -> dict[str, Any]:
    return {"kind": "goal", "id": name, "data": {"minute": minute}, **more}


async def prepare(tmp_path: Path, database: str, site: Site) -> Path:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "functions.py").write_text(FUNCTIONS)
    config = tmp_path / "transform.yaml"
    config.write_text(CONFIG.format(database=database, site=site.url))
    engine = create_async_engine(database.replace("postgresql:", "postgresql+asyncpg:"))
    async with engine.begin() as connection:
        await connection.run_sync(lambda sync: sa.Table.create(Numbered.__table__, sync))  # type: ignore[arg-type]
    await engine.dispose()
    return config


async def test_records_take_their_ways_and_repeats_are_left_out(tmp_path: Path, database: str) -> None:
    provider = Provider()
    provider.mixed = [
        goal("a", 12),
        {"kind": "team", "name": "Leeds"},
        {"kind": "corner"},
        goal("b", 90),
        goal("c", 121),
        {"kind": "broken"},
    ]
    async with Site(provider.answer) as site:
        config = await prepare(tmp_path, database, site)
        async with Daemon(tmp_path, {}, config) as daemon:
            await daemon.until(lambda status: status["ledger"]["duplicate"] >= 6)
            provider.mixed = [goal("a", 13), goal("b", 90, annulled=True), {"kind": "team", "name": "Hull"}]
            status = await daemon.until(lambda status: status["tables"]["goals"]["deleted"] == 1)
            assert balanced(status)
            ledger = status["feeds"]["acme.mixed"]["ledger"]
            assert ledger["unchanged"] == ledger["stale"] == 0
            assert ledger["loaded"] == 6
            assert status["feeds"]["acme.mixed"]["tables"] == ["goals", "numbered"]
            assert await daemon.stop() == 0
        found = await rows(database, "SELECT id, minute, late FROM goals WHERE id NOT LIKE 'w%' ORDER BY id")
        assert found == [{"id": "a", "minute": 13, "late": False}]
        assert [row["name"] for row in await rows(database, "SELECT name FROM numbered ORDER BY id")] == [
            "Leeds",
            "Hull",
        ]
        refused = await rows(
            database,
            "SELECT DISTINCT table_name, reason, convert_from(record, 'UTF8') AS record FROM headrace.quarantine "
            "WHERE feed LIKE '%mixed' ORDER BY reason",
        )
        assert [(row["table_name"], row["reason"]) for row in refused] == [
            ("goals", "minute: max"),
            (None, "transform: ValueError"),
        ]
        assert refused[1]["record"] == '{"kind": "broken"}'


async def test_records_that_drift_go_to_quarantine_and_the_status_says_why(tmp_path: Path, database: str) -> None:
    provider = Provider()
    async with Site(provider.answer) as site:
        config = await prepare(tmp_path, database, site)
        async with Daemon(tmp_path, {}, config) as daemon:
            await daemon.until(lambda status: status["tables"]["goals"]["inserted"] == 100)
            provider.watched = [{"id": "100", "minute": 1, "var": True}, {"id": "101", "minute": "2"}, {"id": "102"}]
            status = await daemon.until(lambda status: len(status["feeds"]["acme.watched"]["drift"]) == 3)
            drift = {(each["field"], each["what"], each["count"]) for each in status["feeds"]["acme.watched"]["drift"]}
            assert drift == {("var", "new", 1), ("minute", "type", 1), ("minute", "gone", 1)}
            status = await daemon.until(lambda status: status["ledger"]["quarantined"] == 2)
            assert balanced(status)
            assert status["tables"]["goals"]["inserted"] == 101
        reasons = await rows(database, "SELECT DISTINCT reason FROM headrace.quarantine")
        assert [row["reason"] for row in reasons] == ["drift: field changed"]


async def test_what_nobody_can_read_costs_no_neighbour_and_stops_no_daemon(tmp_path: Path, database: str) -> None:
    good = b'{"id": "a", "minute": 1}, {"id": "b", "minute": 2}'
    bodies = [
        b"[" + good + rb', {"id": "\ud800", "minute": 3}, {"id": "c", "minute": 4, "x": "\udfff"}]',
        b'[{"id": "d", "minute": 999, "x": 1e99999999999999999999}, {"id": "e", "minute": 5}]',
        b'{"id": "f", "minute": 999, "\xff": 1}',
        b'[{"id": "g", "minute": 7, "x": ' + b'{"a":[' * 5000 + b"]}" * 5000 + b'}, {"id": "h", "minute": 8}]',
        b'[{"id": "last", "minute": 6}]',
    ]

    def answer(asked: Asked) -> web.Response:
        body = bodies[min(asked.number, len(bodies) - 1)]
        return web.Response(body=body, content_type="application/json")

    async with Site(answer) as site:
        config = tmp_path / "unreadable.yaml"
        config.write_text(
            f"""
database: {{url: "{database}"}}
http: {{host: 127.0.0.1, port: "${{HEADRACE_PORT}}"}}
tables: {{goals: {{key: id, columns: {{id: text, minute: {{type: integer, max: 120}}}}}}}}
providers:
  acme:
    url: {site.url}
    feeds: {{goals: {{kind: rest, path: /goals, every: 50ms, into: goals, map: {{id: id, minute: minute}}}}}}
"""
        )
        async with Daemon(tmp_path, {}, config) as daemon:
            status = await daemon.until(lambda status: status["ledger"]["loaded"] == 5)
            assert balanced(status)
            assert status["ledger"]["quarantined"] == 5
            assert await daemon.stop() == 0
        found = await rows(database, "SELECT id FROM goals ORDER BY id")
        assert [row["id"] for row in found] == ["a", "b", "e", "h", "last"]
