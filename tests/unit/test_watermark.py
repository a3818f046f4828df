"""Watermarks: order and reach of incremental values."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.watermark import newest, reach_back


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], None),
        ([None, True, [], {}, ""], None),
        ([9, 10], 10),
        (["9", "10"], "10"),
        ([Decimal("1.5"), 1], "1.5"),
        (["2026-01-01T10:00:00+02:00", "2026-01-01T09:00:00Z"], "2026-01-01T09:00:00Z"),
        (["2026-01-01T10:00:00", "2026-01-01T09:00:00.999"], "2026-01-01T10:00:00"),
        (["abc", "abd"], "abd"),
        (["NaN", "Infinity"], "NaN"),
        (["2026-01-01", "n/a", "2026-01-02"], "2026-01-02"),
        (["2026-01-01", "n/a"], "2026-01-01"),
        ([7, "unknown"], 7),
        (["01ab", "0123", "02cd"], "02cd"),
    ],
)
def test_the_newest_is_found_by_meaning(values: list[Any], expected: object) -> None:
    assert newest(values) == expected


@pytest.mark.parametrize(
    ("mark", "seconds", "expected"),
    [
        ("2026-01-01T00:00:00Z", 300, "2025-12-31T23:55:00Z"),
        ("2026-01-01T00:00:00.250Z", 1, "2025-12-31T23:59:59.250Z"),
        ("2026-01-01T00:00:00.123456+02:00", 1, "2025-12-31T23:59:59.123456+02:00"),
        ("2026-01-01 00:00:00", 60, "2025-12-31 23:59:00"),
        ("2026-01-01", 300, "2025-12-31"),
        (1_767_225_600, 300, 1_767_225_300),
        (1_767_225_600_000, 300, 1_767_225_300_000),
        ("1767225600", 300, "1767225300"),
        ("1767225600.5", 300, "1767225300.5"),
        (1_767_225_600_000_000_000, 1, 1_767_225_599_000_000_000),
        ("abc", 300, "abc"),
        ("0001-01-01T00:00:00Z", 300, "0001-01-01T00:00:00Z"),
        ("2026-01-01T00:00:00Z", 0, "2026-01-01T00:00:00Z"),
    ],
)
def test_reaching_back_keeps_the_form(mark: str | int, seconds: float, expected: str | int) -> None:
    assert reach_back(mark, seconds) == expected


@given(st.datetimes(min_value=datetime(1970, 1, 2)), st.integers(0, 3600))  # noqa: DTZ001  hypothesis wants it bare
def test_reaching_back_goes_back_by_so_much(moment: datetime, seconds: int) -> None:
    text = moment.replace(tzinfo=UTC).isoformat()
    back = datetime.fromisoformat(str(reach_back(text, seconds)))
    assert back == moment.replace(tzinfo=UTC) - timedelta(seconds=seconds)


@given(st.lists(st.one_of(st.text(max_size=12), st.integers(), st.decimals(), st.none()), max_size=8))
def test_any_values_have_an_order(values: list[Any]) -> None:
    found = newest(values)
    assert found is None or newest([found, *values]) == found
