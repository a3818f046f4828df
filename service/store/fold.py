"""Folding: of the rows of a batch that have the same key, one wins."""

from collections.abc import Sequence
from operator import itemgetter
from typing import Any

import msgspec

from service.config.tables import Table
from service.model import Row


class Folded(msgspec.Struct, frozen=True):
    """What is left of a batch, and what became of the rest.

    Attributes:
        rows: one row per key; all rows where every one is kept.
        origins: for each of them its index in the batch; None when they are the batch.
        duplicate: rows that were left out because the winner is the same.
        stale: rows that were left out because the winner is newer, or came later.
    """

    rows: Sequence[Row]
    origins: Sequence[int] | None = None
    duplicate: int = 0
    stale: int = 0

    def origin(self, index: int) -> int:
        """Give the index in the batch of a row of ``rows``."""
        return index if self.origins is None else self.origins[index]


class Fold:
    """Folds the batches of one table: the newest version wins, of equal versions the one that arrived last.

    Of a table with a history every version is wanted: there one row per key and version is left.
    """

    def __init__(self, table: Table) -> None:
        names = list(table.columns)
        key, version = table.key, table.version
        if table.history and version is not None:
            key, version = (*key, version), None
        self._key = itemgetter(*(names.index(name) for name in key))
        self._version = None if version is None else names.index(version)

    def __call__(self, rows: Sequence[Row]) -> Folded:
        """Fold a batch; the winners stay in the order in which their keys first came."""
        keys = [self._key(row) for row in rows]
        if len(set(keys)) == len(rows):
            return Folded(rows)
        winners: dict[Any, int] = {}
        for index, key in enumerate(keys):
            if (holder := winners.setdefault(key, index)) != index and not self._older(rows[index], rows[holder]):
                winners[key] = index
        origins = list(winners.values())
        same = sum(1 for key, row in zip(keys, rows, strict=True) if rows[winners[key]] == row)
        duplicate = same - len(origins)
        return Folded(
            rows=[rows[index] for index in origins],
            origins=origins,
            duplicate=duplicate,
            stale=len(rows) - len(origins) - duplicate,
        )

    def _older(self, row: Row, than: Row) -> bool:
        """Say whether the first has an older version; no version is older than any."""
        if self._version is None:
            return False
        mine, other = row[self._version], than[self._version]
        if mine is None or other is None:
            return mine is None and other is not None
        return bool(mine < other)
