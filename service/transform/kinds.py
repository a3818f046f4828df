"""The column types: the exact conversion of each, and the lines of code that spare a value that fits its call.

Lines find a value that is not None in ``v`` and leave there what is stored, or None for blank text. They may decide
only what they are sure of; everything else they leave to the conversion.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal, DecimalException
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from service.config.tables import Column
from service.transform import moments, numbers, texts
from service.transform.code import Code

Convert = Callable[[Any], Any]


class Kind(NamedTuple):
    """One column type.

    Attributes:
        convert: gives the conversion for a column, from a value that is not None to the type that asyncpg takes, or
            None for blank text; it raises Violation for what cannot be stored exactly.
        emit: adds the lines, given the column and the name of its conversion.
        options: the options of a column that mean something for this type, beyond those of every type.
    """

    convert: Callable[[Column], Convert]
    emit: Callable[[Code, Column, str], None]
    options: frozenset[str]


def _call(code: Code, _: Column, convert: str) -> None:
    code.add(f"v = {convert}(v)")


def _text(code: Code, column: Column, convert: str) -> None:
    code.add(f"if type(v) is not str or not v.isascii() or {code.constant(chr(0))} in v:", f"    v = {convert}(v)")
    for step in column.clean:
        code.add(f"v = {code.constant(texts.CLEANINGS[step])}(v)")
    code.add("v = v.strip() or None" if column.trim else "v = v or None")


def _integer(code: Code, _: Column, convert: str) -> None:
    low, high = code.constant(-numbers.BIGINT), code.constant(numbers.BIGINT)
    code.add(f"if type(v) is not int or not {low} <= v < {high}:", f"    v = {convert}(v)")


def _float(code: Code, _: Column, convert: str) -> None:
    low, high, decimal = code.constant(-numbers.DENSE), code.constant(numbers.DENSE), code.constant(Decimal)
    code.add(f"if type(v) is {decimal} and (w := float(v)) and {low} < w < {high}:", "    v = w")
    code.add("else:", f"    v = {convert}(v)")


def _decimal(code: Code, _: Column, convert: str) -> None:
    decimal, storable, unsure = code.constant(Decimal), code.constant(numbers.storable), code.constant(DecimalException)
    code.add(
        f"if type(v) is {decimal} and v.is_finite():", "    try:", f"        {storable}(v)", f"    except {unsure}:"
    )
    code.add(f"        v = {convert}(v)", "else:", f"    v = {convert}(v)")


def _boolean(code: Code, _: Column, convert: str) -> None:
    code.add("if v is not True and v is not False:", f"    v = {convert}(v)")


def _timestamp(code: Code, column: Column, convert: str) -> None:
    """Read ISO 8601 in UTC in place, where a point at 19 is followed by at most six digits."""
    if formats(column)[0] != "iso8601":
        _call(code, column, convert)
        return
    parse, utc, marks = code.constant(datetime.fromisoformat), code.constant(UTC), code.constant("Z+.")
    code.add("w = None", f"if type(v) is str and v[16:17] == ':' and v[19:20] in {marks} and not v[26:27].isdigit():")
    code.add("    try:", f"        w = {parse}(v)", f"    except {code.constant(ValueError)}:", "        pass")
    code.add(f"v = w if w is not None and w.tzinfo is {utc} else {convert}(v)")


def formats(column: Column) -> tuple[str, ...]:
    """Give the formats of a timestamp, date or time."""
    written = column.format or "iso8601"
    return (written,) if isinstance(written, str) else written


def _stamp(column: Column) -> Convert:
    written, zone = formats(column), ZoneInfo(column.timezone) if column.timezone is not None else None
    return lambda value: moments.timestamp(value, written, zone)


def _day(column: Column) -> Convert:
    written = formats(column)
    return lambda value: moments.day(value, written)


def _clock(column: Column) -> Convert:
    written = formats(column)
    return lambda value: moments.clock(value, written)


def _kind(convert: Callable[[Column], Convert], emit: Callable[[Code, Column, str], None], options: str) -> Kind:
    return Kind(convert, emit, frozenset(options.split()))


KINDS: dict[str, Kind] = {
    "text": _kind(lambda _: texts.text, _text, "values min max min_length max_length pattern clean trim"),
    "integer": _kind(lambda _: numbers.integer, _integer, "values min max"),
    "float": _kind(lambda _: numbers.floating, _float, "values min max"),
    "decimal": _kind(lambda _: numbers.decimal, _decimal, "values min max scale"),
    "boolean": _kind(lambda _: numbers.boolean, _boolean, "values"),
    "timestamp": _kind(_stamp, _timestamp, "values min max format timezone"),
    "date": _kind(_day, _call, "values min max format"),
    "time": _kind(_clock, _call, "values min max format"),
    "uuid": _kind(lambda _: texts.uuid, _call, "values"),
    "json": _kind(lambda _: texts.json, _call, ""),
    "bytes": _kind(lambda _: texts.octets, _call, "min_length max_length"),
}
"""The column types by the name they have in config.yaml."""
