"""Modes in the running daemon: rows come, go and are counted, and every count agrees with every other."""

import re
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.daemon import Daemon, balanced, rows
from tests.site import Asked, Site

CONFIG = """\
database: {{url: "{database}"}}
http: {{host: 127.0.0.1, port: "${{HEADRACE_PORT}}"}}
tables:
  teams:
    key: [source, id]
    version: at
    history: true
    columns: {{source: text, id: text, at: {{type: timestamp, format: epoch_s}}, points: integer}}
  log: {{mode: append, columns: {{id: text, what: text}}}}
  notes: {{mode: update, key: id, columns: {{id: text, note: text}}}}
providers:
  acme:
    url: {site}
    feeds:
      all:
        kind: rest
        path: /all
        every: 100ms
        paginate: {{kind: page}}
        into: teams
        absent: delete
        map: {{source: $feed, id: id, at: at, points: points}}
      events:
        kind: rest
        path: /events
        every: 100ms
        into: teams
        delete_when: "what == 'dissolved'"
        map: {{source: {{const: events}}, id: id, at: at, points: points}}
      log: {{kind: rest, path: /events, every: 100ms, into: log, map: {{id: id, what: what}}}}
      notes: {{kind: rest, path: /notes, every: 100ms, into: notes, map: {{id: id, note: note}}}}
"""


class League:
    """Answers as its lists say; ``all`` comes in pages of one, then an empty one, and stays the same for a walk."""

    def __init__(self) -> None:
        self._walked: list[dict[str, Any]] = []
        self.lists: dict[str, list[dict[str, Any]]] = {
            "/all": [team("a"), team("b"), team("c")],
            "/events": [team("x") | {"what": "founded"}, team("y") | {"what": "founded"}],
            "/notes": [{"id": "known", "note": "new"}, {"id": "unknown", "note": "new"}],
        }

    def answer(self, asked: Asked) -> web.Response:
        records = self.lists[asked.path]
        if asked.path == "/all":
            number = int(asked.query.get("page", "1")) - 1
            self._walked = records if number == 0 else self._walked
            records = self._walked[number : number + 1]
        return web.json_response(records)


def team(name: str, at: int = 1, points: Any = 0) -> dict[str, Any]:
    return {"id": name, "at": at, "points": points}


async def metrics(daemon: Daemon) -> dict[tuple[str, str], int]:
    text = (await daemon.get("/metrics"))[1]
    found = re.findall(r'headrace_rows_total\{outcome="(\w+)",table="(\w+)"\} ([\d.]+)', text)
    return {(table, outcome): int(float(count)) for outcome, table, count in found}


async def test_rows_come_and_go_and_all_counts_agree(tmp_path: Path, database: str) -> None:
    league = League()
    async with Site(league.answer) as site:
        config = tmp_path / "modes.yaml"
        config.write_text(CONFIG.format(database=database, site=site.url))
        async with Daemon(tmp_path, {}, config) as daemon:
            await daemon.until(lambda status: status["tables"]["teams"]["inserted"] == 5)
            await daemon.until(lambda status: status["tables"]["notes"]["filtered"] == 2)
            await rows(database, "INSERT INTO notes VALUES ('known', 'old')")
            # b is gone, c is refused but was seen; x is dissolved.
            league.lists["/all"] = [team("a"), team("c", 2, "many"), team("d")]
            league.lists["/events"] = [{"id": "x", "at": 5, "what": "dissolved"}, team("x", 4) | {"what": "late"}]
            league.lists["/notes"] = [{"id": "known", "note": "newer"}, {"id": "unknown", "note": "newer"}]
            status = await daemon.until(
                lambda status: (
                    status["tables"]["teams"]["absent"] == 1
                    and status["tables"]["teams"]["deleted"] == 1
                    and status["tables"]["notes"]["updated"] == 1
                    and status["tables"]["log"]["inserted"] == 4
                )
            )
            assert status["feeds"]["acme.all"]["absent"] == "ok"
            assert await daemon.stop() == 0
        teams = "SELECT source || ' ' || id AS name FROM {} {} ORDER BY 1"
        present = ["acme.all a", "acme.all c", "acme.all d", "events y"]
        for source in (teams.format("teams", ""), teams.format("teams_history", "WHERE valid_to IS NULL")):
            assert [row["name"] for row in await rows(database, source)] == present
        assert await rows(database, "SELECT * FROM notes") == [{"id": "known", "note": "newer"}]
        kept = await rows(database, "SELECT id, what FROM log ORDER BY id, what")
        assert [tuple(row.values()) for row in kept] == [
            ("x", "dissolved"), ("x", "founded"), ("x", "late"), ("y", "founded")
        ]  # fmt: skip


async def test_metrics_status_and_positions_tell_the_same(tmp_path: Path, database: str) -> None:
    league = League()
    async with Site(league.answer) as site:
        config = tmp_path / "modes.yaml"
        config.write_text(CONFIG.format(database=database, site=site.url))
        async with Daemon(tmp_path, {}, config) as daemon:
            await daemon.until(lambda status: status["tables"]["teams"]["inserted"] == 5)
            league.lists["/all"] = []
            league.lists["/events"] = [{"id": "y", "at": 5, "what": "dissolved"}]
            await daemon.until(lambda status: status["tables"]["teams"]["absent"] == 3)
            await daemon.until(lambda status: status["tables"]["teams"]["deleted"] == 1)
            status = await daemon.status()
            assert balanced(status)
            found = await metrics(daemon)
            wanted = {
                (name, outcome): count
                for name, counts in (await daemon.status())["tables"].items()
                for outcome, count in counts.items()
            }
            assert found == wanted
            totals = "SELECT sum(deleted) AS deleted, sum(absent) AS absent, sum(inserted) AS inserted FROM headrace."
            written = (await rows(database, f"{totals}batches"))[0]
            assert (written["deleted"], written["absent"]) == (1, 3)
            assert (await rows(database, f"{totals}positions"))[0] == written
