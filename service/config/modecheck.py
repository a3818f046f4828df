"""What modes promise: append, update and history fit their table; a feed's deletions stay among its own rows."""

from collections.abc import Iterator, Mapping
from typing import Any

from service.config.feedcheck import branches, mapping
from service.config.paths import Path
from service.config.report import Report
from service.config.tablecheck import MAX_NAME, columns_of

HISTORY = "_history"
"""What the name of a table's history adds to the table's."""
ABSENT_SINCE = "absent_since"
"""The column that says since when a row is absent."""

MOST_MERGED = 500
"""Columns of a table that deltas are merged into: a query of Postgres gives 1664, and each is needed three times."""

_FOR_HISTORY = ("valid_from", "valid_to")


def check_modes(data: Any, report: Report) -> None:
    """Report what is wrong with the modes of tables, and with the deletions of feeds."""
    tables = mapping(data, "tables")
    for name, table in tables.items():
        if isinstance(table, dict):
            _check_key(("tables", name), table, report)
            _check_append(("tables", name), table, report)
            if table.get("history") is True:
                _check_history(("tables", name), table, tables, report)
    feeds = dict(_feeds(data))
    every = dict(branch for path, feed in feeds.items() for branch in branches(path, feed))
    for path, branch in every.items():
        table = tables.get(str(branch.get("into")))
        if isinstance(table, dict):
            feed = feeds[path[:4]]
            _check_deletions(path, branch, table, report)
            _check_conflation(path[:4], feed, branch["into"], table, report)
            _check_partial(path, branch, table, report)
            _check_connections(path[:4], feed, branch["into"], table, report)
            if branch.get("absent") in ("delete", "mark"):
                _check_scope(path, "absent", every, table, report)
            if branch.get("absent") == "mark":
                _check_mark(path, branch, table, report)
            if feed.get("snapshot"):
                _check_snapshot(path, feed, table, report)
            if feed.get("dedupe") is not None:
                _check_dedupe(path, every, table, report)


def _feeds(data: Any) -> Iterator[tuple[Path, dict[str, Any]]]:
    for provider, raw in mapping(data, "providers").items():
        for name, feed in mapping(raw, "feeds").items():
            if isinstance(feed, dict):
                yield ("providers", provider, "feeds", name), feed


def _check_key(path: Path, table: dict[str, Any], report: Report) -> None:
    if table.get("mode") != "append" and table.get("key") in (None, [], ""):
        report.add("missing-key", (*path, "key"), "this key is required")


def _check_append(path: Path, table: dict[str, Any], report: Report) -> None:
    if table.get("mode") == "append" and table.get("version") is not None:
        message = "with `mode: append` every record is kept, so no version wins; remove `version`"
        report.add("option-of-other-mode", (*path, "version"), message, at_key=True)


def _check_history(path: Path, table: dict[str, Any], tables: Mapping[str, Any], report: Report) -> None:
    """Check that versions are moments, and that the names of the second table are free."""
    at = (*path, "history")
    if table.get("mode", "upsert") != "upsert":
        report.add("option-of-other-mode", at, "a history is kept only with `mode: upsert`", at_key=True)
    version = columns_of(table).get(str(table.get("version")))
    if version is None or version.type != "timestamp" or version.list or version.null:
        message = "a history orders rows by `version`: name a timestamp column there that may not be null"
        report.add("history-without-moments", at, message, at_key=True)
    name = f"{path[-1]}{HISTORY}"
    if name in tables:
        report.add("taken-name", at, f"the history would be the table {name}, which is configured already")
    if len(name.encode()) > MAX_NAME:
        report.add("wrong-name", at, f"the history's name {name} has more than {MAX_NAME} bytes; shorten the table's")
    for column in _FOR_HISTORY:
        if column in mapping(table, "columns"):
            report.add("taken-name", at, f"the history has a column {column} of its own; name the table's otherwise")


def _check_deletions(path: Path, feed: dict[str, Any], table: dict[str, Any], report: Report) -> None:
    for option in ("delete_when", "absent"):
        if feed.get(option) is not None and table.get("mode") == "append":
            message = f"rows of {feed['into']} are only ever added (`mode: append`); remove `{option}`"
            report.add("option-of-other-mode", (*path, option), message, at_key=True)


def _check_partial(path: Path, feed: dict[str, Any], table: dict[str, Any], report: Report) -> None:
    """Check that a table has one row to merge deltas with."""
    reasons = {
        "every record becomes a row of its own (`mode: append`)": table.get("mode") == "append",
        "a version that a late delta changes is no version of the row (`history: true`)": table.get("history") is True,
        f"it has more than {MOST_MERGED} columns": len(mapping(table, "columns")) > MOST_MERGED,
    }
    for reason, holds in reasons.items():
        if feed.get("partial") is True and holds:
            message = f"deltas cannot be loaded into {feed['into']}: {reason}; remove `partial`, or load another table"
            report.add("option-of-other-mode", (*path, "partial"), message, at_key=True)


