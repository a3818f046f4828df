"""Exactness: what a narrower column of a user's own table would round without a word is refused instead."""

from collections.abc import Mapping

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from service.store.sqlstate import RowFault
from service.store.tables import DIALECT, quoted


class Exactness:
    """Looks at the staged rows, whose types hold any value, for one that its column would round.

    Args:
        stage: the temporary table.
        rounding: the type, as SQL has it, of each column that rounds: ``numeric(10,2)``, ``timestamptz(0)``.
    """

    def __init__(self, stage: sa.Table, rounding: Mapping[str, str]) -> None:
        changed = [  # numbers, quoted names, and types as the catalogue writes them
            f"SELECT {number} AS number FROM pg_temp.{stage.name} "  # noqa: S608
            f"WHERE {quoted(name)} IS DISTINCT FROM {quoted(name)}::{kind}::{stage.c[name].type.compile(DIALECT)}"
            for number, (name, kind) in enumerate(rounding.items())
        ]
        self._columns = list(rounding.items())
        self._sql = f"{' UNION ALL '.join(changed)} LIMIT 1"

    async def check(self, connection: AsyncConnection) -> None:
        """Look at the rows.

        Raises:
            RowFault: one of them would be rounded; which one is not told.
        """
        found = (await connection.exec_driver_sql(self._sql)).one_or_none()
        if found is not None:
            name, kind = self._columns[found.number]
            fault = RowFault("precision", f"the type of the column, {kind}, would round it", name)
            fault.columns = (name,)
            raise fault
