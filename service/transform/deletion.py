"""``delete_when``: which records delete the row of their key, and what is asked of such a record."""

from collections.abc import Sequence
from typing import Any

from service.config.tables import Table
from service.model import Message, Row
from service.transform.code import Code, indented
from service.transform.columns import ColumnCode
from service.transform.explain import Judge, Verdict
from service.transform.shape import Shape
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

    def emit(self, code: Code, columns: Sequence[ColumnCode], shape: Shape | None, kept: Sequence[str]) -> None:
        """Add the lines that keep the row of a deletion, and leave any other record to the lines that follow.

        Args:
            code: receives the lines.
            columns: of the table, in order; those for the shape, where there is one.
            shape: of the record, where it was decoded to one.
            kept: the lines that keep a row, which they find in ``row``.
        """
        self.when.emit_test(code, shape)
        values = ["None"] * self._size
        body = []
        for number in self._numbers:
            code.constants |= columns[number].constants
            body += [*columns[number].lines, f"d{number} = v"]
            values[number] = f"d{number}"
        body += [f"row = ({', '.join(values)}, True)", *kept]
        code.add("if w:", *indented(body))

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
