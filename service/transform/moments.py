"""Exact conversions to timestamps, dates and times of day; None stands for blank text."""

import re
from datetime import UTC, date, datetime, time, timedelta
from decimal import Context, Decimal
from typing import Any
from zoneinfo import ZoneInfo

from service.transform.numbers import decimal
from service.transform.violations import Violation

EPOCHS = {"epoch_s": 6, "epoch_ms": 3, "epoch_us": 0, "epoch_ns": -3}
"""The formats that count from 1970, and the power of ten that makes microseconds of them."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ISO = re.compile(
    r"(\d{4}-?\d\d-?\d\d|\d{4}-?W\d\d(-?\d)?)"
    r"(.\d\d(:?\d\d(:?\d\d([.,]\d+)?)?)?([Zz]|[+-]\d\d(:?\d\d(:?\d\d([.,]\d+)?)?)?)?)?",
    re.ASCII | re.DOTALL,
)
"""What fromisoformat reads as ISO 8601 has it; it also takes half an hour for half a second, and loses digits."""
_FRACTION = re.compile(r"[.,]\d{6}(\d+)", re.ASCII)
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?", re.ASCII)
_exact = Context(prec=20_000)
"""Wide enough for every number that numeric holds and that is near an epoch."""


def timestamp(value: Any, formats: tuple[str, ...], zone: ZoneInfo | None) -> datetime | None:
    """Give a moment in UTC by the first format that fits.

    Args:
        value: text, a number for the epoch formats, or a datetime.
        formats: iso8601, epoch_s, epoch_ms, epoch_us, epoch_ns or strptime patterns.
        zone: the zone of a time that is written without one.
    """
    if isinstance(value, datetime):
        return _universal(value, value, zone)
    text = value.strip() if isinstance(value, str) else None
    if text == "":
        return None
    for pattern in formats:
        if pattern in EPOCHS:
            if text is None or _NUMBER.fullmatch(text):
                return _counted(value, EPOCHS[pattern])
        elif text is not None and (moment := _parsed(value, text, pattern)) is not None:
            return _universal(value, moment, zone)
    raise _unreadable(value, "timestamp", formats)


def day(value: Any, formats: tuple[str, ...]) -> date | None:
    """Give a calendar day by the first format that fits; an epoch must be midnight UTC."""
    if type(value) is date:
        return value
    if isinstance(value, str) and not value.strip():
        return None
    for pattern in formats:
        if pattern in EPOCHS:
            moment = timestamp(value, (pattern,), None)
            if moment is not None and moment.time() == time():
                return moment.date()
        elif isinstance(value, str) and (found := _day(value.strip(), pattern)) is not None:
            return found
    raise _unreadable(value, "date", formats)


def clock(value: Any, formats: tuple[str, ...]) -> time | None:
    """Give a time of day, without a zone, by the first format that fits."""
    if isinstance(value, time) and value.tzinfo is None:
        return value
    if not isinstance(value, str):
        raise _unreadable(value, "time", formats)
    text = value.strip()
    if not text:
        return None
    for pattern in formats:
        moment = _parsed(value, f"1970-01-01T{text.removeprefix('T')}" if pattern == "iso8601" else text, pattern)
        if moment is not None and moment.tzinfo is None:
            return moment.time()
    raise _unreadable(value, "time", formats)


def _day(text: str, pattern: str) -> date | None:
    try:
        if pattern == "iso8601":
            return date.fromisoformat(text)
        return datetime.strptime(text, pattern).date()  # noqa: DTZ007  a day has no zone
    except ValueError:
        return None


def _parsed(value: Any, text: str, pattern: str) -> datetime | None:
    try:
        if pattern != "iso8601":
            return datetime.strptime(text, pattern)  # noqa: DTZ007  _universal sees to the zone
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    if _ISO.fullmatch(text) is None:
        return None
    finer = _FRACTION.search(text)  # fromisoformat cuts these digits off without a word
    if finer is not None and finer[1].strip("0"):
        raise Violation(value, "precision", "is finer than a microsecond, the finest stored", "make the column text")
    return moment


def _counted(value: Any, power: int) -> datetime:
    number = decimal(value) or Decimal(0)
    if number.adjusted() > 20:
        raise _outside(value)
    micros = _exact.scaleb(number, power)
    if micros != micros.to_integral_value():
        raise Violation(
            value, "precision", "is finer than a microsecond, the finest stored", "check the column's format"
        )
    try:
        return _EPOCH + timedelta(microseconds=int(micros))
    except OverflowError:
        raise _outside(value) from None


def _universal(value: Any, moment: datetime, zone: ZoneInfo | None) -> datetime:
    if moment.tzinfo is None:
        if zone is None:
            raise Violation(value, "zone", "has no time zone", "set `timezone` on the column, such as Europe/London")
        moment = _local(value, moment, zone)
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise _outside(value) from None


def _local(value: Any, moment: datetime, zone: ZoneInfo) -> datetime:
    """Place a local time; where clocks change, the two sides of the fold differ (PEP 495)."""
    early, late = moment.replace(tzinfo=zone, fold=0), moment.replace(tzinfo=zone, fold=1)
    try:
        before, after = early.utcoffset(), late.utcoffset()
    except OverflowError:
        raise _outside(value) from None
    if before is not None and after is not None and before != after:
        fault = "happens twice" if before > after else "does not exist"
        raise Violation(value, "zone", f"{fault} in {zone.key}, where clocks change", "ask the provider for UTC")
    return early


def _outside(value: Any) -> Violation:
    return Violation(value, "range", "is outside the years 1 to 9999", "check the column's format")


def _unreadable(value: Any, rule: str, formats: tuple[str, ...]) -> Violation:
    return Violation(value, rule, f"is not a {rule} written as {' or '.join(formats)}", "set `format` on the column")
