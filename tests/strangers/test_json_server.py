"""The daemon fed by json-server, which nobody here wrote: pages, changes between polls, a call for each row."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.daemon import Daemon, balanced, rows
from tests.strangers.servers import asked, change, json_server

CONFIG = """\
database: {url: "${DATABASE_URL}"}
buffer: {path: ./spool}
http: {host: 127.0.0.1, port: "${HEADRACE_PORT}"}
tables:
  linked: &matches
    key: id
    columns: {id: integer, home: text, away: text, score: {type: integer, null: true}}
  numbered: *matches
  goals: {key: id, columns: {id: integer, match: integer, player: text}}
providers:
  stranger:
    url: ${SITE}
    feeds:
      linked: &feed
        kind: rest
        path: /matches
        params: {_limit: 10, _page: 1, _sort: id}
        every: 200ms
        paginate: {kind: link}
        absent: delete
        into: linked
        map: {id: id, home: home, away: away, score: score}
      numbered:
        <<: *feed
        params: {_sort: id}
        paginate: {kind: page, param: _page, size: 7, size_param: _limit}
        into: numbered
      goals:
        kind: rest
        for_each: {feed: linked, where: score is not null}
        path: /goals
        params: {matchId: "{id}"}
        every: 200ms
        into: goals
        map: {id: id, match: $params.id, player: player}
"""


def match(number: int, score: int | None = None) -> dict[str, Any]:
    return {"id": number, "home": f"Club {number}", "away": "Ää & <b>", "score": score}


CHANGES: list[list[tuple[str, str, Any]]] = [
    [("PATCH", "matches/3", {"score": 2})],
    [("POST", "matches", match(number, 0)) for number in range(36, 60)],
    [("DELETE", f"matches/{number}", None) for number in range(11, 31)],
    [("POST", "goals", {"id": 900, "matchId": 3, "player": "late"})],
    [("PUT", f"matches/{number}", match(number, 9)) for number in (1, 31, 59)],
]
"""What becomes of its data between two looks at the tables; with a match it deletes the goals, too."""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "config.yaml").write_text(CONFIG)
    matches = [match(number, None if number % 5 else 1) for number in range(1, 36)]
    goals = [{"id": number, "matchId": 1 + number % 35, "player": f"p{number}"} for number in range(1, 141)]
    (tmp_path / "db.json").write_text(json.dumps({"matches": matches, "goals": goals}))
    with json_server(tmp_path) as url:
        yield url


async def until_equal(database: str, site: str, published: set[tuple[Any, ...]]) -> None:
    """Wait until each table holds what the provider itself says that it has; ``published`` are goals it ever had."""
    matches = {(each["id"], each["home"], each["away"], each["score"]) for each in asked(f"{site}/matches")}
    played = {number for number, *_, score in matches if score is not None}
    published |= {(each["id"], each["matchId"], each["player"]) for each in asked(f"{site}/goals")}
    goals = {goal for goal in published if goal[1] in played}

    async def found(table: str) -> set[tuple[Any, ...]]:
        return {tuple(row.values()) for row in await rows(database, f"table {table}")}

    async with asyncio.timeout(60):
        while await found("linked") != matches or await found("numbered") != matches or goals - await found("goals"):
            await asyncio.sleep(0.05)
    assert await found("goals") <= published


async def test_tables_follow_a_provider_through_pages_changes_and_deletions(
    database: str, site: str, tmp_path: Path
) -> None:
    environ, published = {"DATABASE_URL": database, "SITE": site}, set[tuple[Any, ...]]()
    async with Daemon(tmp_path, environ, tmp_path / "config.yaml") as daemon:
        await daemon.until(lambda status: status["ready"])
        await until_equal(database, site, published)
        for changes in CHANGES:
            for method, path, document in changes:
                await asyncio.to_thread(change, f"{site}/{path}", method, document)
            await until_equal(database, site, published)
        # Nothing changes any more: polls go on, and cost neither a parse nor a write.
        before = await daemon.until(lambda status: not status["ledger"]["in_flight"])
        moment = before["feeds"]["stranger.linked"]["next_poll_at"]
        after = await daemon.until(lambda status: status["feeds"]["stranger.goals"]["next_poll_at"] > moment + 1)
        for feed in ("stranger.linked", "stranger.numbered", "stranger.goals"):
            assert after["feeds"][feed]["messages"] == before["feeds"][feed]["messages"]
            assert after["feeds"][feed]["state"] == "live"
        assert balanced(after)
        assert await daemon.stop() == 0
