from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.transform.moments import clock, day, timestamp
from service.transform.violations import Violation
from tests.unit.transform.making import settle

ISO = ("iso8601",)
LONDON = ZoneInfo("Europe/London")
NOON = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)


def fault(value: Any, formats: tuple[str, ...] = ISO, zone: ZoneInfo | None = None) -> Violation:
    with pytest.raises(Violation) as caught:
        timestamp(value, formats, zone)
    return caught.value


@pytest.mark.parametrize(
    ("value", "formats", "zone"),
    [
        ("2026-01-02T12:00:00Z", ISO, None),
        (" 2026-01-02 13:00:00+01:00 ", ISO, None),
        ("20260102T120000Z", ISO, None),
        ("2026-01-02T12:00:00", ISO, LONDON),
        ("2026-01-02T12:00:00.000000000Z", ISO, None),
        (1767355200, ("epoch_s",), None),
        ("1767355200", ("epoch_s",), None),
        (Decimal("1767355200.000"), ("epoch_s",), None),
        (1767355200_000, ("epoch_ms",), None),
        (1767355200_000_000, ("epoch_us",), None),
        (1767355200_000_000_000, ("epoch_ns",), None),
        ("02/01/2026 12:00", ("%d/%m/%Y %H:%M",), LONDON),
        ("02/01/2026 12:00 +0000", ("iso8601", "%d/%m/%Y %H:%M %z"), None),
        ("2026-01-02T12:00:00Z", ("epoch_ms", "iso8601"), None),
        (NOON, ISO, None),
    ],
)
def test_a_moment_is_read_by_the_first_format_that_fits(
    value: Any, formats: tuple[str, ...], zone: ZoneInfo | None
) -> None:
    assert timestamp(value, formats, zone) == NOON


def test_blank_text_is_null() -> None:
    assert timestamp(" ", ISO, None) is None
    assert day("", ISO) is None
    assert clock("", ISO) is None


@pytest.mark.parametrize(
    ("value", "formats", "zone", "rule", "said"),
    [
        ("2026-01-02T12:00:00", ISO, None, "zone", "has no time zone"),
        ("2026-10-25T01:30:00", ISO, LONDON, "zone", "happens twice in Europe/London"),
        ("2026-03-29T01:30:00", ISO, LONDON, "zone", "does not exist in Europe/London"),
        ("2026-01-02T12:00:00.1234567Z", ISO, None, "precision", "finer than a microsecond"),
        ("20260102T120000.1234567Z", ISO, None, "precision", "finer than a microsecond"),
        (1767355200_000_000_001, ("epoch_ns",), None, "precision", "finer than a microsecond"),
        (Decimal("0.0000001"), ("epoch_s",), None, "precision", "finer than a microsecond"),
        (Decimal("1e-16000"), ("epoch_s",), None, "precision", "finer than a microsecond"),
        (10**30, ("epoch_s",), None, "range", "outside the years 1 to 9999"),
        (253402300800, ("epoch_s",), None, "range", "outside the years 1 to 9999"),
        ("0001-01-01T00:00:00+01:00", ISO, None, "range", "outside the years 1 to 9999"),
        ("9999-12-31T23:59:59-01:00", ISO, None, "range", "outside the years 1 to 9999"),
        ("0000-01-01T00:00:00Z", ISO, None, "timestamp", "is not a timestamp written as iso8601"),
        ("10000-01-01T00:00:00Z", ISO, None, "timestamp", "is not a timestamp written as iso8601"),
        ("2026-02-30T00:00:00Z", ISO, None, "timestamp", "is not a timestamp written as iso8601"),
        (1767355200, ISO, None, "timestamp", "is not a timestamp written as iso8601"),
        ("soon", ("epoch_s", "iso8601"), None, "timestamp", "is not a timestamp written as epoch_s or iso8601"),
        (True, ("epoch_s",), None, "number", "is a boolean"),
        ({}, ISO, None, "timestamp", "is not a timestamp"),
    ],
)
def test_what_is_no_exact_moment_is_a_violation_that_says_why(
    value: Any, formats: tuple[str, ...], zone: ZoneInfo | None, rule: str, said: str
) -> None:
    violation = fault(value, formats, zone)
    assert violation.rule == rule
    assert said in violation.said


