"""The type of a column, guessed from all values of a field and proved by the conversions that will be used."""

import re
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any

import msgspec

from service.config.tables import Column, ColumnType
from service.infer.fields import SLIPS, Field, fits
from service.infer.names import identifies, tells_time

_NO_VALUE = frozenset({"na", "n/a", "nan", "null", "none", "nil", "-", "--", "?", "unknown"})
_DIGITS = re.compile(r"-?\d+", re.ASCII)
_DECIMAL = re.compile(r"-?\d+(\.\d+)?", re.ASCII)
_PADDED = re.compile(r"-?0\d", re.ASCII)
_EPOCHS = {"epoch_s": 10**9, "epoch_ms": 10**12, "epoch_us": 10**15, "epoch_ns": 10**18}
_SPAN = 4.1
"""Epochs from 2001 to the end of 2099, as multiples of those figures."""
_PATTERNS = (
    "%d/%m/%Y",
    "%m/%d/%Y",
    "%d.%m.%Y",
    "%d-%m-%Y",
    "%Y/%m/%d",
    "%d %b %Y",
    "%d %B %Y",
    "%b %d, %Y",
)
_CLOCKS = ("%H:%M", "%H:%M:%S", "%I:%M %p")
_ZONED = ("%a, %d %b %Y %H:%M:%S %z", "%d/%b/%Y:%H:%M:%S %z")
_FINE = 17
"""Significant digits from which a fraction is the print of a binary double, not a figure that somebody wrote."""
_FEW = 12


class Guess(msgspec.Struct):
    """What a column may be.

    Attributes:
        type: of the column.
        options: further options of the column, as config.yaml has them.
        note: why, where it is not plain.
    """

    type: ColumnType
    options: dict[str, Any] = {}
    note: str = ""

    @property
    def is_faithful(self) -> bool:
        """Whether each value of the sample is stored, none turned into null."""
        return "on_invalid" not in self.options


def guess(name: str, field: Field, *, textual: bool) -> Guess:
    """Guess the type of a field.

    Args:
        name: of the column, which may hint at a moment or an identifier.
        field: with all its values.
        textual: the format knows texts only, so that a text of digits is a number.
    """
    if field.nested:
        return _spoilt(Guess("json"), field, field.unfit)
    values = [value for _, value in field.values]
    if not values:
        return Guess("text", {}, "always null in the sample")
    found = _typed(name, values, textual=textual)
    if found is None:
        rest = [value for value in values if not (isinstance(value, str) and value.strip().lower() in _NO_VALUE)]
        found = _typed(name, rest, textual=textual) if 0 < len(rest) < len(values) else None
        if found is not None and found.type != "text":
            words = sorted(set(map(str, values)) - set(map(str, rest)))
            number = sum(field.values[kind, value] for kind, value in field.values if value not in rest)
            found.options = {**found.options, "null": True, "on_invalid": "null"}
            found.note = f"{', '.join(words)} ({number} times) becomes null"
            return found
    if found is None:
        found = _last_resort(values)
        unfit = sum(number for (_, value), number in field.values.items() if not _fits(found, [value]))
        return _spoilt(_enumerated(found, field), field, unfit)
    return _enumerated(found, field)


def _typed(name: str, values: Sequence[Any], *, textual: bool) -> Guess | None:
    if all(isinstance(value, bool) for value in values):
        return Guess("boolean")
    if all(isinstance(value, str) for value in values):
        return next((found for found in _of_texts(name, values, textual=textual) if _fits(found, values)), None)
    if all(isinstance(value, int | Decimal | float) and not isinstance(value, bool) for value in values):
        return next((found for found in _of_numbers(name, values) if _fits(found, values)), None)
    return None


def _of_numbers(name: str, values: Sequence[Any]) -> Iterator[Guess]:
    yield from _epochs(name, values)
    yield Guess("integer")
    if any(isinstance(value, Decimal) and len(value.normalize().as_tuple().digits) >= _FINE for value in values):
        yield Guess("float", {}, "as many digits as a double prints; decimal would keep each")
    yield Guess("decimal")


