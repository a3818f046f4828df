"""The work that every contestant does: a table with live keys, and messages that update them or add new ones."""

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

import sqlalchemy as sa
from sqlalchemy.schema import CreateTable

from service.config.tables import Table
from service.store.tables import DIALECT, build

START = datetime(2026, 1, 1, tzinfo=UTC)
"""Versions of the preloaded rows lie before it, those of the messages after it, one microsecond apart."""
KICKOFF = datetime(2026, 3, 1, 15, tzinfo=UTC)
STATUS = {"TIMED": "scheduled", "IN_PLAY": "live", "FINISHED": "finished"}
NEW_EVERY = 5
"""One message in five has a new key; four update a live one."""
SCATTER = 7919
"""A prime: updates walk through the live keys in steps of it, so that they touch all of the table."""

BASE: dict[str, Any] = {
    "provider": "text",
    "match_id": "text",
    "kickoff": "timestamp",
    "home": {"type": "text", "max_length": 120},
    "away": {"type": "text", "max_length": 120},
    "status": {"type": "text", "values": [*STATUS.values()]},
    "home_score": {"type": "integer", "min": 0, "max": 200, "null": True},
    "away_score": {"type": "integer", "min": 0, "max": 200, "null": True},
    "odds_home": {"type": "float", "null": True},
    "odds_away": {"type": "float", "null": True},
    "minute": {"type": "integer", "null": True},
    "updated_at": "timestamp",
}
MAP: dict[str, Any] = {
    "provider": {"const": "bench"},
    "match_id": "match.id",
    "kickoff": "match.utcDate",
    "home": "match.home.name",
    "away": "match.away.name",
    "status": {"from": "match.status", "values": STATUS},
    "home_score": "match.score.home",
    "away_score": "match.score.away",
    "odds_home": "match.odds.home",
    "odds_away": "match.odds.away",
    "minute": "match.minute",
    "updated_at": "ts",
}


@dataclass(frozen=True)
class Work:
    """What is sent, and what the table looks like before and after.

    Attributes:
        messages: how many are sent, one record each.
        live: keys that the table holds beforehand.
        columns: of the table; those above 12 are integers.
        size: bytes of a message, about; 0 for the smallest that fills the columns.
        feeds: among which the messages are dealt out, one after the other.
    """

    messages: int
    live: int = 200_000
    columns: int = len(BASE)
    size: int = 1400
    feeds: int = 1

    @cached_property
    def extra(self) -> list[str]:
        """Names of the columns above twelve."""
        return [f"x{number}" for number in range(len(BASE), self.columns)]

    @cached_property
    def names(self) -> list[str]:
        """Names of all columns, in the table's order."""
        return [*BASE, *self.extra]

    @cached_property
    def table(self) -> Table:
        """The table, as Headrace is configured with it."""
        return Table.model_validate({"key": ["provider", "match_id"], "version": "updated_at", "columns": self.types})

    @property
    def types(self) -> dict[str, Any]:
        """The columns, as they stand in a configuration."""
        return {**BASE, **dict.fromkeys(self.extra, "integer")}

    @property
    def map(self) -> dict[str, Any]:
        """Where each column comes from, as it stands in a configuration."""
        return {**MAP, **{name: name for name in self.extra}}

    @property
    def target(self) -> sa.Table:
        """The table as SQLAlchemy's."""
        return build({"matches": self.table}, "public")["matches"]

    def ddl(self) -> str:
        """Give the statement that makes the table: the daemon's own."""
        return str(CreateTable(self.target).compile(dialect=DIALECT))

    def preload(self) -> str:
        """Give the statement that fills it with the live keys."""
        extra = "".join(f", n + {number}" for number in range(len(self.extra)))
        return (
            "INSERT INTO matches SELECT 'bench', 'm' || lpad(n::text, 9, '0'), '2026-03-01T15:00:00Z'::timestamptz,"
            " 'Club ' || n % 97 || ' United', 'Sporting ' || n % 89, 'scheduled', 0, 0, 1.5, 2.25, 0,"
            f" '2025-12-31T00:00:00Z'::timestamptz{extra} FROM generate_series(0, {self.live - 1}) AS n"
        )

    def key(self, number: int) -> str:
        """Give the key of a message: a new one every fifth time, else a live one, none twice until all had a turn."""
        new = number % NEW_EVERY == NEW_EVERY - 1 or not self.live
        place = self.live + number if new else number * SCATTER % self.live
        return f"m{place:09d}"

    def document(self, number: int) -> dict[str, Any]:
        """Give one message."""
        document: dict[str, Any] = {
            "ts": (START + timedelta(microseconds=number + 1)).isoformat(timespec="microseconds"),
            "match": {
                "id": self.key(number),
                "utcDate": "2026-03-01T15:00:00Z",
                "home": {"name": f"Club {number % 97} United"},
                "away": {"name": f"Sporting {number % 89}"},
                "status": [*STATUS][number % 3],
                "score": {"home": number % 7, "away": number % 5},
                "odds": {"home": 1.5 + number % 10 / 10, "away": 2.25},
                "minute": number % 90,
            },
            **{name: number + place for place, name in enumerate(self.extra)},
        }
        room = self.size - len(json.dumps(document, separators=(",", ":")))
        players = range(max(0, (room - len(',"lineup":[]')) // len('{"n":10,"name":"Player 00000","pos":"MID"},')))
        if players:
            document["lineup"] = [{"n": n % 90 + 10, "name": f"Player {n:05d}", "pos": "MID"} for n in players]
        return document

    def row(self, number: int) -> tuple[Any, ...]:
        """Give the row that a message becomes."""
        status = [*STATUS.values()][number % 3]
        return (
            "bench", self.key(number), KICKOFF, f"Club {number % 97} United", f"Sporting {number % 89}", status,
            number % 7, number % 5, 1.5 + number % 10 / 10, 2.25, number % 90,
            START + timedelta(microseconds=number + 1), *(number + place for place in range(len(self.extra))),
        )  # fmt: skip

    def batches(self, most: int) -> Iterator[list[tuple[Any, ...]]]:
        """Give the rows in batches, of equal keys in a batch only the last."""
        numbers = iter(range(self.messages))
        while batch := list(itertools.islice(numbers, most)):
            yield list({row[1]: row for row in map(self.row, batch)}.values())

    @cached_property
    def outcome(self) -> tuple[int, int]:
        """What the table shows when all is done: rows that messages wrote, and the sum of their versions in us."""
        last = {self.key(number): number + 1 for number in range(self.messages)}
        return len(last), sum(last.values())

    @cached_property
    def last(self) -> tuple[str, datetime]:
        """Key and version of the last message."""
        return self.key(self.messages - 1), START + timedelta(microseconds=self.messages)
