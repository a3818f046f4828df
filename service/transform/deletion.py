"""``delete_when``: which records delete the row of their key, and what is asked of such a record."""

from collections.abc import Sequence
from typing import Any

from service.config.tables import Table
from service.model import Message, Row
from service.transform.code import indented
from service.transform.columns import ColumnCode
from service.transform.explain import Judge, Verdict
from service.transform.where import Where


class Deletion:
    """Looks at the key columns of a record, and at the version; whatever else it holds does not matter.

    Args:
        expression: the feed's ``delete_when``.
        columns: of the table, in order.
        table: the table.
    """

    def __init__(self, expression: str, columns: Sequence[ColumnCode], table: Table) -> None:
        self.when = Where(expression, "delete_when")
        wanted = {*table.key, table.version}
        self._size = len(columns)
        self._numbers = [number for number, column in enumerate(columns) if column.name in wanted]
        self._columns = [columns[number] for number in self._numbers]
        self._judge = Judge(self._columns, table)

    @property
    def constants(self) -> dict[str, Any]:
        """What the lines close over besides the columns' own constants."""
        return {"delete_when": self.when}

    @property
    def lines(self) -> list[str]:
        """The lines that keep the row of a deletion, and leave any other record to the lines that follow."""
        values = ["None"] * self._size
        body = []
        for number, column in zip(self._numbers, self._columns, strict=True):
            body += [*column.lines, f"d{number} = v"]
            values[number] = f"d{number}"
        body += [f"keep(({', '.join(values)}, True))", "continue"]
        return ["if delete_when(r):", *indented(body)]

    def judge(self, record: Any, message: Message) -> Verdict:
        """Judge a deletion whose key or version failed."""
        verdict = self._judge.judge(record, message)
        verdict.values = ()  # of some columns only
        if verdict.row is not None:
            values: list[Any] = [None] * self._size
            for number, value in zip(self._numbers, verdict.row, strict=True):
                values[number] = value
            row: Row = (*values, True)
            verdict.row = row
        return verdict
