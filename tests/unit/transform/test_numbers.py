import math
from decimal import Decimal, DecimalException
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.transform.numbers import boolean, decimal, floating, integer, storable
from service.transform.violations import Violation


def rule(convert: Any, value: Any) -> str:
    with pytest.raises(Violation) as caught:
        convert(value)
    return caught.value.rule


def exponent(number: Decimal) -> int:
    return int(number.as_tuple().exponent)


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        (12, 12),
        ("12", 12),
        (" 12 ", 12),
        ("12.0", 12),
        (Decimal("1.2e1"), 12),
        (12.0, 12),
        ("-0", 0),
        (Decimal("0e-400000"), 0),
        (2**63 - 1, 2**63 - 1),
        (str(-(2**63)), -(2**63)),
        ("", None),
        (" ", None),
    ],
)
def test_a_whole_number_is_taken_in_any_exact_form(value: Any, stored: int | None) -> None:
    assert integer(value) == stored
    assert type(integer(value)) is type(stored)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("12.5", "integer"),
        (Decimal("0.5"), "integer"),
        (Decimal("1e-999999"), "integer"),
        (12.5, "integer"),
        (2**63, "integer"),
        (-(2**63) - 1, "integer"),
        (Decimal("1e999999999999"), "integer"),
        ("NaN", "integer"),
        ("Infinity", "integer"),
        (True, "number"),
        ("1_000", "number"),
        ("١٢", "number"),
        ("twelve", "number"),
        ([1], "number"),
        ({}, "number"),
    ],
)
def test_what_is_not_exactly_a_bigint_is_a_violation(value: Any, expected: str) -> None:
    assert rule(integer, value) == expected


@given(st.integers() | st.integers(-(2**64), 2**64))
def test_an_integer_is_stored_as_sent_or_refused(sent: int) -> None:
    for form in (sent, str(sent), Decimal(sent), f"{sent}.0"):
        try:
            assert integer(form) == sent
        except Violation:
            assert not -(2**63) <= sent < 2**63


@given(
    st.decimals(allow_nan=True, allow_infinity=True)
    | st.from_regex(r"-?[0-9]{1,40}(\.[0-9]{1,40})?(e-?[0-9]{1,7})?", fullmatch=True)
)
def test_a_decimal_is_stored_as_sent_or_refused(sent: Decimal | str) -> None:
    number = Decimal(sent)
    try:
        stored = decimal(sent)
    except Violation:
        assert not number.is_finite() or number.adjusted() >= 131_072 or exponent(number) < -16_383
    else:
        assert stored == number
        assert not number or str(stored) == str(number)


@pytest.mark.parametrize("value", ["NaN", "Infinity", "1e131072", "1e-16384", "1." + "0" * 16384, Decimal("sNaN")])
def test_what_numeric_cannot_hold_is_a_violation(value: Any) -> None:
    assert rule(decimal, value) == "decimal"


@pytest.mark.parametrize("value", ["9e131071", "1e-16383", "1." + "0" * 16383, "9" * 131_072])
def test_the_limits_of_numeric_are_reached(value: str) -> None:
    assert decimal(value) == Decimal(value)


@given(
    st.decimals(allow_nan=False, allow_infinity=False, places=3)
    | st.builds(Decimal, st.from_regex(r"-?[0-9]{1,30}e-?[0-9]{1,6}", fullmatch=True))
)
def test_what_is_surely_storable_needs_no_conversion(number: Decimal) -> None:
    try:
        storable(number)
    except DecimalException:
        return
    assert decimal(number) == number


@pytest.mark.parametrize(
    "value",
    [
        2**53 + 1,
        -(2**53) - 1,
        "9007199254740993",
        Decimal("9007199254740993.0"),
        Decimal("9007199254740992.5"),
        2**64 - 1,
    ],
)
def test_a_number_that_no_double_gives_back_is_refused_where_doubles_are_whole(value: Any) -> None:
    assert rule(floating, value) == "float"


@pytest.mark.parametrize(
    "value",
    [2**53, 2**53 + 2, 2**60, Decimal(1152921504606847000), 10**22, Decimal("1e23"), "1.7976931348623157e308"],
)
def test_a_large_number_is_taken_that_is_a_double_or_written_as_one_is(value: Any) -> None:
    assert floating(value) == float(value)


def test_a_fraction_becomes_the_nearest_double() -> None:
    assert floating(Decimal("3.141592653589793238")) == math.pi


@given(st.floats(allow_nan=False))
def test_a_double_survives_as_text_and_as_decimal(sent: float) -> None:
    assert floating(sent) == floating(repr(sent)) == sent
    if math.isfinite(sent):
        assert floating(Decimal(sent)) == sent


@pytest.mark.parametrize("value", [Decimal("1e309"), "-1e309", "1" * 400, "1e-400", Decimal("-1e-999999")])
def test_a_number_beyond_doubles_is_a_violation_not_infinity_or_zero(value: Any) -> None:
    assert rule(floating, value) == "float"


def test_a_double_may_be_said_to_be_infinite_or_not_a_number() -> None:
    assert floating("-Infinity") == -math.inf
    assert math.isnan(floating("NaN") or 0.0)
    assert floating("") is None


@pytest.mark.parametrize(
    ("value", "stored"), [(True, True), ("No", False), (1, True), (0, False), (" t ", True), ("", None)]
)
def test_booleans_are_words_too(value: Any, stored: bool | None) -> None:
    assert boolean(value) is stored


@pytest.mark.parametrize("value", [2, "maybe", Decimal(1), [], {}, "tru\u0435"])
def test_what_is_neither_true_nor_false_is_a_violation(value: Any) -> None:
    assert rule(boolean, value) == "boolean"
