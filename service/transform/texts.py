"""Exact conversions to text, UUIDs, JSON text and bytes, and the cleaning of text."""

import binascii
import re
import unicodedata
from base64 import b64decode
from collections.abc import Callable
from datetime import date, time
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec

from service.transform.numbers import decimal
from service.transform.violations import Violation, kind_of

_UUID = re.compile(r"[0-9a-fA-F]{8}(-?)[0-9a-fA-F]{4}\1[0-9a-fA-F]{4}\1[0-9a-fA-F]{4}\1[0-9a-fA-F]{12}")
_TAG = re.compile(r"<[!/?]?[A-Za-z-][^<>]*>")
_SPACE = re.compile(r"\s+")
_NO_DIGIT = re.compile(r"\D+")
_EXPONENT = re.compile(r"[0-9]E[+-][0-9]{4}")
_LONG = 10_000
_DIGITS = 4_000
"""Digits that a number may have as text; also about what Python writes of an int."""
_encode = msgspec.json.Encoder(decimal_format="number").encode

CLEANINGS: dict[str, Callable[[str], str]] = {
    "trim": str.strip,
    "collapse": lambda value: _SPACE.sub(" ", value),
    "lower": str.lower,
    "upper": str.upper,
    "title": str.title,
    "nfc": lambda value: unicodedata.normalize("NFC", value),
    "strip_tags": lambda value: _TAG.sub("", value),
    "digits": lambda value: _NO_DIGIT.sub("", value),
}
"""What each word of `clean` does."""


def text(value: Any) -> str:
    """Give text; a number keeps its digits."""
    if isinstance(value, str):
        result = value
    elif isinstance(value, date | time):
        result = value.isoformat()
    elif isinstance(value, UUID):
        result = str(value)
    elif isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise Violation(
            value, "text", f"is {kind_of(value)}, not text", "map a field inside it, or make the column json"
        )
    else:
        result = _digits(value)
    if "\0" in result:
        raise _nul(value)
    if not result.isascii():
        try:
            result.encode()
        except UnicodeEncodeError:
            raise Violation(value, "text", "has half a surrogate pair", "correct the provider's encoding") from None
    return result


def _digits(value: float | Decimal) -> str:
    """Write a number as it was sent; one with an exponent is written out."""
    if isinstance(value, Decimal) and value.is_finite():
        exponent = value.as_tuple().exponent
        if max(abs(value.adjusted()), abs(exponent if isinstance(exponent, int) else 0)) > _DIGITS:
            raise Violation(value, "text", "is too long a number to be written out", "make the column decimal")
        return format(value, "f")
    try:
        return str(value)
    except ValueError:
        raise Violation(0, "text", "is too long a number to be written out", "make the column decimal") from None


def uuid(value: Any) -> UUID | None:
    """Give a UUID from its 32 hexadecimal digits, with or without hyphens (RFC 9562, 4)."""
    if isinstance(value, UUID):
        return value
    stripped = value.strip() if isinstance(value, str) else "?"
    if not stripped:
        return None
    if _UUID.fullmatch(stripped) is None:
        raise Violation(value, "uuid", "is not a UUID", "make the column text, or correct the provider")
    return UUID(stripped)


def octets(value: Any) -> bytes | None:
    """Give bytes from base64 text (RFC 4648, 4)."""
    if isinstance(value, bytes):
        return value
    stripped = value.strip() if isinstance(value, str) else "?"
    if not stripped:
        return None
    try:
        return b64decode(stripped, validate=True)
    except (binascii.Error, ValueError):
        raise Violation(value, "bytes", "is not base64", "make the column text, or correct the provider") from None


def json(value: Any) -> str:
    """Give the JSON text of any value, with the digits of its numbers, as jsonb can hold it."""
    try:
        result = _encode(value).decode()
    except (ValueError, TypeError, RecursionError) as error:
        raise Violation(None, "json", f"cannot be written as JSON ({error})", "map a part of it") from None
    odd = "\\u0000" in result or "NaN" in result or "Infinity" in result
    if odd or len(result) > _LONG or _EXPONENT.search(result) is not None:
        _check(value)
    return result


def _check(value: Any) -> None:
    """Refuse what jsonb cannot hold: NUL in a text, a number beyond numeric (PostgreSQL documentation, 8.14)."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, str) and "\0" in item:
            raise _nul(item)
        if isinstance(item, Decimal):
            decimal(item)
        elif isinstance(item, dict):
            waiting += item.keys()
            waiting += item.values()
        elif isinstance(item, list):
            waiting += item


def _nul(value: Any) -> Violation:
    return Violation(value, "nul", "has a NUL character, which Postgres cannot store", "correct the provider")
