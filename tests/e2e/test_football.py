"""A real league, as its provider published it: twelve states of a season, and one that was broken."""

import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.daemon import Daemon, balanced, rows

FEEDS = Path(__file__).parents[3] / "shared" / "feeds" / "football"
pytestmark = pytest.mark.skipif(not FEEDS.exists(), reason="the recorded feeds are not part of the project")

CONFIG = """
database: {url: "${DATABASE_URL}"}
buffer: {path: ./spool}
http: {port: "${HEADRACE_PORT}"}
tables:
  matches:
    key: [date, home, away]
    columns:
      date: date
      time: {type: time, null: true}
      round: text
      home: text
      away: text
      home_score: {type: integer, min: 0, null: true}
      away_score: {type: integer, min: 0, null: true}
providers:
  openfootball:
    url: ${ACME_URL}
    feeds:
      season:
        kind: rest
        path: /en.1.json
        every: 200ms
        records: matches
        into: matches
        map:
          date: date
          time: time
          round: round
          home: team1
          away: team2
          home_score: score.ft[0]
          away_score: score.ft[1]
"""


class Server:
    """Serves one state at a time."""

    def __init__(self) -> None:
        self.body = b'{"matches": []}'
        self.requests = 0
        self.url = ""

    async def answer(self, _request: web.Request) -> web.Response:
        self.requests += 1
        return web.Response(body=self.body, content_type="application/json")


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    served = Server()
    app = web.Application()
    app.router.add_get("/en.1.json", served.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    served.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield served
    await runner.cleanup()


def _matches(body: bytes) -> list[dict[str, Any]] | None:
    """The matches of a state; None for one that is not JSON (the provider published 03 like that)."""
    try:
        matches: list[dict[str, Any]] = json.loads(body)["matches"]
    except json.JSONDecodeError:
        return None
    return matches


def _expected(states: list[Path]) -> list[dict[str, Any]]:
    """What the table must hold after the states: the last word on each fixture, computed from the files alone."""
    table: dict[tuple[str, str, str], dict[str, Any]] = {}
    for state in states:
        for match in _matches(state.read_bytes()) or []:
            score = match.get("score") or {}
            full = score.get("ft") or [None, None]
            table[match["date"], match["team1"], match["team2"]] = {
                "date": match["date"], "time": match.get("time"), "round": match["round"], "home": match["team1"],
                "away": match["team2"], "home_score": full[0], "away_score": full[1],
            }  # fmt: skip
    return sorted(table.values(), key=lambda row: (row["date"], row["home"], row["away"]))


async def _table(database: str) -> list[dict[str, Any]]:
    query = """select date::text, to_char(time, 'HH24:MI') as time, round, home, away, home_score, away_score
               from matches order by date, home collate "C", away collate "C" """
    return await rows(database, query)


async def test_twelve_states_and_a_broken_one_become_the_table_that_the_files_say(
    server: Server, database: str, tmp_path: Path
) -> None:
    config = tmp_path / "football.yaml"
    config.write_text(CONFIG)
    async with Daemon(tmp_path, {"DATABASE_URL": database, "ACME_URL": server.url}, config) as daemon:
        received = broken = 0
        states = [FEEDS / "en.1.json", *sorted((FEEDS / "poll").glob("[0-9]*.json"))]
        for number, state in enumerate(states, 1):
            if server.body != state.read_bytes():
                server.body = state.read_bytes()
                matches = _matches(server.body)
                received += 1 if matches is None else len(matches)
                broken += matches is None
            await daemon.until(_settled(received))
            assert await _table(database) == _expected(states[:number])
        assert broken == 1

        server.body = (FEEDS / "poll" / "broken.json").read_bytes()
        await daemon.until(lambda status: status["ledger"]["quarantined"] == 2)
        refused = await rows(database, "select * from headrace.quarantine")
        assert {row["reason"] for row in refused} == {"json: not decodable"}
        assert {row["message"] for row in refused} == {server.body}
        assert await _table(database) == _expected(states)

        polls = server.requests
        server.body = states[4].read_bytes()
        received += 1 + len(json.loads(server.body)["matches"])
        status = await daemon.until(_settled(received))
        assert server.requests > polls
        assert balanced(status)
        assert await _table(database) == _expected([*states, states[4]])
        assert await daemon.stop() == 0


def _settled(received: int) -> Callable[[dict[str, Any]], bool]:
    return lambda status: status["ledger"]["received"] == received and status["ledger"]["in_flight"] == 0
