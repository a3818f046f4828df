from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.spans import Range, read_moment, steps

moments = st.integers(0, 2_000_000_000).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))


@given(moments, st.timedeltas(timedelta(0), timedelta(days=30)), st.floats(3600, 1e7) | st.none())
def test_steps_follow_each_other_and_fill_the_span(since: datetime, length: timedelta, seconds: float | None) -> None:
    found = list(steps(since, since + length, seconds))
    assert [start for start, _ in found] == [since, *(end for _, end in found)][: len(found)]
    assert all(start < end for start, end in found)
    assert sum((end - start for start, end in found), timedelta()) == length


@pytest.mark.parametrize(
    ("form", "written"),
    [
        ("iso", "2026-01-31T18:30:00Z"),
        ("date", "2026-01-31"),
        ("epoch_s", 1769884200),
        ("epoch_ms", 1769884200000),
        ("%d.%m.%Y", "31.01.2026"),
    ],
)
def test_moments_are_written_as_the_provider_wants_them(form: str, written: str | int) -> None:
    moment = datetime(2026, 1, 31, 18, 30, tzinfo=UTC)
    assert Range(since="from", until="to", format=form).params(moment, moment) == {"from": written, "to": written}
    assert Range(since="from", format=form).params(moment, moment) == {"from": written}


def test_a_moment_is_a_date_or_iso_8601() -> None:
    assert read_moment("2026-01-31") == datetime(2026, 1, 31, tzinfo=UTC)
    assert read_moment("2026-01-31T18:30:00+02:00") == datetime(2026, 1, 31, 16, 30, tzinfo=UTC)
    with pytest.raises(ValueError, match="'yesterday' is no moment"):
        read_moment("yesterday")
