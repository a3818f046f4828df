"""The story: an endless football league, match state after match state, the same for the same seed."""

import random
from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count, islice
from typing import Literal, TypeAlias

import msgspec

from service.demo.clubs import CLUBS

Status: TypeAlias = Literal["scheduled", "live", "finished", "postponed"]
Moment: TypeAlias = tuple[datetime, str, "Match"]

MATCHDAYS = 2 * (len(CLUBS) - 1)
OPENING = MATCHDAYS * len(CLUBS) // 2
"""How many fixtures are published before the first ball is kicked: one season's."""

_FIRST_YEAR = 2026
_KICKOFFS = (timedelta(hours=12, minutes=30), timedelta(hours=15), timedelta(hours=17, minutes=30))
_FULL_TIME = 95
_POSTPONED = 0.03
_WITHOUT_ODDS = 0.05
_GOAL = 0.03
_ODDS_MOVE = 0.03


class Match(msgspec.Struct, frozen=True):
    """The full state of one match.

    Attributes:
        id: season and number, such as ``2026-017``.
        matchday: 1 to 38.
        kickoff: by the league's own calendar, UTC.
        home: place of the home club in CLUBS.
        away: place of the away club in CLUBS.
        status: where the match stands.
        home_score: None until kick-off.
        away_score: None until kick-off.
        odds_home: decimal odds with two places, None where no bookmaker offers any.
    """

    id: str
    matchday: int
    kickoff: datetime
    home: int
    away: int
    status: Status = "scheduled"
    home_score: int | None = None
    away_score: int | None = None
    odds_home: Decimal | None = None


def story(seed: int) -> Iterator[Match]:
    """Give the states of all matches in order, without end.

    The first OPENING states are a season's fixtures. Then matchday follows matchday, and for each one that is
    played the next one of the calendar is announced: there is always a season of fixtures ahead.
    """
    chance = random.Random(seed)
    calendar = _calendar(chance)
    ahead = deque(islice(calendar, MATCHDAYS))
    for fixtures in ahead:
        yield from fixtures
    while True:
        yield from _play(ahead.popleft(), chance)
        ahead.append(next(calendar))
        yield from ahead[-1]


def _calendar(chance: random.Random) -> Iterator[list[Match]]:
    """Give the fixtures of one matchday after another, season after season."""
    for year in count(_FIRST_YEAR):
        clubs = chance.sample(range(len(CLUBS)), len(CLUBS))
        august = datetime(year, 8, 1, tzinfo=UTC)
        saturday = august + timedelta(days=(5 - august.weekday()) % 7)
        number = count(1)
        for matchday in range(MATCHDAYS):
            day = saturday + timedelta(weeks=matchday)
            yield [
                Match(
                    id=f"{year}-{next(number):03d}",
                    matchday=matchday + 1,
                    kickoff=day + chance.choice(_KICKOFFS),
                    home=home,
                    away=away,
                    odds_home=None if chance.random() < _WITHOUT_ODDS else _odds(chance.randint(105, 990)),
                )
                for home, away in _pairs(clubs, matchday)
            ]


def _pairs(clubs: list[int], matchday: int) -> list[tuple[int, int]]:
    """Pair the clubs by the circle method: one stays, the others move round; at half season they swap grounds."""
    turn = matchday % (len(clubs) - 1)
    ring = [clubs[0], *clubs[1 + turn :], *clubs[1 : 1 + turn]]
    pairs = list(zip(ring[: len(ring) // 2], reversed(ring), strict=False))
    swap = (matchday >= len(clubs) - 1) != bool(turn % 2)
    return [(away, home) for home, away in pairs] if swap else pairs


def _play(fixtures: list[Match], chance: random.Random) -> list[Match]:
    """Play a matchday: the states of its matches in the order of the league's clock."""
    moments = [moment for match in fixtures for moment in _course(match, chance)]
    moments.sort(key=lambda moment: moment[:2])
    return [match for _, _, match in moments]


def _course(match: Match, chance: random.Random) -> list[Moment]:
    """Play one match: kick-off, goals, moving odds, the final whistle; or nothing but its postponement."""
    if chance.random() < _POSTPONED:
        return [(match.kickoff, match.id, msgspec.structs.replace(match, status="postponed"))]
    home, away, odds = 0, 0, match.odds_home
    moments: list[Moment] = []
    for minute in range(_FULL_TIME + 1):
        luck = chance.random()
        if 0 < minute < _FULL_TIME and luck < _GOAL:
            home, away = (home + 1, away) if chance.random() < 0.55 else (home, away + 1)
        elif 0 < minute < _FULL_TIME and luck < _GOAL + _ODDS_MOVE and odds is not None:
            odds = _moved(odds, chance.choice((-30, -5, 5, 30)))
        elif 0 < minute < _FULL_TIME:
            continue
        state = msgspec.structs.replace(
            match,
            status="finished" if minute == _FULL_TIME else "live",
            home_score=home,
            away_score=away,
            odds_home=odds,
        )
        moments.append((match.kickoff + timedelta(minutes=minute), match.id, state))
    return moments


def _moved(odds: Decimal, by: int) -> Decimal:
    """Move odds by so many hundredths; upwards where they would fall below the least there are, 1.01."""
    hundredths = int(odds * 100)
    return _odds(hundredths + (by if hundredths + by >= 101 else abs(by)))


def _odds(hundredths: int) -> Decimal:
    """Give odds with exactly two places: 210 is 2.10, not 2.1."""
    return Decimal(hundredths).scaleb(-2)