def _of_texts(name: str, values: Sequence[str], *, textual: bool) -> Iterator[Guess]:
    texts = [value.strip() for value in values]
    if {text.lower() for text in texts} <= {"true", "false"}:
        yield Guess("boolean")
    if all(len(text) in {32, 36} for text in texts):
        yield Guess("uuid")
    yield from _moments(texts)
    if all(_DIGITS.fullmatch(text) for text in texts):
        yield from _epochs(name, texts)
        if textual and not any(_PADDED.match(text) for text in texts):
            yield Guess("integer")
        elif not textual:
            yield Guess("text", {}, "digits, but written as text" if identifies(name) == 2 else "")
    elif all(_DECIMAL.fullmatch(text) and not _PADDED.match(text) for text in texts):
        yield Guess("decimal", {}, "" if textual else "a number written as text")
    yield from _patterns(texts)


def _moments(texts: Sequence[str]) -> Iterator[Guess]:
    if all(":" in text for text in texts):
        if all(len(text) <= 15 for text in texts):
            yield Guess("time")
        yield Guess("timestamp")
        yield Guess("timestamp", {"timezone": "UTC"}, "written without a zone: UTC is assumed")
    elif all("-" in text[1:] for text in texts):
        yield Guess("date")
        yield Guess("timestamp", {"timezone": "UTC"}, "written without a zone: UTC is assumed")


def _patterns(texts: Sequence[str]) -> Iterator[Guess]:
    if not any(character.isdigit() for character in texts[0]):
        return
    for pattern in _PATTERNS:
        other = {"%d/%m/%Y": " (or month first: every day is 12 or less)"}.get(pattern, "")
        ambiguous = other if other and _fits(Guess("date", {"format": "%m/%d/%Y"}), texts) else ""
        yield Guess("date", {"format": pattern}, f"written {pattern}{ambiguous}")
        for clock in _CLOCKS:
            zone = {"format": f"{pattern} {clock}", "timezone": "UTC"}
            yield Guess("timestamp", zone, "written without a zone: UTC is assumed")
    for pattern in _ZONED:
        yield Guess("timestamp", {"format": pattern})


def _epochs(name: str, values: Sequence[Any]) -> Iterator[Guess]:
    if not tells_time(name):
        return
    low, high = min(map(Decimal, values)), max(map(Decimal, values))
    for pattern, unit in _EPOCHS.items():
        if unit <= low and high < _SPAN * unit:
            yield Guess("timestamp", {"format": pattern}, f"{pattern[6:]} since 1970, by its range")


def _last_resort(values: Sequence[Any]) -> Guess:
    if all(isinstance(value, str) for value in values):
        return Guess("text")
    if all(isinstance(value, int | Decimal) and not isinstance(value, bool) for value in values):
        return Guess("decimal")
    for kind in ("integer", "decimal", "text"):
        if not any(isinstance(value, bool) for value in values) and _fits(found := Guess(kind), values):
            found.note = "the values are of several types"
            return found
    return Guess("json", {}, "the values are of several types")


def _fits(found: Guess, values: Sequence[Any]) -> bool:
    return fits(Column(type=found.type, **found.options), *values)


def _spoilt(found: Guess, field: Field, unfit: int) -> Guess:
    """Let values that no type can hold become null, unless they are few enough for the quarantine."""
    if unfit:
        said = "more digits, or a NUL character, than Postgres can store"
        found.note = f"{unfit} of {field.present} have {said}, and will be refused"
        if unfit > SLIPS * field.records:
            found.options = {**found.options, "null": True, "on_invalid": "null"}
            found.note = f"{unfit} of {field.present} have {said}, and become null"
    return found


def _enumerated(found: Guess, field: Field) -> Guess:
    """Name the values of a text that has few, in many records."""
    texts = sorted(str(value) for _, value in field.values)
    if found.type == "text" and not found.note and len(texts) <= _FEW and field.present >= 5 * len(texts):
        found.note = f"values seen: {', '.join(texts)}"
    return found
