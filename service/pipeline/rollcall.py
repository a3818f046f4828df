"""The roll call: gathers the keys of each full set that a feed sends, and says when one is complete."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import structlog

from service.config.tables import Table
from service.model import Message, Row
from service.pipeline.batch import Parsed
from service.store.write import Sweep
from service.transform.keys import Keys

log = structlog.get_logger()

MAX_KEYS = 1_000_000
"""Keys of one set that are held in memory; of a larger one nothing is deleted."""


class Snapshot(NamedTuple):
    """Which rows a set is of, if it is a snapshot.

    Attributes:
        scope: the columns that all its rows have the same values in, each with its number in a row.
        version: the number of the version in a row.
    """

    scope: dict[str, int]
    version: int


def snapshot_of(columns: Sequence[str], table: Table) -> Snapshot | None:
    """Give what a feed's `snapshot` says; None where it says nothing."""
    names = list(table.columns)
    if not columns or table.version is None:
        return None
    return Snapshot({name: names.index(name) for name in columns}, names.index(table.version))


class RollCall:
    """Follows the sets of one feed through its messages, in order.

    A source marks each message with the set that it belongs to: ``meta = {"set": id, "page": n, "last": bool}``, pages
    counted from 0. What is deleted rests on a set that was seen whole and understood to the last record; after anything
    else the rows stay, and the next set decides.

    Args:
        feed: ``provider.feed``.
        table: the name of the table.
        keys: of the feed's records.
        mark: whether absent rows are marked, rather than deleted.
        snapshot: which rows a set is of, where each is a snapshot.

    Attributes:
        trouble: why the last complete set deleted nothing, or None.
    """

    def __init__(self, feed: str, table: str, keys: Keys, *, mark: bool, snapshot: Snapshot | None = None) -> None:
        self._feed = feed
        self._table = table
        self._keys = keys
        self._mark = mark
        self._snapshot = snapshot
        self._scopes: set[Row] = set()
        self._until: Any = None
        self._set: Any = None
        self._next = 0
        self._open = False
        self._seen: set[Row] = set()
        self._gap: str | None = None
        self.trouble: str | None = None

    def note(self, message: Message, parsed: Parsed) -> Sweep | None:
        """Note what a message became; return what is to be swept once it is loaded, if it completes a set."""
        place = message.meta or {}
        if place.get("set") != self._set or place.get("page") != self._next:
            if self._open:
                self._gap = self._gap or "the set broke off before its last page"
                self._settle()
            self._set, self._next, self._seen = place.get("set"), place.get("page", -1), set()
            self._scopes, self._until = set(), None
            self._gap = None if self._next == 0 else "the set began before this run, or in a walk that broke off"
        self._next += 1
        self._gather(parsed)
        self._open = "set" in place and place.get("last") is not True
        if place.get("last") is not True:
            return None
        seen, self._seen = self._seen, set()
        scope = dict(self._keys.scope)
        if self._snapshot is not None:
            if len(self._scopes) != 1 and self._gap is None:
                columns = ", ".join(self._snapshot.scope)
                self._gap = f"a snapshot of {len(self._scopes)} different values of {columns}, not of one"
            scope |= dict(zip(self._snapshot.scope, next(iter(self._scopes), ()), strict=False))
        self._settle()
        if self._gap is not None:
            return None
        return Sweep(self._table, scope, list(seen), self._mark, message.received_at, self._until)

    def _gather(self, parsed: Parsed) -> None:
        if self._gap is not None:
            return
        self._seen.update(map(self._keys.of_row, parsed.rows))
        if self._snapshot is not None:
            of, version = self._snapshot.scope.values(), self._snapshot.version
            self._scopes.update(tuple(row[number] for number in of) for row in parsed.rows)
            versions = [row[version] for row in parsed.rows if row[version] is not None]
            self._until = max([*versions, *([] if self._until is None else [self._until])], default=None)
        for key in parsed.lost:
            if key is None:
                self._gap = "a record of which not even the key can be told"
            elif key:  # without a part of its key it is no row of the table
                self._seen.add(key)
        if len(self._seen) > MAX_KEYS:
            self._gap = f"more than {MAX_KEYS} records"
        if self._gap is not None:
            self._seen = set()

    def _settle(self) -> None:
        """Tell once that sets delete nothing, and once that they do again."""
        trouble = f"absent rows stay: {self._gap}" if self._gap is not None else None
        if trouble != self.trouble and trouble is not None:
            log.warning("absent rows stay", feed=self._feed, reason=self._gap)
        elif trouble != self.trouble:
            log.info("absent rows go again", feed=self._feed)
        self.trouble = trouble
