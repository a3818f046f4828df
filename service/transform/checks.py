"""The lines that convert, clean and check one value, whoever supplies it: a record or the configuration itself."""

import re
from collections.abc import Callable
from datetime import date, time
from typing import Any

from service.config.tables import Column
from service.errors import ConfigError, Problem
from service.transform.code import Code, build
from service.transform.kinds import KINDS, formats
from service.transform.numbers import finer_than
from service.transform.violations import Violation, breach, kind_of, shown


def plain(column: Column) -> Column:
    """Give the column as it reads what the configuration holds: ISO 8601 comes before its own formats."""
    if column.type not in {"timestamp", "date", "time"}:
        return column
    return column.model_copy(update={"format": ("iso8601", *formats(column))})


def settled(convert: Callable[[Any], Any], value: Any, what: str, place: str) -> Any:
    """Convert a value that the configuration holds.

    Raises:
        ConfigError: it does not fit the column; ``what`` says which value it is and ``place`` which column.
    """
    try:
        return convert(value.isoformat() if isinstance(value, date | time) else value)
    except Violation as violation:
        message = f"the {what} {shown(value)} does not fit the column: it {violation.said}"
        raise ConfigError([Problem("misfit", place, message)]) from None


def emit_checks(code: Code, column: Column, place: str) -> None:
    """Add the lines that convert, clean and check ``v``, which may be None."""
    start = len(code.lines)
    if column.list:
        item = Code("i")
        emit_checks(item, column.model_copy(update={"list": False, "min_length": None, "max_length": None}), place)
        convert = build("value(v)", [*item.lines, "return v"], item.constants)
        code.add(f"v = {code.constant(_listed)}(v, {code.constant(convert)})")
        checks = len(code.lines)
        _check_length(code, column, place, "items")
    else:
        kind = KINDS[column.type]
        kind.emit(code, column, code.constant(kind.convert(column)))
        checks = len(code.lines)
        _check_value(code, column, place, kind.options)
    code.unless_null(checks)
    code.unless_null(start)


def _check_value(code: Code, column: Column, place: str, options: frozenset[str]) -> None:
    convert = KINDS[column.type].convert(plain(column))
    if column.min is not None and "min" in options:
        said = f"is less than the minimum {column.min}"
        _refuse(
            code,
            f"not v >= {code.constant(settled(convert, column.min, 'min', place))}",
            "min",
            said,
            f"lower {place}.min",
        )
    if column.max is not None and "max" in options:
        said = f"is more than the maximum {column.max}"
        _refuse(
            code,
            f"not v <= {code.constant(settled(convert, column.max, 'max', place))}",
            "max",
            said,
            f"raise {place}.max",
        )
    if column.values is not None and "values" in options:
        allowed = frozenset(settled(convert, value, "value", place) for value in column.values)
        said = f"is not one of {', '.join(map(str, column.values))}"
        _refuse(code, f"v not in {code.constant(allowed)}", "values", said, f"add it to {place}.values or translate it")
    if column.scale is not None and "scale" in options:
        said, remedy = f"has more than {column.scale} digits after the point", f"raise {place}.scale"
        finer = code.constant(finer_than)
        _refuse(code, f"{finer}(v, {code.constant(column.scale)})", "scale", said, remedy)
    if column.pattern is not None and "pattern" in options:
        match = code.constant(re.compile(column.pattern).fullmatch)
        said = f"does not match the pattern {column.pattern}"
        _refuse(code, f"{match}(v) is None", "pattern", said, f"change {place}.pattern")
    if "min_length" in options:
        _check_length(code, column, place, "characters" if column.type == "text" else "bytes")


def _check_length(code: Code, column: Column, place: str, unit: str) -> None:
    if column.min_length is not None:
        said, remedy = f"has fewer than {column.min_length} {unit}", f"lower {place}.min_length"
        _refuse(code, f"len(v) < {code.constant(column.min_length)}", "min_length", said, remedy)
    if column.max_length is not None:
        said, remedy = f"has more than {column.max_length} {unit}", f"raise {place}.max_length"
        _refuse(code, f"len(v) > {code.constant(column.max_length)}", "max_length", said, remedy)


def _refuse(code: Code, condition: str, rule: str, said: str, remedy: str) -> None:
    violation = code.constant(breach(rule, said, f"{remedy} or correct the provider"))
    code.add(f"if {condition}:", f"    raise {violation}(v)")


def _listed(value: Any, convert: Callable[[Any], Any]) -> list[Any] | None:
    if isinstance(value, str) and not value.strip():
        return None
    if not isinstance(value, list):
        raise Violation(value, "list", f"is {kind_of(value)}, not a list", "map a field that holds a list")
    items = [convert(item) for item in value]
    if None in items:
        raise Violation(value, "list", "has an item that is null or empty", "correct the provider, or make it json")
    return items
