"""Exact conversions to whole numbers, decimals, doubles and booleans; None stands for blank text."""

import math
from decimal import Clamped, Context, Decimal, DecimalException, Inexact, InvalidOperation, Overflow, Rounded
from typing import Any

from service.transform.violations import Violation, kind_of

BIGINT = 2**63
DENSE = 2**53
"""Up to it every whole number is a double (IEEE 754, 3.3)."""
_WHOLE, _FRACTION = 131_072, 16_383
"""Digits that numeric holds before and after the point (PostgreSQL documentation, 8.1.2)."""

storable = Context(
    prec=_FRACTION + 1, Emin=0, Emax=_WHOLE - 1, traps=[Clamped, Inexact, InvalidOperation, Overflow, Rounded]
).plus
"""Raises DecimalException for all that numeric cannot hold, and for some of unusual length that it can."""

_BOOLEANS = {
    **dict.fromkeys(("true", "t", "yes", "y", "on", "1"), True),
    **dict.fromkeys(("false", "f", "no", "n", "off", "0"), False),
}
_NOT_FINITE = frozenset({"nan", "inf", "+inf", "-inf", "infinity", "+infinity", "-infinity"})


def decimal(value: Any) -> Decimal | None:
    """Give a number with its exact digits, within the limits of numeric."""
    number = _number(value)
    if number is None:
        return None
    if not number.is_finite():
        raise Violation(value, "decimal", "is not a finite number", "correct the provider, or make the column float")
    if not number:
        return number if -_FRACTION <= _exponent(number) < _WHOLE else Decimal(0)
    if number.adjusted() >= _WHOLE or _exponent(number) < -_FRACTION:
        raise Violation(value, "decimal", "has more digits than Postgres can store", "make the column text")
    return number


def integer(value: Any) -> int | None:
    """Give a whole number within bigint; text and decimals only when they are whole."""
    whole: Decimal | int | None = value if type(value) is int else _number(value)
    if whole is None:
        return None
    if isinstance(whole, Decimal):
        if not whole.is_finite() or (whole and whole.adjusted() < 0):
            raise _fractional(value)
        if whole and whole.adjusted() > 20:
            raise _beyond(value)
        if whole != whole.to_integral_value():
            raise _fractional(value)
        whole = int(whole) if whole else 0
    if not -BIGINT <= whole < BIGINT:
        raise _beyond(value)
    return whole


def floating(value: Any) -> float | None:
    """Give the nearest double; a finite number never becomes infinite, nor a small one zero, nor a whole one another.

    From 2**53 on doubles are whole and have gaps: a number there must be one, or be as one prints.
    """
    if isinstance(value, float):
        return value
    if isinstance(value, str) and value.strip().lower() in _NOT_FINITE:
        return float(value)
    number = _number(value)
    if number is None:
        return None
    result = float(number)
    if not math.isfinite(result) or (result == 0.0 and number):
        raise Violation(value, "float", "is outside the range of double precision", "make the column decimal")
    if abs(result) >= DENSE and result != number and Decimal(repr(result)) != number:
        raise Violation(value, "float", "has more digits than double precision", "make the column decimal")
    return result


def boolean(value: Any) -> bool | None:
    """Give true or false, also from 0, 1 and the words that Postgres takes (PostgreSQL documentation, 8.6)."""
    if isinstance(value, bool):
        return value
    word = value.strip().lower() if isinstance(value, str) else str(value) if isinstance(value, int) else "?"
    if not word:
        return None
    if word in _BOOLEANS:
        return _BOOLEANS[word]
    raise Violation(value, "boolean", "is neither true nor false", "map its words with `values`")


def finer_than(number: Decimal, scale: int) -> bool:
    """Say whether a finite decimal has digits further after the point than so many, other than zeros at the end."""
    surplus = -scale - _exponent(number)
    return surplus > 0 and any(number.as_tuple().digits[-surplus:])


def _number(value: Any) -> Decimal | None:
    if isinstance(value, Decimal):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise Violation(value, "number", f"is {kind_of(value)}, not a number", "map a field that holds a number")
    text = value.strip() if isinstance(value, str) else repr(value) if isinstance(value, float) else value
    if text == "":
        return None
    try:
        if isinstance(text, str) and ("_" in text or not text.isascii()):  # Python's own liberties
            raise InvalidOperation
        return Decimal(text)
    except DecimalException:
        raise Violation(value, "number", "is not a number", "correct the provider, or map another field") from None


def _exponent(number: Decimal) -> int:
    exponent = number.as_tuple().exponent
    return exponent if isinstance(exponent, int) else 0


def _fractional(value: Any) -> Violation:
    return Violation(value, "integer", "is not a whole number", "make the column decimal, or correct the provider")


def _beyond(value: Any) -> Violation:
    return Violation(value, "integer", "does not fit bigint (64 bits)", "make the column decimal or text")
