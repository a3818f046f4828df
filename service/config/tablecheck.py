"""What tables promise beyond their shape: key, version and indexes name columns, and rules fit their type."""

import re
import warnings
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from pydantic import ValidationError

from service.config.paths import Path
from service.config.report import Report
from service.config.tables import Column
from service.config.values import COMPARABLE, misfit, typed

MAX_NAME = 63
"""Bytes of a name that Postgres keeps (PostgreSQL, section 4.1.1); it cuts the rest without a word."""
FORMATS = ("iso8601", "epoch_s", "epoch_ms", "epoch_us", "epoch_ns")
"""Named formats of a timestamp; any other is a strptime pattern."""

SYSTEM_COLUMNS = {"tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"}
"""Every table of Postgres has these (PostgreSQL, section 5.6)."""
_UNORDERED = {"json", "boolean", "bytes"}
_FITTING: dict[str, set[str]] = {
    "min": COMPARABLE,
    "max": COMPARABLE,
    "pattern": {"text"},
    "clean": {"text"},
    "scale": {"decimal"},
    "min_length": {"text", "bytes"},
    "max_length": {"text", "bytes"},
    "values": COMPARABLE | {"boolean", "uuid"},
    "format": {"timestamp", "date", "time"},
    "timezone": {"timestamp"},
}
_FITTING_LISTS = {"clean", "scale", "min_length", "max_length", "format", "timezone"}


def columns_of(raw: Any) -> dict[str, Column]:
    """Give the columns of a table, as it was written, that are sound in themselves."""
    found = {}
    written = raw.get("columns") if isinstance(raw, dict) else None
    for name, column in written.items() if isinstance(written, dict) else ():
        try:
            found[name] = Column.model_validate(column)
        except ValidationError:
            continue
    return found


def check_tables(data: Any, report: Report) -> None:
    """Report what is wrong with the tables of a document beyond what pydantic sees."""
    tables = data.get("tables") if isinstance(data, dict) else None
    for name, raw in tables.items() if isinstance(tables, dict) else ():
        if isinstance(raw, dict) and isinstance(raw.get("columns"), dict):
            path = ("tables", name)
            _check_names(path, raw, report)
            columns = columns_of(raw)
            for column_name, column in columns.items():
                _check_column((*path, "columns", column_name), column, report)
            _check_key(path, raw, columns, report)
            _check_version(path, raw, columns, report)


def _check_names(path: Path, raw: dict[str, Any], report: Report) -> None:
    for at in (path, *((*path, "columns", name) for name in raw["columns"])):
        if not 0 < len(str(at[-1]).encode()) <= MAX_NAME or "\0" in str(at[-1]):
            report.add("wrong-name", at, f"a name has 1 to {MAX_NAME} bytes in Postgres", at_key=True)
        elif at == path and at[-1] == "excluded":
            report.add(
                "wrong-name", at, "ON CONFLICT calls the new row `excluded`; name the table otherwise", at_key=True
            )
        elif at != path and at[-1] in SYSTEM_COLUMNS:
            report.add("wrong-name", at, "every table of Postgres has a column of this name already", at_key=True)


def _check_key(path: Path, raw: dict[str, Any], columns: Mapping[str, Column], report: Report) -> None:
    for at, name in _named(path, raw):
        if name not in raw["columns"]:
            report.add(
                "unknown-column",
                at,
                f"the table has no column {report.show(at, name)}",
                close_to=raw["columns"],
            )
        elif at[2] == "key" and name in columns and columns[name].null:
            message = f"the key column {report.show(at, name)} may not be null; remove `null: true` from it"
            report.add("nullable-key", at, message)
        elif at[2] == "key" and name in columns and (columns[name].list or columns[name].type == "json"):
            kind = "list" if columns[name].list else columns[name].type
            report.add("unfit-key", at, f"a {kind} column does not identify a row; name one that holds a single value")
    key = [name for at, name in _named(path, raw) if at[2] == "key"]
    for index, name in enumerate(key):
        if name in key[:index]:
            report.add("repeated-column", (*path, "key", index), "the key has this column already")


def _named(path: Path, raw: dict[str, Any]) -> Iterator[tuple[Path, str]]:
    """Give each place where the table names one of its columns."""
    key, indexes = raw.get("key"), raw.get("indexes")
    if isinstance(key, str):
        yield (*path, "key"), key
    lists = [((*path, "key"), key)]
    lists += [
        ((*path, "indexes", i), columns) for i, columns in enumerate(indexes if isinstance(indexes, list) else ())
    ]
    for at, names in lists:
        for i, name in enumerate(names if isinstance(names, list) else ()):
            if isinstance(name, str):
                yield (*at, i), name


