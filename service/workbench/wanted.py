"""A key that is asked for: read from the command line, and found again in records."""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from service.config.feeds import MapValue
from service.config.tables import Column, Table
from service.model import Message, Row
from service.transform.checks import plain
from service.transform.keys import Keys
from service.transform.kinds import KINDS
from service.transform.routes import Route
from service.transform.transform import Transform
from service.transform.violations import Violation

_LITERAL = re.compile(r"[A-Za-z0-9_.:-]+")
"""Text that stands in the bytes of a record as it is, whatever the format escapes."""


def read_key(name: str, table: Table, parts: Sequence[str]) -> dict[str, Any]:
    """Read a key: each part is ``column=VALUE``, or the value of the next column that is not named.

    Raises:
        ValueError: it is no key of the table; the message says why.
    """
    wanted = f"the key of {name} is {', '.join(table.key)}" if table.key else f"{name} has no key"
    named: dict[str, str] = {}
    loose: list[str] = []
    for part in parts:
        column, equals, value = part.partition("=")
        if equals and column in table.key and column not in named:
            named[column] = value
        else:
            loose.append(part)
    missing = [column for column in table.key if column not in named]
    if not table.key or len(loose) != len(missing):
        raise ValueError(f"{wanted}; give a value for each, as VALUE or column=VALUE")
    named |= dict(zip(missing, loose, strict=True))
    return {column: _value(column, table.columns[column], named[column]) for column in table.key}


def _value(name: str, column: Column, text: str) -> Any:
    try:
        value = KINDS[column.type].convert(plain(column))(text)
    except Violation as violation:
        raise ValueError(f"{name}: {text!r} {violation.said}") from None
    return value.strip() if column.type == "text" and column.trim else value


class Finder:
    """Finds a key in the records of one feed.

    Args:
        transform: of the feed.
        table: the name of the table.
        settings: the table's.
        key: a value for each key column.
    """

    def __init__(self, transform: Transform, table: str, settings: Table, key: Mapping[str, Any]) -> None:
        self.table = table
        self._key = tuple(key[name] for name in settings.key)
        self._columns = list(settings.columns)
        self._places = [self._columns.index(name) for name in settings.key]
        routes = [route for route in transform.routes.all if route.name == table]
        kinds = transform.routes.kinds
        self._keys = [Keys(route.columns, settings.key, route.map, kinds) for route in routes]
        self._by_hand = transform.custom is not None
        self.needles = [] if self._by_hand else [_needles(route, settings, key) for route in routes]
        self._spoken = [_spoken(route, key) for route in routes]

    def may_hold(self, body: bytes) -> bool:
        """Say whether a message may hold the key, by a look at its bytes; UTF-16, which has zeros, is not looked at."""
        if not self.needles or b"\0" in body:
            return True
        return any(all(needle in body for needle in needles) for needles in self.needles)

    def is_of(self, row: Row) -> bool:
        """Say whether a row has the key."""
        return tuple(row[place] for place in self._places) == self._key

    def claims(self, record: Any, message: Message) -> bool:
        """Say whether a record that gave no row has the key, by any route, whichever takes it."""
        return not self._by_hand and any(keys.of(record, message) == self._key for keys in self._keys)

    def mentions(self, record: Any, message: Message, raw: bytes) -> bool:
        """Say whether a record that is too broken to have a key says something of this one."""
        unclear = self._by_hand or any(keys.of(record, message) in (None, ()) for keys in self._keys)
        return unclear and self.speaks_of(raw)

    def speaks_of(self, raw: bytes) -> bool:
        """Say whether bytes hold what the key is made of, anywhere, each part as a word of its own."""
        raw = raw.replace(b"\0", b"")  # so that UTF-16 is read as well, as far as it is ASCII
        return any(words and all(word.search(raw) for word in words) for words in self._spoken)

    def values(self, row: Row, carried: Collection[str] | None) -> dict[str, Any]:
        """Give a row by column; of a delta the columns that it carries."""
        named = zip(self._columns, row, strict=False)
        return {name: value for name, value in named if carried is None or name in carried}


def _needles(route: Route, settings: Table, key: Mapping[str, Any]) -> list[bytes]:
    """Give what stands in the bytes of every record with the key, as far as that is sure."""
    found = []
    for name, value in key.items():
        source, column = route.map.get(name), settings.columns[name]
        if _is_plain(source, column) and _LITERAL.fullmatch(str(value)):
            found.append(str(value).encode())
    return found


def _is_plain(source: MapValue | None, column: Column) -> bool:
    if source is None or not source.from_ or any(path.startswith("$") for path in source.from_):
        return False
    changes = source.values is not None or source.default is not None or column.default is not None or column.clean
    return column.type in {"text", "integer"} and not changes


def _spoken(route: Route, key: Mapping[str, Any]) -> list[re.Pattern[bytes]]:
    """Give what a record says that is about the key: its parts, besides those that are the same in all records."""
    parts = [value for name, value in key.items() if name not in route.map or not route.map[name].is_constant]
    words = [re.escape(str(value).encode()) for value in parts if isinstance(value, str | int) and str(value)]
    return [re.compile(rb"(?<![A-Za-z0-9_])" + word + rb"(?![A-Za-z0-9_])") for word in words]
