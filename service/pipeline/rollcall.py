"""The roll call: gathers the keys of each full set that a feed sends, and says when one is complete."""

from typing import Any

import structlog

from service.model import Message, Row
from service.pipeline.batch import Parsed
from service.store.write import Sweep
from service.transform.keys import Keys

log = structlog.get_logger()

MAX_KEYS = 1_000_000
"""Keys of one set that are held in memory; of a larger one nothing is deleted."""


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

    Attributes:
        trouble: why the last complete set deleted nothing, or None.
    """

    def __init__(self, feed: str, table: str, keys: Keys, *, mark: bool) -> None:
        self._feed = feed
        self._table = table
        self._keys = keys
        self._mark = mark
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
            self._gap = None if self._next == 0 else "the set began before this run, or in a walk that broke off"
        self._next += 1
        self._gather(parsed)
        self._open = "set" in place and place.get("last") is not True
        if place.get("last") is not True:
            return None
        seen, self._seen = self._seen, set()
        self._settle()
        if self._gap is not None:
            return None
        return Sweep(self._table, self._keys.scope, list(seen), self._mark, message.received_at)

    def _gather(self, parsed: Parsed) -> None:
        if self._gap is not None:
            return
        self._seen.update(map(self._keys.of_row, parsed.rows))
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
