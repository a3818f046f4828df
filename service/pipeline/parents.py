"""The rows that a feed calls for: from which table they come, and how their values are written."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

from service.config.feeds import FeedSettings
from service.config.foreach import TEMPLATES, ForEach, Value, places
from service.config.paths import parse_path
from service.config.settings import Config
from service.errors import SourceLost, SourceRefused, StoreLost, TableRefused
from service.store.store import Store


class Parents:
    """Reads rows for one feed.

    Args:
        feed: ``provider.feed``.
        config: the whole.
        store: that the rows lie in.
        prepared: set once its tables exist.
    """

    def __init__(self, feed: str, config: Config, store: Store, prepared: asyncio.Event) -> None:
        self._provider = feed.partition(".")[0]
        self._config = config
        self._settings = config.feeds()[feed][1]
        self._store = store
        self._prepared = prepared

    async def rows(self, each: ForEach) -> Sequence[Mapping[str, Value]]:
        """Give the rows to call for; see Link. Those without a value for one of the names are left out.

        Raises:
            SourceLost: the database is away.
            SourceRefused: it refuses the query, or there are more rows than allowed.
        """
        await self._prepared.wait()
        table, scope = self._origin(each)
        columns = each.columns
        if columns is None:
            wanted = {place: place for name in TEMPLATES for place in places(getattr(self._settings, name, None))}
            known = self._config.tables[table].columns if table is not None else ()
            columns = wanted | {name: name for name in mapped(self._settings) if name in known}
        try:
            found = await self._store.parents(each, table, columns, scope)
        except StoreLost as lost:
            raise SourceLost(f"the rows of `for_each` cannot be read now: {lost}") from lost
        except TableRefused as refused:
            raise SourceRefused(f"the rows of `for_each` cannot be read: {refused}") from refused
        if len(found) > each.max_rows:
            raise SourceRefused(f"`for_each` gives more than {each.max_rows} rows: narrow it, or raise its max_rows")
        if table is None and found:
            if each.columns is None:
                columns |= {name: name for name in mapped(self._settings) if name in found[0]}
            found = [_renamed(row, columns) for row in found]
        whole = [row for row in found if None not in row.values()]
        return list({repr(row): {name: _written(name, value) for name, value in row.items()} for row in whole}.values())

    def _origin(self, each: ForEach) -> tuple[str | None, dict[str, str]]:
        """Give the table that rows lie in, None for a query, and what is the same in all of another feed's rows."""
        if each.feed is None:
            return each.table, {}
        name = each.feed if "." in each.feed else f"{self._provider}.{each.feed}"
        (branch,) = self._config.feeds()[name][1].branches
        envelope = {"$provider": name.partition(".")[0], "$feed": name}
        scope = {
            column: envelope[value.from_[0]] if value.from_ else str(value.const)
            for column, value in branch.map.items()
            if column in self._config.tables[branch.into].key and value.is_constant
        }
        return branch.into, scope


def mapped(settings: FeedSettings) -> list[str]:
    """Give the names that a feed's maps take from `$params`, and that are no parameters of its own."""
    origins = [path for branch in settings.branches for value in branch.map.values() for path in value.from_]
    names = [str(parse_path(path)[1]) for path in origins if path.startswith("$params.")]
    return [name for name in names if name not in getattr(settings, "params", {})]


def _renamed(row: Mapping[str, Any], columns: Mapping[str, str]) -> dict[str, Any]:
    """Give a row of a query by the names that are used.

    Raises:
        SourceRefused: it lacks one of them.
    """
    absent = next((column for column in columns.values() if column not in row), None)
    if absent is not None:
        raise SourceRefused(f"the `sql` of `for_each` gives no column {absent!r}; it gives {', '.join(row)}")
    return {name: row[column] for name, column in columns.items()}


def _written(name: str, value: Any) -> Value:
    match value:
        case bool() | int() | str():
            return value
        case Decimal():
            return f"{value:f}"
        case float():
            return repr(value)
        case datetime():
            return value.isoformat().replace("+00:00", "Z")
        case date() | time() | UUID():
            return str(value)
    raise SourceRefused(f"`for_each`: the value of {name} is no text, number or moment but a {type(value).__name__}")
