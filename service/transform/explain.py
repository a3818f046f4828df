"""What becomes of a record that failed: column by column, it is given nulls, left out, or refused with every fault."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

import msgspec

from service.config.feeds import MapValue
from service.config.paths import parse_path
from service.config.tables import Table
from service.errors import RowRefused
from service.masking import hidden, is_secret, without
from service.model import Message, Row
from service.transform.columns import ColumnCode
from service.transform.violations import Violation, shown

_SAID = 500
"""Characters of what the database says."""


class Fault(msgspec.Struct, frozen=True):
    """What is wrong with one value of a record.

    Attributes:
        column: whose rule it breaks.
        paths: where the column's value comes from.
        rule: short and stable: ``max``.
        told: a sentence with column, path, value, rule and what would make it pass.
    """

    column: str
    paths: tuple[str, ...]
    rule: str
    told: str


class Verdict(msgspec.Struct):
    """What becomes of a record.

    Attributes:
        row: its row; None where it is left out or refused.
        table: that it goes to, or would have; None where it came to none.
        map: where the values of that table's columns come from.
        reason: of the refusal; empty where there is none.
        detail: of the refusal.
        faults: of the refusal, as far as columns are concerned.
        values: of a refused record, column by column; those at fault hold their default, or None.
        carried: for a record of a partial route, the columns that it carries, of its row or of ``values``; else None.
    """

    row: Row | None = None
    reason: str = ""
    detail: str = ""
    faults: tuple[Fault, ...] = ()
    values: Row = ()
    table: str | None = None
    map: Mapping[str, MapValue] = {}
    carried: frozenset[str] | None = None

    def is_secret(self, column: str) -> bool:
        """Say whether a column, or a field that it comes from, is one whose values are not shown."""
        paths = self.map[column].from_ if column in self.map else ()
        return any(map(is_secret, (column, *paths)))


class Judge:
    """Runs each column's code alone, so that every fault of a record is found.

    Args:
        columns: of the table, in order.
        table: the table.
        partial: whether its rows say which columns a record carries.
    """

    def __init__(self, columns: Sequence[ColumnCode], table: Table, *, partial: bool = False) -> None:
        self._columns = [(column, column.alone(), column.column.on_invalid or table.on_invalid) for column in columns]
        self._carries = [column.carries() for column in columns] if partial else None

    def judge(self, record: Any, message: Message, flags: Row = ()) -> Verdict:
        """Judge a record. One fault under `on_invalid: drop` is enough to leave it out.

        Args:
            record: decoded whole.
            message: that it came in.
            flags: what follows the columns in its row.
        """
        values: list[Any] = []
        faults: list[Fault] = []
        for column, settle, on_invalid in self._columns:
            try:
                values.append(settle(record, message))
            except Violation as violation:
                if on_invalid == "drop":
                    return Verdict()
                values.append(column.fallback)
                if on_invalid != "null" or (column.fallback is None and not column.column.null):
                    told = _told(column, violation, record)
                    faults.append(Fault(column.name, column.paths, violation.rule, told))
        carried = None
        if self._carries is not None:
            carried = sum(carries(record, message) << number for number, carries in enumerate(self._carries))
            flags = (*flags, carried)
        names = carried_names(carried, [column.name for column, _, _ in self._columns])
        if not faults:
            return Verdict((*values, *flags), carried=names)
        reason = f"{faults[0].column}: {faults[0].rule}"
        return Verdict(
            None, reason, ". ".join(fault.told for fault in faults), tuple(faults), tuple(values), carried=names
        )

    def dropped(self, record: Any, message: Message) -> str:
        """Say which fault leaves a record out; empty where none does."""
        for column, settle, on_invalid in self._columns:
            try:
                settle(record, message)
            except Violation as violation:
                if on_invalid == "drop":
                    return f"`on_invalid: drop`: {_told(column, violation, record)}"
        return ""


def carried_names(carried: int | None, columns: Sequence[str]) -> frozenset[str] | None:
    """Give the names of the columns that a record carries; None where it is no delta."""
    return None if carried is None else frozenset(name for n, name in enumerate(columns) if carried >> n & 1)


def refused_by_database(row: Sequence[tuple[ColumnCode, Any]], refused: RowRefused) -> str:
    """Tell why the database refused a row, given as columns with their values; secrets among them are not quoted."""
    rule = refused.reason.rpartition(": ")[2]
    named = [
        f"{_origin(column)}: {shown(value, column.name, *column.paths)}"
        for column, value in row
        if column.name in refused.columns
    ]
    where = f"{', '.join(named)} {'are' if len(named) > 1 else 'is'} " if named else ""
    secrets = [str(value) for column, value in row if column.is_secret]
    said = hidden(without(refused.detail, secrets))
    said = said if len(said) <= _SAID else f"{said[:_SAID]}…"
    remedy = "put the rule into the configuration, change it in the database, or correct the provider"
    return f"{where}refused by the database [{rule}]: {said}; {remedy}"


def _told(column: ColumnCode, violation: Violation, record: Any) -> str:
    """Tell one fault: column, path, value, rule and remedy."""
    if violation.rule == "required":
        hints = [hint for path in column.paths if (hint := _hint(record, path))]
        said = f"{_origin(column)} {violation.said}{''.join(hints[:1])}"
    elif violation.rule == "expr":
        said = f"{_origin(column)}: {violation.said} for {shown(record)}"
    else:
        said = f"{_origin(column)}: {shown(violation.value, column.name, *column.paths)} {violation.said}"
    return f"{said} [{violation.rule}]; {violation.remedy}"


def _origin(column: ColumnCode) -> str:
    return f"{column.name} ({' or '.join(column.paths)})" if column.paths else column.name


def _hint(record: Any, path: str) -> str:
    """Say where a path ends in the record, and what is there instead."""
    value = record
    for step in parse_path(path) if not path.startswith("$") else ():
        if isinstance(step, int) or not isinstance(value, dict):
            return ""
        if step not in value:
            close = get_close_matches(step, value, n=1)
            return f" (there is no {step!r}, but {close[0]!r})" if close else f" (there is no {step!r})"
        value = value[step]
    return ""
