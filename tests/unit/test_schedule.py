"""When the next poll is."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.schedule import Schedule

LONDON = ZoneInfo("Europe/London")


def at(text: str, zone: ZoneInfo = LONDON) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()


def cron(expression: str, zone: str | None, now: float) -> datetime:
    moment = Schedule(60, expression, zone, None).following(now, now, now)
    return datetime.fromtimestamp(moment, ZoneInfo(zone or "UTC"))


@pytest.mark.parametrize(
    ("expression", "now", "due"),
    [
        ("0 6 * * *", "2026-05-01T05:59:59", "2026-05-01T06:00:00"),
        ("0 6 * * *", "2026-05-01T06:00:00", "2026-05-02T06:00:00"),
        ("*/15 18-22 * * SAT", "2026-05-01T23:00:00", "2026-05-02T18:00:00"),
        # On 29 March 2026 01:30 does not exist in London: Debian's cron runs such a job right after the change.
        ("30 1 * * *", "2026-03-28T12:00:00", "2026-03-29T02:00:00"),
        # On 25 October 2026 it exists twice; it is run once.
        ("30 1 * * *", "2026-10-24T12:00:00", "2026-10-25T01:30:00"),
        ("30 1 * * *", "2026-10-25T01:30:00", "2026-10-26T01:30:00"),
    ],
)
def test_cron_goes_by_the_clock_of_its_zone(expression: str, now: str, due: str) -> None:
    assert cron(expression, "Europe/London", at(now)).replace(tzinfo=None) == datetime.fromisoformat(due)


def test_cron_without_a_zone_is_utc() -> None:
    assert cron("0 6 * * *", None, at("2026-07-01T00:00:00", ZoneInfo("UTC"))).hour == 6


@pytest.mark.parametrize(
    ("every", "now", "due"),
    [
        (900, "2026-05-01T10:07:00", "2026-05-01T10:15:00"),
        (900, "2026-05-01T10:15:00", "2026-05-01T10:30:00"),
        (86_400, "2026-05-01T10:07:00", "2026-05-02T00:00:00"),
        (7 * 3600, "2026-05-01T21:30:00", "2026-05-02T00:00:00"),
        (3600, "2026-03-29T00:30:00", "2026-03-29T02:00:00"),
        (21_600, "2026-03-29T00:30:00", "2026-03-29T06:00:00"),
        (21_600, "2026-10-25T07:00:00", "2026-10-25T12:00:00"),
        (86_400, "2026-03-29T12:00:00", "2026-03-30T00:00:00"),
        (86_400, "2026-10-25T12:00:00", "2026-10-26T00:00:00"),
    ],
)
def test_an_interval_with_a_zone_lies_on_its_clock(every: float, now: str, due: str) -> None:
    moment = Schedule(every, None, "Europe/London", None).following(0, 0, at(now))
    assert datetime.fromtimestamp(moment, LONDON).replace(tzinfo=None) == datetime.fromisoformat(due)


@given(
    st.datetimes(datetime(2000, 1, 1), datetime(2037, 1, 1)),  # noqa: DTZ001  the zone comes with it
    st.sampled_from(["UTC", "Europe/London", "America/St_Johns", "Australia/Lord_Howe", "Asia/Kathmandu"]),
    st.floats(1, 86_400),
)
def test_an_aligned_poll_lies_ahead_and_no_further_than_the_interval(now: datetime, zone: str, every: float) -> None:
    moment = now.replace(tzinfo=UTC).timestamp()
    due = Schedule(every, None, zone, None).following(0, 0, moment)
    assert moment < due + 1e-6
    assert due <= moment + every + (1e-3 if every < 3600 else 3600)


def test_an_interval_is_counted_from_when_the_poll_was_due() -> None:
    schedule = Schedule(60, None, None, None)
    assert schedule.following(due=100, started=103, now=110) == 160
    assert schedule.following(due=100, started=103, now=500) == 500
    assert schedule.following(due=100, started=50, now=51) == 110


@given(st.floats(0, 1e6), st.none() | st.floats(0, 1000))
def test_a_poll_is_late_by_its_jitter_and_never_early(wait: float, jitter: float | None) -> None:
    late = Schedule(60, None, None, jitter).late(1000 + wait, 1000) - (1000 + wait)
    most = jitter if jitter is not None else min(wait * 0.05, 60)
    assert -1e-6 <= late <= most + 1e-6


def test_a_fleet_does_not_poll_in_step() -> None:
    schedule = Schedule(60, "0 * * * *", None, None)
    moments = {round(schedule.late(4600, 1000)) for _ in range(200)}
    assert len(moments) > 20
    assert max(moments) - min(moments) <= timedelta(minutes=1).total_seconds()
