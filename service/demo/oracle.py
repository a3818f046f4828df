"""What must be in the table: known from the story itself, without any of the daemon's code."""

from collections import Counter, deque
from datetime import datetime
from typing import Any

import msgspec

from service.demo.clubs import CLUBS
from service.demo.season import Match


class Change(msgspec.Struct, frozen=True):
    """A new state of one match.

    Attributes:
        sequence: number among all that the providers publish, from 1.
        updated_at: the version: wall-clock time, microseconds, strictly rising.
        match: the full state.
    """

    sequence: int
    updated_at: datetime
    match: Match


class Poison(msgspec.Struct, frozen=True):
    """A record that cannot be loaded.

    Attributes:
        sequence: as in Change.
        reason: the reason that quarantine should give.
        body: the message that carries it.
    """

    sequence: int
    reason: str
    body: bytes


class Oracle:
    """Follows what is published.

    Attributes:
        rows: the ``matches`` table as it must become, by match id; values in the types that asyncpg gives.
        poison: how many poison records were published, by reason.
        published: how many changes and poison records were published.
        log: the last of them, in order; everything, unless the log was given a bound.
    """

    def __init__(self, keep: int | None = None) -> None:
        self.rows: dict[str, dict[str, Any]] = {}
        self.poison: Counter[str] = Counter()
        self.published = 0
        self.log: deque[Change | Poison] = deque(maxlen=keep)

    def note(self, entry: Change | Poison) -> None:
        """Take account of what is published now."""
        self.published += 1
        self.log.append(entry)
        if isinstance(entry, Poison):
            self.poison[entry.reason] += 1
        else:
            self.rows[entry.match.id] = row(entry)


def row(change: Change) -> dict[str, Any]:
    """Give the row that a change must become."""
    match = change.match
    return {
        "provider": "acme",
        "match_id": match.id,
        "kickoff": match.kickoff,
        "home": CLUBS[match.home].name,
        "away": CLUBS[match.away].name,
        "status": match.status,
        "home_score": match.home_score,
        "away_score": match.away_score,
        "odds_home": match.odds_home,
        "updated_at": change.updated_at,
    }