def _check_connections(path: Path, feed: dict[str, Any], name: str, table: dict[str, Any], report: Report) -> None:
    """Check that a message which two connections bring far apart does no harm."""
    connections = feed.get("connections")
    if table.get("mode") == "append" and isinstance(connections, int) and connections > 1:
        message = (
            f"{name} makes a row of every record, and a connection that comes back may bring some again; "
            "give the table a key and `mode: upsert`"
        )
        report.add("option-of-other-mode", (*path, "connections"), message, at_key=True)


def _check_conflation(path: Path, feed: dict[str, Any], name: str, table: dict[str, Any], report: Report) -> None:
    """Check that nobody wants to keep what conflation drops."""
    if feed.get("when_full") == "conflate" and (table.get("mode") == "append" or table.get("history") is True):
        message = f"{name} keeps every record, and `conflate` drops all but the newest; use `block`"
        report.add("option-of-other-mode", (*path, "when_full"), message, at_key=True)


def _check_dedupe(path: Path, every: Mapping[Path, dict[str, Any]], table: dict[str, Any], report: Report) -> None:
    """Check that nothing but the feed's own records changes a row, so that what it said last is what is there."""
    at = (*path[:4], "dedupe")
    reasons = {
        "every record is kept (`mode: append`)": table.get("mode") == "append",
        "its rows are made by others (`mode: update`)": table.get("mode") == "update",
        "`absent` takes rows away": every[path].get("absent") is not None,
    }
    for reason, holds in reasons.items():
        if holds:
            message = f"what repeats cannot be left out of {every[path]['into']}: {reason}; remove `dedupe`"
            report.add("option-of-other-mode", at, message, at_key=True)
    _check_scope(path, "dedupe", every, table, report)


def _check_scope(
    path: Path, option: str, every: Mapping[Path, dict[str, Any]], table: dict[str, Any], report: Report
) -> None:
    """Check that the constants in the key tell the feed's rows from those of every other feed."""
    mine = _constants(path, every[path], table)
    for other, branch in every.items():
        if other[:4] == path[:4] or branch.get("into") != every[path].get("into"):
            continue
        theirs = _constants(other, branch, table)
        if all(mine[column] == theirs[column] for column in mine.keys() & theirs.keys()):
            message = (
                f"{other[1]}.{other[3]} loads into {branch['into']}, too, and its rows look like this feed's: "
                "map a key column of both to different constants, such as {const: ...} or $feed"
            )
            report.add("shared-rows", (*path[:4], option), message, at_key=True)


def _constants(path: Path, feed: dict[str, Any], table: dict[str, Any]) -> dict[str, str]:
    """Give the key columns that are the same in every row of a feed, as text."""
    key = table.get("key")
    found = {}
    for column in [key] if isinstance(key, str) else key if isinstance(key, list) else ():
        value = mapping(feed, "map").get(str(column))
        if isinstance(value, dict) and value.keys() == {"from"}:
            value = value["from"]
        if isinstance(value, dict) and "const" in value:
            found[str(column)] = str(value["const"])
        elif value in ("$provider", "$feed"):
            found[str(column)] = str(path[1]) if value == "$provider" else f"{path[1]}.{path[3]}"
    return found


def _check_snapshot(path: Path, feed: dict[str, Any], table: dict[str, Any], report: Report) -> None:
    """Check that it can be told which rows a snapshot is of, and which of them are newer."""
    at = (*path, "snapshot")
    if table.get("version") is None or table.get("mode", "upsert") != "upsert":
        message = f"a snapshot leaves rows alone that are newer: give {feed['into']} a `version`, and `mode: upsert`"
        report.add("option-of-other-mode", at, message, at_key=True)
    key, columns = table.get("key"), feed["snapshot"]
    names = [key] if isinstance(key, str) else key if isinstance(key, list) else []
    for column in [columns] if isinstance(columns, str) else columns if isinstance(columns, list) else ():
        if column not in names:
            message = f"{report.show((), str(column))} is no column of the key of {feed['into']}"
            report.add("unknown-column", at, message, close_to=map(str, names))


def _check_mark(path: Path, feed: dict[str, Any], table: dict[str, Any], report: Report) -> None:
    at = (*path, "absent")
    column = columns_of(table).get(ABSENT_SINCE)
    if column is None or column.type != "timestamp" or column.list or not column.null:
        line = f"{ABSENT_SINCE}: {{type: timestamp, null: true}}"
        report.add("no-place-for-mark", at, f"`mark` needs a column: add `{line}` to tables.{feed['into']}.columns")
    elif column.default is not None or ABSENT_SINCE in mapping(feed, "map"):
        message = f"`mark` fills {ABSENT_SINCE} by itself; remove it from the map, and its default"
        report.add("no-place-for-mark", at, message)
