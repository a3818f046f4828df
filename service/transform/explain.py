"""What becomes of a record that failed: column by column, it is given nulls, left out, or refused with every fault."""

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

import msgspec

from service.config.paths import parse_path
from service.config.tables import Table
from service.model import Message, Row
from service.transform.columns import ColumnCode
from service.transform.violations import Violation, shown


class Verdict(msgspec.Struct):
    """What becomes of a record that failed.

    Attributes:
        row: its row, where `on_invalid: null` makes it fit; None where it is left out or refused.
        reason: of the refusal; empty where there is none.
        detail: of the refusal.
    """

    row: Row | None = None
    reason: str = ""
    detail: str = ""


class Judge:
    """Runs each column's code alone, so that every fault of a record is found."""

    def __init__(self, columns: Sequence[ColumnCode], table: Table) -> None:
        self._columns = [(column, column.alone(), column.column.on_invalid or table.on_invalid) for column in columns]

    def judge(self, record: Any, message: Message) -> Verdict:
        """Judge a record. One fault under `on_invalid: drop` is enough to leave it out."""
        values: list[Any] = []
        faults: list[tuple[ColumnCode, Violation]] = []
        for column, settle, on_invalid in self._columns:
            try:
                values.append(settle(record, message))
            except Violation as violation:
                if on_invalid == "drop":
                    return Verdict()
                values.append(column.fallback)
                if on_invalid != "null" or (column.fallback is None and not column.column.null):
                    faults.append((column, violation))
        if not faults:
            return Verdict(tuple(values))
        detail = ". ".join(_told(column, fault, record) for column, fault in faults)
        return Verdict(None, f"{faults[0][0].name}: {faults[0][1].rule}", detail)


def _told(column: ColumnCode, violation: Violation, record: Any) -> str:
    """Tell one fault: column, path, value, rule and remedy."""
    origin = f" ({' or '.join(column.paths)})" if column.paths else ""
    if violation.rule == "required":
        hints = [hint for path in column.paths if (hint := _hint(record, path))]
        return f"{column.name}{origin} {violation.said}{''.join(hints[:1])}; {violation.remedy}"
    return f"{column.name}{origin}: {shown(violation.value)} {violation.said}; {violation.remedy}"


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
