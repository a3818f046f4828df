"""Whether the values that config.yaml itself holds (constants, bounds, defaults) fit their column."""

import base64
import math
from collections.abc import Callable
from datetime import date, datetime, time
from decimal import Decimal, InvalidOperation
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec

from service.config.tables import Column

COMPARABLE = {"integer", "float", "decimal", "timestamp", "date", "time", "text"}
"""The types that take `min` and `max`."""

_WORDS = {"true", "t", "yes", "y", "1", "on", "false", "f", "no", "n", "0", "off"}
_BIGINT = 2**63
_SHAPES = {
    "text": "text",
    "integer": "a whole number of 64 bits",
    "float": "a number",
    "decimal": "a number",
    "boolean": "true or false",
    "timestamp": "a timestamp such as 2026-01-01T00:00:00Z (with a zone, unless `timezone` is set)",
    "date": "a date such as 2026-01-31",
    "time": "a time of day such as 18:30:00",
    "uuid": "a UUID",
    "json": "JSON",
    "bytes": "base64 text",
}


def typed(column: Column, value: Any) -> Any:
    """Give one value (an item, for a list) in a form that compares as its column does.

    Raises:
        ValueError: it does not fit the column's type; the message completes "... must be".
    """
    try:
        return _timestamp(value, column.timezone) if column.type == "timestamp" else _PARSERS[column.type](value)
    except (ValueError, TypeError, ArithmeticError, AttributeError, RecursionError, OSError):
        raise ValueError(_SHAPES[column.type]) from None


def misfit(column: Column, value: Any) -> str | None:
    """Say why a value may not stand in the column, or None when it may.

    Bounds that are wrong themselves are not used.
    """
    if column.list:
        if not isinstance(value, list):
            return f"must be a list, each item {_SHAPES[column.type]}"
        return next((reason for item in value if (reason := _misfit(column, item)) is not None), None)
    return _misfit(column, value)


def _misfit(column: Column, value: Any) -> str | None:
    try:
        found = typed(column, value)
    except ValueError as error:
        return f"must be {error}"
    if column.list:
        return None
    if column.values is not None and found not in _bounds(column, *column.values):
        return f"must be one of the column's values: {', '.join(map(str, column.values))}"
    for low in _bounds(column, column.min):
        if found < low:
            return f"is less than the column's minimum {column.min}"
    for high in _bounds(column, column.max):
        if found > high:
            return f"is more than the column's maximum {column.max}"
    return None


def _bounds(column: Column, *bounds: Any) -> list[Any]:
    """Give those of the bounds that fit the type."""
    found = []
    for bound in bounds if column.type in COMPARABLE | {"boolean", "uuid", "bytes"} else ():
        try:
            found += [typed(column, bound)] if bound is not None else []
        except ValueError:
            continue
    return found


def _text(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int) or "\0" in str(value):
        raise ValueError
    return str(value).strip()


def _number(value: Any) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise TypeError
    try:
        number = Decimal(repr(value) if isinstance(value, float) else value)
    except InvalidOperation:
        raise ValueError from None
    if not number.is_finite() or not -16_000 < number.adjusted() < 131_000:
        raise ValueError
    return number


def _integer(value: Any) -> int:
    number = _number(value)
    if number.adjusted() > 30 or number != number.to_integral_value() or not -_BIGINT <= number < _BIGINT:
        raise ValueError
    return int(number)


def _float(value: Any) -> float:
    number = float(value if isinstance(value, float) else _number(value))
    if math.isnan(number):  # compares with nothing
        raise ValueError
    return number


def _boolean(value: Any) -> bool:
    word = str(value).strip().lower()
    if word not in _WORDS:
        raise ValueError
    return word in {"true", "t", "yes", "y", "1", "on"}


def _timestamp(value: Any, zone: str | None) -> datetime:
    moment = datetime.fromisoformat(value.strip())
    if moment.tzinfo is None:
        if zone is None:
            raise ValueError
        moment = moment.replace(tzinfo=ZoneInfo(zone))
    return moment


_PARSERS: dict[str, Callable[[Any], Any]] = {
    "text": _text,
    "integer": _integer,
    "float": _float,
    "decimal": _number,
    "boolean": _boolean,
    "date": lambda value: date.fromisoformat(value.strip()),
    "time": lambda value: time.fromisoformat(value.strip()),
    "uuid": lambda value: UUID(value.strip()),
    "bytes": lambda value: base64.b64decode(value, validate=True),
    "json": msgspec.json.encode,
}