def _check_version(path: Path, raw: dict[str, Any], columns: Mapping[str, Column], report: Report) -> None:
    at, name = (*path, "version"), raw.get("version")
    if not isinstance(name, str):
        return
    if name not in raw["columns"]:
        report.add("unknown-column", at, f"the table has no column {report.show(at, name)}", close_to=raw["columns"])
    elif name in columns and (columns[name].type in _UNORDERED or columns[name].list):
        kind = "list" if columns[name].list else columns[name].type
        message = f"a {kind} column does not say which of two rows is newer; name a timestamp or a number"
        report.add("unordered-version", at, message)


def _check_column(path: Path, column: Column, report: Report) -> None:
    for option in sorted(column.model_fields_set & _FITTING.keys()):
        fits = column.type in _FITTING[option]
        if column.list:
            fits = option.endswith("_length") or (fits and option in _FITTING_LISTS)
        if not fits and getattr(column, option) not in (None, ()):
            kind = "list" if column.list else column.type
            report.add("option-of-other-type", (*path, option), f"a {kind} column has no `{option}`", at_key=True)
    _check_range(path, column, report)
    _check_pattern(path, column, report)
    _check_format(path, column, report)
    for index, value in enumerate(column.values or ()):
        _check_value((*path, "values", index), column.model_copy(update={"values": None}), value, report)
    if column.default is not None:
        _check_value((*path, "default"), column, column.default, report)


def _check_value(path: Path, column: Column, value: Any, report: Report) -> None:
    reason = misfit(column, value)
    if reason is not None:
        report.add("misfit", path, f"{report.show(path, value)} does not fit the column: it {reason}")


def _check_range(path: Path, column: Column, report: Report) -> None:
    found = {}
    for option in ("min", "max"):
        bound, at = getattr(column, option), (*path, option)
        if bound is None or column.type not in COMPARABLE:
            continue
        try:
            found[option] = typed(column, bound)
        except ValueError as error:
            report.add("misfit", at, f"{report.show(at, bound)} must be {error}, as the column is {column.type}")
    if len(found) == 2 and found["min"] > found["max"]:
        low, high = report.show((*path, "min"), column.min), report.show((*path, "max"), column.max)
        report.add("empty-range", (*path, "max"), f"the maximum {high} is less than the minimum {low}")
    shortest, longest = column.min_length, column.max_length
    if shortest is not None and longest is not None and shortest > longest:
        report.add("empty-range", (*path, "max_length"), "the greatest length is less than the least")


def _check_pattern(path: Path, column: Column, report: Report) -> None:
    if column.pattern is None:
        return
    at = (*path, "pattern")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            re.compile(column.pattern)
    except (re.error, OverflowError, RecursionError) as error:
        report.add("wrong-pattern", at, f"{report.show(at, column.pattern)} is not a regular expression: {error}")


def _check_format(path: Path, column: Column, report: Report) -> None:
    formats = (column.format,) if isinstance(column.format, str) else column.format or ()
    for index, text in enumerate(formats):
        at = (*path, "format") if isinstance(column.format, str) else (*path, "format", index)
        if text in FORMATS:
            if text.startswith("epoch") and column.type != "timestamp":
                report.add("wrong-format", at, f"{text} is a moment; only a timestamp is read from it")
        elif not _is_pattern(text):
            message = f"{report.show(at, text)} is neither one of {', '.join(FORMATS)} nor a strptime pattern"
            report.add("wrong-format", at, message, close_to=FORMATS)
    if column.timezone is not None and not _is_zone(column.timezone):
        at = (*path, "timezone")
        message = f"{report.show(at, column.timezone)} is no time zone; write one such as Europe/London"
        report.add("unknown-timezone", at, message, close_to=available_timezones())


def _is_pattern(text: str) -> bool:
    try:
        datetime.strptime("", text)  # noqa: DTZ007  nothing is parsed; strptime is the judge of its own patterns
    except (ValueError, IndexError, re.error) as error:
        return "%" in text and "does not match" in str(error)
    return False


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (OSError, ValueError):  # ZoneInfoNotFoundError is a KeyError in name, an OSError for "Europe"
        return False
    except KeyError:
        return False
    return True
