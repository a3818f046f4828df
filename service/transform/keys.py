"""The keys of a feed's records, even of those that give no row, and what is constant in them."""

from collections.abc import Sequence
from typing import Any

from service.config.feeds import Map
from service.model import Message, Row
from service.transform.code import build
from service.transform.columns import ColumnCode
from service.transform.violations import Violation


class Keys:
    """Gives keys in the order of the table's key.

    Args:
        columns: of the table, in order.
        key: of the table.
        mapped: where their values come from.
        kinds: what a record may be.

    Attributes:
        scope: the key columns that are the same in all records of the feed, with their values.
    """

    def __init__(
        self, columns: Sequence[ColumnCode], key: tuple[str, ...], mapped: Map, kinds: tuple[type, ...]
    ) -> None:
        self._kinds = kinds
        names = [column.name for column in columns]
        self._numbers = [names.index(name) for name in key]
        wanted = [columns[number] for number in self._numbers]
        body, constants = [], dict[str, Any]()
        for number, column in enumerate(wanted):
            body += [*column.lines, f"k{number} = v"]
            constants |= column.constants
        values = ", ".join(f"k{number}" for number in range(len(wanted)))
        self._key = build("key(r, m)", [*body, f"return ({values},)"], constants)
        self.scope: dict[str, Any] = {
            column.name: column.alone()({}, None)
            for column in wanted
            if column.name in mapped and mapped[column.name].is_constant
        }

    def of_row(self, row: Row) -> Row:
        """Give the key of a row."""
        return tuple(row[number] for number in self._numbers)

    def of(self, record: Any, message: Message) -> Row | None:
        """Give the key of a record: empty where a part of it is missing, None where it cannot be told."""
        try:
            return self._key(record, message) if type(record) in self._kinds else None
        except Violation as violation:
            return () if violation.rule == "required" else None
