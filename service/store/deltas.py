"""Deltas: the records of one key are merged column by column, and each learns what became of its part.

The law of a table that partial feeds write: every column holds the value of the newest record that carried it; of
equally new ones the one that arrived last, and without a `version` always that one. A record without a version is older
than any with one. The row's own version is that of the newest record. Whatever is cut into batches, in whatever order
it arrives, the table ends the same.
"""

from collections.abc import Mapping, Sequence
from operator import itemgetter
from types import MappingProxyType
from typing import Any

import msgspec

from service.config.tables import Table
from service.model import Counts, Row

_NONE: Mapping[int, Any] = MappingProxyType({})


class Delta(msgspec.Struct, frozen=True, gc=False):
    """One record for one row, of some of its columns or of all.

    Attributes:
        row: the values of all columns; those that it does not carry are what a new row would get.
        carried: bit n says whether it carries column n.
        place: the index of its row in the batch; of one that waited, its place before them: negative, in order.
        id: of one that waited, its id in ``headrace.waiting``.
        deletes: whether it deletes the row of its key.
    """

    row: Row
    carried: int
    place: int
    id: int | None = None
    deletes: bool = False


class Merged(msgspec.Struct, gc=False):
    """What the records of one key come to.

    Attributes:
        row: the values.
        carried: bit n says whether any of them carries column n.
        versions: of each column that is not of the newest record, the version of that which it is of.
        parts: the records that it is made of, newest first, each with the columns that are its own.
        lost: the records of which nothing is left.
        deletes: it is a single deletion.
    """

    row: Row
    carried: int
    parts: Sequence[tuple[Delta, int]]
    versions: Mapping[int, Any] = _NONE
    lost: Sequence[Delta] = ()
    deletes: bool = False


class Merging:
    """Merges the records of one table.

    Attributes:
        all: the number of a record that carries every column.
    """

    def __init__(self, table: Table) -> None:
        names = list(table.columns)
        self._width = len(names)
        self._key = itemgetter(*map(names.index, table.key))
        self._version = None if table.version is None else names.index(table.version)
        self.all = (1 << self._width) - 1

    def deltas(self, rows: Sequence[Row], *, deletable: bool) -> list[Delta]:
        """Read the rows of a batch; see ``Row``."""
        width, whole = self._width, self.all
        flagged = width + deletable
        return [
            Delta(
                row[:width],
                row[flagged] if len(row) > flagged else whole,
                place,
                deletes=deletable and row[width] is True,
            )
            for place, row in enumerate(rows)
        ]

    def rounds(self, deltas: Sequence[Delta]) -> list[list[Delta]]:
        """Part records so that those before a deletion of their key, the deletion and those after it are apart.

        What a deletion leaves depends on what there was when it came, so it is never merged with others.
        """
        if not any(delta.deletes for delta in deltas):
            return [list(deltas)]
        rounds: list[list[Delta]] = []
        last: dict[Any, tuple[int, bool]] = {}
        for delta in deltas:
            key = self._key(delta.row)
            number, deleted = last.get(key, (0, delta.deletes))
            number += deleted or delta.deletes if key in last else 0
            last[key] = (number, delta.deletes)
            if number == len(rounds):
                rounds.append([])
            rounds[number].append(delta)
        return rounds

    def merged(self, deltas: Sequence[Delta]) -> list[Merged]:
        """Merge the records of each key, in the order in which the keys first came."""
        keys = [self._key(delta.row) for delta in deltas]
        if len(set(keys)) == len(keys):
            return [self._alone(delta) for delta in deltas]
        groups: dict[Any, list[Delta]] = {}
        for key, delta in zip(keys, deltas, strict=True):
            groups.setdefault(key, []).append(delta)
        return [self.merge(group) for group in groups.values()]

    def merge(self, group: Sequence[Delta]) -> Merged:
        """Merge records of one key."""
        if len(group) == 1:
            return self._alone(group[0])
        newest, *older = sorted(group, key=self._age, reverse=True)
        values, carried = list(newest.row), newest.carried
        parts, lost, versions = [(newest, newest.carried)], [], dict[int, Any]()
        for delta in older:
            fresh = delta.carried & ~carried
            if not fresh:
                lost.append(delta)
                continue
            carried |= fresh
            parts.append((delta, fresh))
            is_older = self._version is not None and delta.row[self._version] != newest.row[self._version]
            for number in range(self._width):
                if fresh >> number & 1:
                    values[number] = delta.row[number]
                    if is_older:
                        versions[number] = self.version(delta)
        return Merged(tuple(values), carried, parts, versions, lost)

    def version(self, delta: Delta) -> Any:
        """Give the version of a record; None without one."""
        return None if self._version is None else delta.row[self._version]

    def _alone(self, delta: Delta) -> Merged:
        return Merged(delta.row, delta.carried, ((delta, delta.carried),), deletes=delta.deletes)

    def _age(self, delta: Delta) -> tuple[bool, Any, int]:
        version = self.version(delta)
        return (version is not None, 0 if version is None else version, delta.place)


def count_lost(merged: Merged, counts: Counts) -> None:
    """Count the records of a batch of which nothing is left: those that a newer one repeats are duplicates."""
    kept = [(delta.row, delta.carried) for delta, _ in merged.parts]
    for delta in merged.lost:
        if delta.id is None:
            is_same = (delta.row, delta.carried) in kept
            counts.duplicate += is_same
            counts.stale += not is_same


def outcomes(merged: Merged, outcome: str, won: int, changed: int, required: int) -> list[tuple[Delta, str]]:
    """Say what became of each record that a row was made of.

    Of several that a new row is made of one inserted it: one that could do so alone, if there is one.

    Args:
        merged: the row.
        outcome: what became of it: ``inserted``, ``updated``, ``unchanged``, ``stale``, ``filtered``, ``deleted``.
        won: bit n says whether column n was newer than what was there.
        changed: bit n says whether it differed, too.
        required: bit n says whether there is no row without column n.
    """
    found = []
    able = [delta for delta, _ in merged.parts if not required & ~delta.carried] or [merged.parts[0][0]]
    maker = next((delta for delta in able if delta.id is None), able[0])
    for delta, own in merged.parts:
        told = outcome
        if outcome == "inserted" and delta is not maker:
            told = "updated"
        elif outcome in {"updated", "unchanged", "stale"}:
            told = "updated" if own & changed else "unchanged" if own & won else "stale"
        found.append((delta, told))
    return found
