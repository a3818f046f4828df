"""The story is a league, and the same one for the same seed."""

from collections import Counter, defaultdict
from itertools import islice
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.demo.clubs import CLUBS
from service.demo.season import MATCHDAYS, OPENING, Match, story

_AFTER = {
    "scheduled": {"live", "postponed"},
    "live": {"live", "finished"},
    "finished": set[str](),
    "postponed": set[str](),
}


def _told(seed: int, states: int) -> list[Match]:
    return list(islice(story(seed), states))


def test_the_same_seed_tells_the_same_story() -> None:
    assert _told(7, 5000) == _told(7, 5000)


def test_another_seed_tells_another_story() -> None:
    assert _told(7, 500) != _told(8, 500)


def test_a_season_is_every_pair_of_clubs_once_at_each_ground() -> None:
    fixtures = _told(3, OPENING)

    pairs = Counter((match.home, match.away) for match in fixtures)

    assert set(pairs.values()) == {1}
    assert len(pairs) == len(CLUBS) * (len(CLUBS) - 1) == OPENING == 380
    assert len({match.id for match in fixtures}) == OPENING


@settings(max_examples=10, deadline=None)
@given(st.integers())
def test_each_club_plays_once_on_each_matchday(seed: int) -> None:
    clubs: dict[int, list[int]] = defaultdict(list)
    for match in _told(seed, OPENING):
        clubs[match.matchday] += [match.home, match.away]

    assert sorted(clubs) == list(range(1, MATCHDAYS + 1))
    assert all(sorted(playing) == list(range(len(CLUBS))) for playing in clubs.values())


@settings(max_examples=10, deadline=None)
@given(st.integers())
def test_matches_go_from_scheduled_to_live_to_finished_and_goals_only_add_up(seed: int) -> None:
    known: dict[str, Match] = {}
    for state in _told(seed, 3000):
        before = known.get(state.id)
        if before is None:
            assert state.status == "scheduled"
        else:
            assert state.status in _AFTER[before.status]
            assert state != before
            assert (state.home_score or 0) >= (before.home_score or 0)
            assert (state.away_score or 0) >= (before.away_score or 0)
        scores: set[Any] = {state.home_score, state.away_score}
        assert (None in scores) == (state.status in {"scheduled", "postponed"})
        assert state.odds_home is None or (state.odds_home >= 1 and state.odds_home.as_tuple().exponent == -2)
        known[state.id] = state


def test_the_story_goes_on_after_the_last_matchday_with_a_season_always_ahead() -> None:
    known: dict[str, Match] = {}
    for state in islice(story(1), 40_000):
        known[state.id] = state

    statuses = Counter(match.status for match in known.values())

    assert {match.kickoff.year for match in known.values()} >= {2026, 2027, 2028, 2029}
    assert OPENING - 10 <= statuses["scheduled"] <= OPENING
    assert statuses["postponed"] > 0
    assert statuses["live"] <= 10


@pytest.mark.parametrize("spelling", ["rest", "live"])
def test_some_names_of_each_feed_need_cleaning(spelling: str) -> None:
    assert sum(getattr(club, spelling) != club.name for club in CLUBS) >= 5
