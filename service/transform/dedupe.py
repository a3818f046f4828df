"""Deduplication: what a feed last said of each key is remembered for a while, and the same again is left out.

Only a row that repeats the *latest* of its key is left out: writing it twice running would change nothing, whatever the
version guard decides. So the table ends as it would without; a restart, which forgets all, costs only work.

What a row repeats need not be in the table yet, or any more: the database may refuse it, and a backfill or a replay may
write over it. Then the window's ``era`` ends, and a batch that left rows out in an earlier one is written whole.
"""

import time
from collections.abc import Callable, Mapping
from hashlib import blake2b
from operator import itemgetter
from typing import Any

import msgspec

from service.config.tables import Table
from service.config.units import Window as Bounds
from service.model import Row
from service.transform.transform import Mapped

_encoder = msgspec.msgpack.Encoder()
_SHORT = (1 << 60) - 1
"""Bits of a key's hash that are kept: a number with more takes half as much memory again."""


class Window:
    """Remembers for each key a hash of its latest row: 128 bits, about 120 bytes a key in all.

    Two generations, of which the younger takes what is new: when it is full, or half of the time is over, the elder is
    dropped. A row that is left out is not remembered anew, so that even one which never changes goes to the database
    again after the time at most.

    Args:
        bounds: how many keys are remembered, and for how long.
        tables: that the feed loads into, by name.
        clock: gives seconds.

    Attributes:
        era: a number that rises whenever what was left out before may be news after all.
    """

    def __init__(
        self, bounds: Bounds, tables: Mapping[str, Table], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._keys: dict[str, Callable[[Row], Any]] = {
            name: itemgetter(*map(list(table.columns).index, table.key)) for name, table in tables.items()
        }
        self._clock = clock
        self._most = max(1, bounds.keys // 2)
        self._seconds = None if bounds.seconds is None else bounds.seconds / 2
        self._since = clock()
        self._young: dict[int, int] = {}
        self._old: dict[int, int] = {}
        self.era = 0

    def sift(self, mapped: Mapped) -> list[int]:
        """Give the numbers of the rows that repeat the latest of their key, in what was mapped."""
        self._age()
        repeats = []
        young, old, keys = self._young, self._old, self._keys
        for number, (row, (table, _)) in enumerate(zip(mapped.rows, mapped.origins, strict=True)):
            # Keys that share a number harm nobody: the hash is of the whole row, its key included.
            key = hash((table, keys[table](row))) & _SHORT
            content = int.from_bytes(blake2b(_encode(row), digest_size=16).digest())
            if young.get(key) == content or (key not in young and old.get(key) == content):
                repeats.append(number)
            else:
                young[key] = content
        return repeats

    def forget(self, table: str, row: Row) -> None:
        """Forget the key of a row that the database refused: the same row may be welcome later."""
        key = hash((table, self._keys[table](row))) & _SHORT
        self._young.pop(key, None)
        self._old.pop(key, None)
        self.era += 1

    def clear(self) -> None:
        """Forget all: somebody else may have changed any row."""
        self._young, self._old = {}, {}
        self.era += 1

    def _age(self) -> None:
        now = self._clock()
        is_over = self._seconds is not None and now - self._since >= self._seconds
        if is_over or len(self._young) >= self._most:
            # After a pause longer than the whole time nothing is left to remember.
            is_stale = self._seconds is not None and now - self._since >= 2 * self._seconds
            self._old = {} if is_stale else self._young
            self._young, self._since = {}, now


def _encode(row: Row) -> bytes:
    try:
        return _encoder.encode(row)
    except OverflowError:  # a delta of a table with more than 64 columns: see Row
        return _encoder.encode((*row[:-1], hex(row[-1])))