ZONES = st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(st.datetimes(timezones=ZONES))
def test_a_timestamp_is_stored_as_sent_or_refused(sent: datetime) -> None:
    try:
        stored = timestamp(sent.isoformat(), ISO, None)
    except Violation as violation:
        assert violation.rule == "range"  # noqa: PT017
        assert not 1 < sent.year < 9999
    else:
        assert stored == sent
        assert stored is not None
        assert stored.tzinfo is UTC


@given(st.integers(-(10**18), 10**18), st.sampled_from([("epoch_us", 0), ("epoch_ms", 3), ("epoch_s", 6)]))
def test_an_epoch_is_stored_to_the_microsecond_or_refused(micros: int, form: tuple[str, int]) -> None:
    name, places = form
    sent = Decimal(micros).scaleb(-places)
    try:
        stored = timestamp(sent, (name,), None)
    except Violation as violation:
        assert violation.rule == "range"  # noqa: PT017
    else:
        assert stored is not None
        assert (stored - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) == micros


@given(st.datetimes(datetime(1970, 1, 2), datetime(2037, 1, 1)))  # noqa: DTZ001  local times
def test_a_local_time_is_placed_only_where_it_happens_once(sent: datetime) -> None:
    possible = {
        moment
        for fold in (0, 1)
        if (moment := sent.replace(tzinfo=LONDON, fold=fold).astimezone(UTC))
        .astimezone(LONDON)
        .replace(tzinfo=None, fold=0)
        == sent.replace(fold=0)
    }
    try:
        assert {timestamp(sent.isoformat(), ISO, LONDON)} == possible
    except Violation:
        assert len(possible) != 1


def test_days_and_times_of_day_are_read_exactly() -> None:
    assert day(" 2026-01-02 ", ISO) == date(2026, 1, 2)
    assert day("02.01.2026", ("iso8601", "%d.%m.%Y")) == date(2026, 1, 2)
    assert day(1767312000, ("epoch_s",)) == date(2026, 1, 2)
    assert clock("18:30", ISO) == time(18, 30)
    assert clock("18:30:01.250000", ISO) == time(18, 30, 1, 250_000)
    assert clock("6:30 PM", ("%I:%M %p",)) == time(18, 30)


@pytest.mark.parametrize(
    ("convert", "value", "formats"),
    [
        (day, "2026-01-02T00:00:00Z", ISO),
        (day, 20260102, ISO),
        (day, 1767312001, ("epoch_s",)),
        (clock, "18:30+01:00", ISO),
        (clock, "24:30", ISO),
        (clock, "18:30:01.1234567", ISO),
        (clock, 1830, ISO),
    ],
)
def test_what_is_no_day_or_time_of_day_is_a_violation(convert: Any, value: Any, formats: tuple[str, ...]) -> None:
    with pytest.raises(Violation):
        convert(value, formats)


@pytest.mark.parametrize(
    "clock", ["12.5", "12:30.5", "1230.5", "20260102", "123", "12300", "1230051", "12:30:055", "12:30:05:5"]
)
@pytest.mark.parametrize("before", ["2026-01-02T", "20260102T"])
def test_a_time_that_is_read_only_by_changing_it_is_refused(before: str, clock: str) -> None:
    assert settle("timestamp", f"{before}{clock}Z") == "!c: timestamp"
    assert settle("time", clock) == "!c: time"


def test_a_fraction_of_a_minute_is_no_fraction_of_a_second_where_a_mark_follows() -> None:
    assert settle("timestamp", "2026-01-02T0304.123Z") == "!c: timestamp"


@pytest.mark.parametrize("text", ["2026-01-02T03:04:05.5Z", "20260102T030405,5+0000", "2026-W01-5 03:04:05.500-00:00"])
def test_the_forms_of_iso_8601_are_read(text: str) -> None:
    assert settle("timestamp", text) == datetime(2026, 1, 2, 3, 4, 5, 500_000, UTC)
