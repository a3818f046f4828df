"""The fields of records: every path with all the values that it leads to."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from service.config.paths import Path
from service.config.tables import Column
from service.transform.kinds import KINDS
from service.transform.violations import Violation

DEEP = 5
"""Levels of objects that become columns; what lies deeper stays json."""
SLIPS = 0.005
"""Part of the records whose lack of a field, or bad value, is a rare slip of the provider's, for the quarantine."""
_MANY_KEYS = 30
"""Keys above which an object is taken for a map with data as keys, if few records have each."""
_WIDE = 12
"""Items of an inner list, always as many and plain, that become columns of their own."""


class Field(msgspec.Struct):
    """One path.

    Attributes:
        path: into the record.
        records: how many records there are.
        values: how often which value occurs, those that are not null; empty where they cannot be compared.
        present: in how many records there is a value that is not null.
        nested: whether a value is an object or a list, so that it stays json.
        required: whether a record without a value shall be refused.
        unfit: how many objects and lists not even json can hold, such as one with a NUL character in it.
    """

    path: Path
    records: int
    values: Counter[Any]
    present: int = 0
    nested: bool = False
    required: bool = False
    unfit: int = 0

    @property
    def hardly_lacks(self) -> bool:
        """Whether it lacks in so few records that it may be part of a key."""
        return self.present >= (1 - SLIPS) * self.records

    @property
    def optional(self) -> bool:
        """Whether a record may be without a value."""
        return self.present < self.records and not self.required


def walk(records: Sequence[Any]) -> list[Field]:
    """Give the fields of all records, in the order in which they first come."""
    opened = _opened(records)
    fields: dict[Path, Field] = {}
    for record in records:
        for path, value in _leaves(record, (), opened):
            if path not in fields:
                fields[path] = Field(path, len(records), Counter())
            _note(fields[path], value)
    # A path that is an object here and null there has a field of its own that holds nothing.
    return [field for path, field in fields.items() if path not in opened or field.present]


def _note(field: Field, value: Any) -> None:
    if value is None or (isinstance(value, str) and not value.strip()):
        return
    field.present += 1
    if isinstance(value, dict | list):
        field.nested = True
        field.unfit += not fits(Column(type="json"), value)
    else:
        field.values[type(value).__name__, value] += 1


def fits(column: Column, *values: Any) -> bool:
    """Say whether every value converts to a column's type without loss."""
    convert = KINDS[column.type].convert(column)
    try:
        for value in values:
            convert(value)
    except Violation:
        return False
    return True


def _leaves(value: Any, path: Path, opened: set[Path]) -> Iterator[tuple[Path, Any]]:
    if path in opened and isinstance(value, dict | list):
        for step, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _leaves(item, (*path, step), opened)
    else:
        yield path, value


def _opened(records: Sequence[Any]) -> set[Path]:
    """Give the paths whose objects, or lists of fixed length, become columns."""
    opened: set[Path] = {()}
    level: dict[Path, list[Any]] = {(): list(records)}
    for _ in range(DEEP):
        below: dict[Path, list[Any]] = defaultdict(list)
        for path, values in level.items():
            for value in values:
                for step, item in value.items() if isinstance(value, dict) else enumerate(value):
                    if item is not None:
                        below[*path, step].append(item)
        level = {path: values for path, values in below.items() if _opens(path, values)}
        opened |= set(level)
    return opened


def _opens(path: Path, values: list[Any]) -> bool:
    if all(isinstance(value, dict) for value in values):
        keys = Counter(key for value in values for key in value)
        return bool(keys) and not (len(keys) > _MANY_KEYS and max(keys.values()) < len(values) / 2)
    if not all(isinstance(value, list) for value in values) or isinstance(path[0], str):
        return False  # within an object a list stays a list
    lengths = {len(value) for value in values}
    plain = not any(isinstance(item, dict | list) for value in values for item in value)
    return plain and len(lengths) == 1 and 0 < min(lengths) <= _WIDE
