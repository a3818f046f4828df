"""What silence is unusual is learned from the silences that there were."""

from hypothesis import given
from hypothesis import strategies as st

from service.pipeline.cadence import ENOUGH, LEAST, TIMES, Cadence


def test_nothing_is_said_before_enough_is_known() -> None:
    cadence = Cadence()
    for now in range(ENOUGH):
        cadence.note(now)
    assert cadence.freshness is None
    cadence.note(ENOUGH)
    assert cadence.freshness == LEAST


@given(st.lists(st.integers(0, 600), min_size=ENOUGH, max_size=80))
def test_no_silence_like_those_of_late_is_called_unusual(silences: list[int]) -> None:
    cadence, now = Cadence(), 0
    cadence.note(now)
    for silence in silences:
        now += silence
        cadence.note(now)
    assert cadence.freshness is not None
    assert cadence.freshness >= max(LEAST, *silences[-ENOUGH:])
    assert cadence.freshness <= max(LEAST, TIMES * max(silences))


def test_an_old_long_silence_is_forgotten() -> None:
    cadence, now = Cadence(), 0.0
    cadence.note(now)
    cadence.note(now := now + 3600)
    for _ in range(1000):
        cadence.note(now := now + 1)
    assert cadence.freshness == LEAST
