"""Side by side in the terminal: a raw record with its mapped and refused values marked, and its row."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from service.config.feeds import MapValue
from service.transform.explain import Fault, Verdict
from service.workbench.outline import cell, located, outline

MAPPED, AT_FAULT = "•", "✗"
_STYLES = {MAPPED: "cyan", AT_FAULT: "bold red"}
_MOST = 60
"""Lines of a record that are shown."""


def show(console: Console, record: Any, verdict: Verdict, columns: Sequence[str]) -> None:
    """Print a record beside what becomes of it; the marks carry the meaning, colour only repeats it."""
    sides = Table.grid(padding=(0, 2), expand=True)
    sides.add_column(ratio=1, overflow="fold")
    sides.add_column(ratio=1, overflow="fold")
    sides.add_row(_raw(record, verdict.faults, verdict.map), _row(verdict, columns))
    console.print(sides)
    for told in [fault.told for fault in verdict.faults] or [verdict.detail]:
        if told:
            console.print(Text(f"{AT_FAULT} {told}", style="red"))


def marked(record: Any, paths: Mapping[str, tuple[str, ...]], at_fault: Sequence[str]) -> Text:
    """Write a record with a mark before each value that a column comes from.

    Args:
        record: decoded.
        paths: by column, where its value comes from.
        at_fault: the columns whose values are refused.
    """
    places = {column: located(record, of) for column, of in paths.items()}
    refused = {places.get(column) for column in at_fault} - {None}
    mapped = set(places.values()) - {None}
    lines, seen = [], set()
    for line in outline(record):
        first = line.path not in seen
        seen.add(line.path)
        mark = (
            AT_FAULT
            if first and line.path in refused
            else MAPPED
            if first and line.path in mapped and line.path
            else " "
        )
        lines.append(Text(f"{mark} {line.text}", style=_STYLES.get(mark, "dim")))
    if len(lines) > _MOST:
        lines[_MOST:] = [Text(f"  … {len(lines) - _MOST} more lines", style="dim")]
    return Text("\n").join(lines)


def _raw(record: Any, faults: Sequence[Fault], mapping: Mapping[str, MapValue]) -> Text:
    paths = {column: value.from_ for column, value in mapping.items() if value.from_}
    return marked(record, paths, [fault.column for fault in faults])


def _row(verdict: Verdict, columns: Sequence[str]) -> Table | Text:
    values = verdict.row if verdict.row is not None else verdict.values
    if not values:
        return Text("" if verdict.reason else "left out", style="dim")
    faults = {fault.column: fault.rule for fault in verdict.faults}
    grid = Table.grid(padding=(0, 1))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for column, value in zip(columns, values, strict=True):
        if verdict.carried is not None and column not in verdict.carried:
            continue
        if column in faults:
            grid.add_row(Text(f"{AT_FAULT} {column}", style=_STYLES[AT_FAULT]), Text(faults[column], style="red"))
        else:
            grid.add_row(
                Text(f"  {column}"),
                Text(cell(value, secret=verdict.is_secret(column)), style="dim" if value is None else ""),
            )
    return grid
