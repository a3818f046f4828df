"""What identifies a row, and what says which of two is newer: guessed by names, proved on all records."""

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any

import msgspec

from service.config.paths import Path
from service.config.tables import ColumnType
from service.infer.fields import Field
from service.infer.names import identifies, orders, stem
from service.lookup import lookup

_PROBE = 2_000
"""Records that are looked at before all of them: most combinations repeat within these."""
_MOST = 14
"""Columns that are combined."""
_NEARLY = 0.995
"""Part of the records that a key must tell apart, where none tells all apart."""
_COST: dict[ColumnType, int] = {"uuid": 0, "text": 1, "date": 2, "timestamp": 3, "integer": 4}
"""How unlikely a type is to be a part of a key; what is not here never is."""


class Candidate(msgspec.Struct, frozen=True):
    """A column that may be part of a key, or the version."""

    name: str
    path: Path
    type: ColumnType
    field: Field

    @property
    def cost(self) -> int:
        """How unlikely it is that this identifies: the least is the best."""
        rank = identifies(self.name)
        return rank if rank < 2 else 2 + _COST[self.type]


class Choice(msgspec.Struct, frozen=True):
    """Columns, and why them."""

    columns: tuple[str, ...]
    reason: str


def choose_version(columns: Sequence[Candidate]) -> Choice | None:
    """Choose the version: a moment or a counter that every record has and whose name tells of changes."""
    suited = [
        (rank, column)
        for column in columns
        if column.type in {"timestamp", "integer"}
        and not column.field.optional
        and (rank := orders(column.name)) is not None
        and (rank == 2 or column.type == "timestamp")
    ]
    if not suited:
        return None
    rank, best = min(suited, key=lambda pair: (pair[0], -len(pair[1].field.values)))
    why = ("its name tells of changes", "the finest stamp", "a counter by its name")[rank]
    return Choice((best.name,), f"in every record; {why}")


def choose_key(columns: Sequence[Candidate], records: Sequence[Any], version: str | None) -> Choice | None:
    """Choose the key: the likeliest columns that are never null and tell all records apart."""
    parts = [column for column in columns if column.type in _COST and column.field.hardly_lacks]
    parts.sort(key=lambda column: column.cost)
    total = len(records)
    for column in parts:
        if column.field.optional:
            continue
        if column.name != version and column.cost <= 3 and len(column.field.values) == column.field.present:
            return Choice((column.name,), f"unique over {total} record{'s' if total > 1 else ''}, never null")
    moving = next((column for column in parts if column.name == version), None)
    if moving is not None and (state := _state(parts, moving, records)) is not None:
        return state
    return _combination([column for column in parts if column.name != version][:_MOST], records)


def _state(parts: Sequence[Candidate], moving: Candidate, records: Sequence[Any]) -> Choice | None:
    """Find an identifier that repeats, but never twice with the same version: each record is a newer state."""
    for column in parts:
        if (
            column is not moving
            and identifies(column.name) < 2
            and _distinct((column, moving), records) == len(records)
        ):
            known = len(column.field.values)
            reason = f"{known} values in {len(records)} records, never twice with the same {moving.name}"
            return Choice(
                (column.name,), f"{reason}; if each record is an event of its own: [{column.name}, {moving.name}]"
            )
    return None


def _combination(parts: Sequence[Candidate], records: Sequence[Any]) -> Choice | None:
    best: tuple[int, tuple[Candidate, ...]] | None = None
    for group in _groups(parts):
        if _distinct(group, records[:_PROBE]) < _NEARLY * min(len(records), _PROBE):
            continue
        known = _distinct(group, records)
        if known == len(records):
            return Choice(_names(group), f"unique over {known} records together, never null")
        if known >= _NEARLY * len(records) and (best is None or known > best[0]):
            best = known, group
    if best is None:
        return None
    known, group = best
    return Choice(_names(group), f"{known} of {len(records)} records differ in these; of the others the last wins")


def _groups(parts: Sequence[Candidate]) -> Iterator[tuple[Candidate, ...]]:
    """Give pairs, then triples, the likeliest first: twins such as home_team and away_team go together."""
    for size in (2, 3):
        groups = [group for group in combinations(parts, size) if all(len(column.field.values) > 1 for column in group)]
        yield from sorted(groups, key=lambda group: sum(column.cost for column in group) - 2 * _twins(group))


def _twins(group: Sequence[Candidate]) -> int:
    stems = [stem(column.name) for column in group]
    return len(stems) - len(set(stems))


def _distinct(group: Sequence[Candidate], records: Sequence[Any]) -> int:
    """Count the different values of those records that lack none."""
    every = (_values(group, record) for record in records)
    return len({values for values in every if None not in values and "" not in values})


def _values(group: Sequence[Candidate], record: Any) -> tuple[Any, ...]:
    return tuple(lookup(record, column.path) for column in group)


def _names(group: Sequence[Candidate]) -> tuple[str, ...]:
    order = sorted(group, key=lambda column: column.type not in {"date", "timestamp"})
    return tuple(column.name for column in order)
