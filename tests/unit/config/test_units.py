from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from service.config.units import Breaker, Duration, Pace, Rate, Size


@pytest.mark.parametrize(
    ("unit", "text", "value"),
    [
        (Duration, "250ms", 0.25),
        (Duration, "30s", 30.0),
        (Duration, "1.5m", 90.0),
        (Duration, "2 h", 7200.0),
        (Duration, "7d", 604_800.0),
        (Size, "64KiB", 65_536),
        (Size, "1.5 GiB", 3 << 29),
        (Size, "2MB", 2_000_000),
        (Size, 512, 512),
        (Rate, "10/s", Pace(10, 1)),
        (Rate, "600 / min", Pace(600, 60)),
        (Rate, "5000/h", Pace(5000, 3600)),
    ],
)
def test_quantities_are_read_as_people_write_them(unit: Any, text: object, value: object) -> None:
    assert TypeAdapter(unit).validate_python(text) == value


@pytest.mark.parametrize("text", ["30", 30, "s", "-1s", "1w", "9" * 400 + "s", None, True, []])
@pytest.mark.parametrize("unit", [Duration, Rate])
def test_what_has_no_unit_is_refused(unit: Any, text: object) -> None:
    with pytest.raises(ValidationError, match="write a number"):
        TypeAdapter(unit).validate_python(text)


@pytest.mark.parametrize("text", ["1XB", "-1", -1, True, 1.5, "9" * 400 + "GiB", None])
def test_what_is_no_size_is_refused(text: object) -> None:
    with pytest.raises(ValidationError, match="is not a size"):
        TypeAdapter(Size).validate_python(text)


def test_nothing_per_second_is_no_rate() -> None:
    with pytest.raises(ValidationError, match="is not a rate"):
        TypeAdapter(Rate).validate_python("0/s")


@pytest.mark.parametrize(("text", "value"), [(1000, 1000), ("100", 100), ("off", 0)])
def test_a_breaker_takes_a_number_of_records_or_is_off(text: object, value: int) -> None:
    assert TypeAdapter(Breaker).validate_python(text) == value


@pytest.mark.parametrize("text", [99, "99", -1, True, False, None, "on", 100.5, "1e3"])
def test_a_breaker_of_few_records_or_of_none_is_refused(text: object) -> None:
    with pytest.raises(ValidationError, match="is neither a number of records, at least 100, nor off"):
        TypeAdapter(Breaker).validate_python(text)
