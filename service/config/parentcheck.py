"""What `for_each` promises: its rows exist, every place in the request has a value, and every value is used."""

import re
from collections.abc import Iterator
from typing import Any

from service.config.feedcheck import branches, mapping
from service.config.foreach import PLACE, TEMPLATES, places
from service.config.paths import Path, parse_path
from service.config.report import Report
from service.config.tablecheck import columns_of

_UNWRITTEN = ("json", "bytes")


def check_parents(data: Any, report: Report) -> None:
    """Report what is wrong with the `for_each` of feeds beyond what pydantic sees."""
    for provider, raw in mapping(data, "providers").items():
        for name, feed in mapping(raw, "feeds").items():
            if isinstance(feed, dict) and isinstance(feed.get("for_each"), dict):
                path = ("providers", provider, "feeds", name)
                _check(path, feed, _table(path, feed["for_each"], data, report), report)


def _table(path: Path, each: dict[str, Any], data: Any, report: Report) -> dict[str, Any] | None:
    """Give the table that rows lie in, as it was written; None for a query, or one that cannot be told."""
    tables, name, at = mapping(data, "tables"), each.get("table"), (*path, "for_each", "table")
    if isinstance(each.get("feed"), str):
        name, at = _into(path, each["feed"], data, report), (*path, "for_each", "feed")
    if not isinstance(name, str):
        return None
    if name not in tables:
        report.add("unknown-table", at, f"there is no table {report.show(at, name)}", close_to=tables)
        return None
    return mapping(tables, name)


def _into(path: Path, name: str, data: Any, report: Report) -> str | None:
    """Give the name of the one table that another feed loads into."""
    feeds = {
        f"{provider}.{feed}": settings
        for provider, raw in mapping(data, "providers").items()
        for feed, settings in mapping(raw, "feeds").items()
    }
    at, known = (*path, "for_each", "feed"), name if "." in name else f"{path[1]}.{name}"
    if known not in feeds:
        names = [feed for full in feeds for feed in (full, full.partition(".")[2])]
        report.add("unknown-feed", at, f"there is no feed {report.show(at, name)}", close_to=names)
    elif isinstance(mapping(feeds, known).get("routes"), list):
        report.add("unknown-feed", at, f"{known} loads into several tables: name the `table` instead")
    else:
        into = mapping(feeds, known).get("into")
        return into if isinstance(into, str) and into in mapping(data, "tables") else None
    return None


def _check(path: Path, feed: dict[str, Any], table: dict[str, Any] | None, report: Report) -> None:
    each = feed["for_each"]
    found = {(*path, name, *steps): text for name in TEMPLATES for steps, text in _texts(feed.get(name))}
    url = feed.get("url")
    if isinstance(url, str) and PLACE.search(re.split("[/?#]", url.partition("://")[2], maxsplit=1)[0]):
        report.add("wrong-place", (*path, "url"), "a value of a row cannot say which host is asked")
    if not any(PLACE.search(text) for text in found.values()):
        message = "every call would be the same: write {name} where a value belongs"
        report.add("unused-rows", (*path, "for_each"), message)
    if "columns" in each:
        _check_names(path, feed, found, table, report)
        return
    for at, text in found.items():
        _check_places(at, text, each.get("sql"), table, report)


def _check_names(
    path: Path, feed: dict[str, Any], found: dict[Path, str], table: dict[str, Any] | None, report: Report
) -> None:
    """Check that the names in `columns` are those that are used."""
    written = feed["for_each"]["columns"]
    columns = _columns((*path, "for_each", "columns"), written)
    used = {name for _, branch in branches(path, feed) for name in _params(mapping(branch, "map"))}
    for at, text in found.items():
        for name in places(text):
            used.add(name)
            if name not in columns:
                message = f"{{{name}}} has no value: add {name} to for_each.columns"
                report.add("unknown-name", at, message, close_to=columns, meant=name)
    for name, (at, column) in columns.items():
        if name not in used:
            message = f"{name} is used nowhere, neither as {{{name}}} in the request nor as $params.{name} in the map"
            report.add("unused-name", at, message, at_key=isinstance(written, dict))
        elif table is not None:
            _check_column(at, column, table, report)


def _columns(at: Path, columns: Any) -> dict[str, tuple[Path, str]]:
    """Give for each name where it stands and which column it means."""
    if isinstance(columns, list):
        return {name: ((*at, number), name) for number, name in enumerate(columns) if isinstance(name, str)}
    found = columns.items() if isinstance(columns, dict) else ()
    return {name: ((*at, name), column) for name, column in found if isinstance(column, str)}


def _check_places(at: Path, text: str, sql: Any, table: dict[str, Any] | None, report: Report) -> None:
    """Check that each place of a text names a column."""
    for name in places(text):
        if table is not None:
            _check_column(at, name, table, report)
        elif isinstance(sql, str) and not _may_give(sql, name):
            report.add("unknown-name", at, f"{{{name}}} has no value: the `sql` of for_each gives no column {name}")


def _check_column(at: Path, name: str, table: dict[str, Any], report: Report) -> None:
    """Check that a table has a column whose values can be a part of a request."""
    names = mapping(table, "columns")
    if name not in names:
        message = f"the table of for_each has no column {report.show((), name)}"
        report.add("unknown-column", at, message, close_to=names, meant=name)
    column = columns_of(table).get(name)
    if column is not None and (column.list or column.type in _UNWRITTEN):
        kind = "a list" if column.list else column.type
        report.add("misfit", at, f"the column {name} is {kind}, which cannot be a part of a request")


def _may_give(sql: str, name: str) -> bool:
    """Say whether a query could give a column of that name: it is written in it, or all columns of something are."""
    if re.match(r"\s*(select|with)\b", sql, re.IGNORECASE) is None or "*" in sql:
        return True
    return re.search(rf"(?<!\w){re.escape(name)}(?!\w)", sql, re.IGNORECASE) is not None


def _texts(value: Any) -> Iterator[tuple[Path, str]]:
    """Give every text of a template, with the way to it."""
    if isinstance(value, str):
        yield (), value
    elif isinstance(value, dict | list):
        for step, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from (((step, *steps), text) for steps, text in _texts(item))


def _params(mapped: dict[str, Any]) -> Iterator[str]:
    """Give the names that a map takes from `$params`."""
    for _, text in _texts(mapped):
        if text.startswith("$params."):
            try:
                yield str(parse_path(text)[1])
            except ValueError:
                continue
