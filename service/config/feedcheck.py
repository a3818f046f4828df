"""What feeds promise beyond their shape: columns exist, values fit them, paths are sound."""

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

from pydantic import ValidationError

from service.config.expressions import check_expression
from service.config.feeds import MapValue
from service.config.gapcheck import check_gaps
from service.config.importing import function
from service.config.paths import Path, dotted, parse_path
from service.config.report import Report
from service.config.tablecheck import columns_of
from service.config.tables import Column
from service.config.values import misfit

_SCHEMES = {"rest": ("http://", "https://"), "sse": ("http://", "https://"), "websocket": ("ws://", "wss://")}
_MOMENTS = {"timestamp", "date", "time"}


def check_feeds(data: Any, report: Report) -> None:
    """Report what is wrong with the feeds of a document beyond what pydantic sees."""
    tables = mapping(data, "tables")
    for provider, raw in mapping(data, "providers").items():
        feeds = mapping(raw, "feeds")
        for name, feed in feeds.items():
            if isinstance(feed, dict):
                path = ("providers", provider, "feeds", name)
                for at, branch in branches(path, feed):
                    _check_into(at, branch, tables, report)
                    for option in ("where", "delete_when"):
                        check_expression((*at, option), branch.get(option), report)
                check_expression((*path, "where"), feed.get("where"), report)
                _check_routes(path, feed, report)
                _check_function(path, feed, report)
                _check_records(path, feed, report)
                check_gaps(path, feed, feeds, report)
                _check_address(path, feed, raw, report)


def mapping(value: Any, key: str) -> dict[str, Any]:
    """Give the mapping under a key of what was written, empty where there is none."""
    found = value.get(key) if isinstance(value, dict) else None
    return found if isinstance(found, dict) else {}


def branches(path: Path, feed: dict[str, Any]) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Give the routes of a feed as they were written, each with its path; the feed itself where it has none."""
    routes = feed.get("routes")
    if not isinstance(routes, list):
        yield path, feed
        return
    for number, route in enumerate(routes):
        if isinstance(route, dict):
            yield (*path, "routes", number), route


def _check_into(path: Path, feed: dict[str, Any], tables: dict[str, Any], report: Report) -> None:
    into, mapped = feed.get("into"), feed.get("map")
    if isinstance(mapped, dict):
        for column, value in mapped.items():
            _check_paths((*path, "map", column), value, report)
    if not isinstance(into, str):
        return
    at = (*path, "into")
    if into not in tables:
        report.add("unknown-table", at, f"there is no table {report.show(at, into)}", close_to=tables)
    elif isinstance(mapped, dict) and mapping(tables[into], "columns"):
        _check_columns((*path, "map"), feed, tables[into], report)
    elif mapped is None and (odd := [name for name in mapping(tables[into], "columns") if '"' in name]):
        report.add("missing-key", (*path, "map"), f"no path leads to a field called {odd[0]}: a map is needed")


def _check_columns(path: Path, feed: dict[str, Any], table: dict[str, Any], report: Report) -> None:
    mapped, names, columns = feed["map"], table["columns"], columns_of(table)
    for name, raw in mapped.items():
        if name not in names:
            message = f"the table {feed['into']} has no column {report.show((), str(name))}"
            report.add("unknown-column", (*path, name), message, close_to=names, at_key=True)
        elif name in columns and (value := _map_value(raw)) is not None:
            _check_values((*path, name), value, columns[name], report)
    key = table.get("key")
    needed = set(names)
    if feed.get("partial") is True:
        needed = {key} if isinstance(key, str) else {*_texts(key)}
        _check_version(path, table, mapped, report)
    for name, column in columns.items():
        if name in needed and name not in mapped and not column.null and column.default is None:
            message = f"the column {name} may not be null and has no default: map it, or change the column"
            report.add("unmapped-column", (*path, name), message)


def _check_version(path: Path, table: dict[str, Any], mapped: dict[str, Any], report: Report) -> None:
    """Check that a delta says how new it is."""
    version = table.get("version")
    if isinstance(version, str) and version in table["columns"] and version not in mapped:
        message = f"the table's version {version} says which columns of a delta are newer: map it"
        report.add("unmapped-column", (*path, version), message)


def _texts(value: Any) -> Iterator[str]:
    return (item for item in value if isinstance(item, str)) if isinstance(value, list) else iter(())


def _map_value(raw: Any) -> MapValue | None:
    try:
        return MapValue.model_validate(raw)
    except ValidationError:
        return None


def _check_values(path: Path, value: MapValue, column: Column, report: Report) -> None:
    """Check what the map itself puts into a column; a moment in the column's own format is left alone."""
    written: dict[Path, Any] = {
        (*path, option): getattr(value, option)
        for option in ("const", "otherwise", "default")
        if option in value.model_fields_set
    }
    written |= {(*path, "values", word): found for word, found in (value.values or {}).items()}
    for at, found in written.items():
        if (
            found is None
            or (column.format is not None and column.type in _MOMENTS)
            or (column.list and at[-1] != "const")
        ):
            continue
        reason = misfit(column, found)
        if reason is not None:
            report.add("misfit", at, f"{report.show(at, found)} does not fit the column {path[-1]}: it {reason}")


def _check_paths(path: Path, raw: Any, report: Report) -> None:
    found: Mapping[Path, Any] = {path: raw}
    if isinstance(raw, dict):
        check_expression((*path, "expr"), raw.get("expr"), report)
        origin = raw.get("from")
        at = (*path, "from")
        found = {(*at, index): text for index, text in enumerate(origin)} if isinstance(origin, list) else {at: origin}
    for at, text in found.items():
        if isinstance(text, str):
            _check_path(at, text, report)


def _check_path(at: Path, text: str, report: Report) -> None:
    try:
        parse_path(text)
    except ValueError as error:
        report.add("wrong-path", at, str(error))


def _check_routes(path: Path, feed: dict[str, Any], report: Report) -> None:
    """Check that records can come to every route."""
    routes = list(branches(path, feed)) if "routes" in feed else []
    for (at, route), (after, _) in pairwise(routes):
        if route.get("where") is None:
            said = f"no record comes here: {report.show(at, dotted(at[4:]))} has no `where`, so it takes them all"
            report.add("unreachable-route", after, said)
            return


def _check_function(path: Path, feed: dict[str, Any], report: Report) -> None:
    name, at = feed.get("transform"), (*path, "transform")
    if isinstance(name, str):
        try:
            function(name)
        except ValueError as error:
            report.add("wrong-function", at, str(error))


def _check_records(path: Path, feed: dict[str, Any], report: Report) -> None:
    records = feed.get("records")
    at = (*path, "records")
    if isinstance(records, str):
        _check_path(at, records, report)
        if records.startswith("$"):
            report.add("wrong-path", at, "records lie in the message; `$` names belong to a map")


def _check_address(path: Path, feed: dict[str, Any], provider: dict[str, Any], report: Report) -> None:
    """Check that a feed has an address of its own, or a provider's that it can speak to."""
    schemes = _SCHEMES.get(str(feed.get("kind")))
    if schemes is None or "url" in feed or "://" in str(feed.get("path")):
        return
    base = provider.get("url")
    wanted = " or ".join(schemes)
    if base is None:
        message = f"no address: set `url` ({wanted}) on the feed or on its provider"
        report.add("missing-address", (*path, "url"), message)
    elif "://" in str(base) and not str(base).startswith(schemes):
        message = f"the provider's `url` is no {wanted} address: set `url` on the feed"
        report.add("missing-address", (*path, "url"), message)
