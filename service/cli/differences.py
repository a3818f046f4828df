"""How differences between a replay and the tables are shown."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from service.store.difference import Difference
from service.transform.violations import shown

_MARKS = {"-": "red", "+": "green", "~": "yellow"}


def show_differences(terminal: Console, differences: Sequence[Difference]) -> None:
    """Print each table's figures, and rows: ``+`` only in the replay, ``-`` only in the table, ``~`` different."""
    for each in differences:
        terminal.print(
            f"{each.table}: {each.same:,} rows are the same, {each.differing:,} differ, {each.only_replay:,} only in"
            f" the replay, {each.only_table:,} only in the table"
        )
        if each.columns:
            columns = ", ".join(f"{name} in {count:,}" for name, count in each.columns.items())
            terminal.print(f"  columns that differ: {columns}")
        for row in each.rows_differing:
            _row(terminal, "~", {name: value for name, value in row.items() if not isinstance(value, Mapping)}, row)
        _more(terminal, each.differing - len(each.rows_differing), "differ")
        for mark, rows, count, where in (
            ("+", each.rows_only_replay, each.only_replay, "only in the replay"),
            ("-", each.rows_only_table, each.only_table, "only in the table"),
        ):
            for row in rows:
                _row(terminal, mark, row, {})
            _more(terminal, count - len(rows), where)


def _row(terminal: Console, mark: str, key: Mapping[str, Any], columns: Mapping[str, Any]) -> None:
    """Print a row by its key, and below it both values of each column that differs."""
    named = ", ".join(f"{name} {shown(value, name)}" for name, value in key.items())
    terminal.print(Text.assemble((f"{mark} ", _MARKS[mark]), named))
    for name, pair in columns.items():
        if isinstance(pair, Mapping):
            replayed, there = shown(pair["replay"], name), shown(pair["table"], name)
            terminal.print(f"    {name}: {replayed} in the replay, {there} in the table")


def _more(terminal: Console, count: int, how: str) -> None:
    if count > 0:
        terminal.print(f"  … {count:,} more {how}; --limit shows more")
