"""A real table of results, as it was published over the years: rows come, change, are keyed anew, and vanish."""

import csv
import gzip
import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.daemon import Daemon, balanced, rows
from tests.site import Asked, Site

FEEDS = Path(__file__).parents[3] / "shared" / "feeds" / "results" / "poll"
pytestmark = pytest.mark.skipif(not FEEDS.exists(), reason="the recorded feeds are not part of the project")

CONFIG = """
database: {url: "${DATABASE_URL}"}
buffer: {path: ./spool}
http: {port: "${HEADRACE_PORT}"}
tables:
  results:
    key: [date, home, away]
    columns:
      date: date
      home: text
      away: text
      home_score: {type: integer, min: 0, null: true, on_invalid: "null"}
      away_score: {type: integer, min: 0, null: true, on_invalid: "null"}
      tournament: text
      neutral: boolean
providers:
  martj42:
    url: ${ACME_URL}
    feeds:
      results:
        kind: rest
        path: /results.csv.gz
        every: 300ms
        absent: delete
        into: results
        map: {date: date, home: home_team, away: away_team, home_score: home_score, away_score: away_score,
              tournament: tournament, neutral: neutral}
"""
QUERY = "select date::text, home, away, home_score, away_score, tournament, neutral from results"


class Publisher:
    """Serves one state at a time."""

    def __init__(self) -> None:
        self.body = b""
        self.site = Site(self.answer)

    async def answer(self, _asked: Asked) -> web.Response:
        return web.Response(body=self.body, content_type="application/gzip")


@pytest.fixture
async def publisher() -> AsyncIterator[Publisher]:
    served = Publisher()
    async with served.site:
        yield served


def number(text: str) -> int | None:
    return int(text) if text.isdigit() else None


def records(state: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(gzip.decompress(state).decode())))


def expected(state: bytes) -> dict[tuple[str, ...], tuple[object, ...]]:
    """What the table must hold: of each key the last row, from the file alone. Some fixtures lack their teams."""
    return {
        (row["date"], row["home_team"], row["away_team"]): (
            row["date"],
            row["home_team"],
            row["away_team"],
            number(row["home_score"]),
            number(row["away_score"]),
            row["tournament"],
            row["neutral"] == "TRUE",
        )
        for row in records(state)
        if row["home_team"] and row["away_team"]
    }


async def test_the_table_equals_each_state_row_for_row(database: str, publisher: Publisher, tmp_path: Path) -> None:
    states = [path.read_bytes() for path in sorted(FEEDS.glob("*.csv.gz"))]
    assert len(states) == 6
    config = tmp_path / "results.yaml"
    config.write_text(CONFIG)
    publisher.body = states[0]
    received = nameless = 0
    async with Daemon(tmp_path, {"DATABASE_URL": database, "ACME_URL": publisher.site.url}, config) as daemon:
        for state in states:
            publisher.body = state
            wanted = expected(state)
            received += len(records(state))
            nameless += sum(not (row["home_team"] and row["away_team"]) for row in records(state))

            def settled(status: dict[str, Any], received: int = received) -> bool:
                ledger = status["ledger"]
                return bool(ledger["received"] >= received and ledger["in_flight"] == 0)

            status = await daemon.until(settled)
            assert balanced(status)
            assert status["feeds"]["martj42.results"]["absent"] == "ok", status
            found = await rows(database, QUERY)
            assert {(row["date"], row["home"], row["away"]): tuple(row.values()) for row in found} == wanted
        assert status["ledger"]["quarantined"] == nameless
