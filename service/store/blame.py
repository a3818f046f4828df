"""Blame: which columns of a refused row break which rule, as far as the database's error does not tell by itself."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from service.model import Row
from service.store.sqlstate import RowFault, faults
from service.store.tables import DIALECT
from service.store.upsert import driver_of

_TREE = "(SELECT relid FROM pg_partition_tree(to_regclass(:table)) UNION SELECT to_regclass(:table))"
_RULE = sa.text(f"""
SELECT pg_get_constraintdef(c.oid, true), ARRAY(SELECT attname::text FROM pg_attribute
    WHERE attrelid = c.conrelid AND attnum = ANY (c.conkey) ORDER BY attnum)
FROM pg_constraint c JOIN pg_namespace n ON n.oid = c.connamespace
WHERE c.conname = :name AND (c.conrelid IN {_TREE} OR c.contypid <> 0 AND n.nspname = :schema)
UNION ALL
SELECT pg_get_indexdef(i.oid), ARRAY(SELECT DISTINCT attname::text FROM pg_depend
    JOIN pg_attribute ON attrelid = refobjid AND attnum = refobjsubid
    WHERE classid = 'pg_class'::regclass AND objid = i.oid AND refobjid = x.indrelid AND refobjsubid > 0)
FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid WHERE i.relname = :name AND x.indrelid IN {_TREE}
LIMIT 1
""")  # noqa: S608  our own words
_TYPES = sa.text(
    "SELECT attname::text, format_type(atttypid, atttypmod) FROM pg_attribute"
    " WHERE attrelid = to_regclass(:table) AND attnum > 0 AND NOT attisdropped"
)


class Blame:
    """Looks for it within a transaction that will be rolled back.

    Args:
        connection: in it.
        target: the table that the rows are of.
        names: of the columns, in the order of a row.
    """

    def __init__(self, connection: AsyncConnection, target: sa.Table, names: Sequence[str]) -> None:
        self._connection = connection
        self._table = str(DIALECT.identifier_preparer.format_table(target))
        self._plain = target.name
        self._names = names
        self._types: dict[str, str] = {}
        self._rules: dict[str, tuple[str, tuple[str, ...]]] = {}
        self._known: set[str] = set()

    async def find(self, row: Row, fault: RowFault) -> None:
        """Note in a fault the columns that are to blame, and the rule in its own words."""
        if fault.relation is not None:  # a temporary table of ours, or a partition
            fault.detail = fault.detail.replace(f'"{fault.relation}"', f'"{self._plain}"')
        if fault.constraint is not None:
            rule, fault.columns = await self._rule(fault)
            fault.detail += f", {rule}" if rule else ""
        if not fault.columns and fault.is_of_data:
            await self._try(row, fault)

    async def _rule(self, fault: RowFault) -> tuple[str, tuple[str, ...]]:
        name = fault.constraint or ""
        if name not in self._rules:
            terms = {"table": self._table, "name": name, "schema": fault.schema}
            found = (await self._connection.execute(_RULE, terms)).one_or_none()
            self._rules[name] = ("", ()) if found is None else (found[0], tuple(found[1]))
        return self._rules[name]

    async def _try(self, row: Row, fault: RowFault) -> None:
        """Give each value alone to the type of its column; the first that fails as the row did is to blame."""
        if not self._types:
            self._types = dict(map(tuple, await self._connection.execute(_TYPES, {"table": self._table})))
        values = [(name, value) for name, value in zip(self._names, row, strict=False) if name in self._types]
        for name, value in sorted(values, key=lambda each: each[0] not in self._known):
            if await self._fails(value, self._types[name], fault):
                self._known.add(name)
                fault.columns = (name,)
                fault.place = fault.place or name
                fault.detail += f"; the type of the column is {self._types[name]}"
                return

    async def _fails(self, value: Any, kind: str, fault: RowFault) -> bool:
        driver = await driver_of(self._connection)
        try:
            with faults():
                async with self._connection.begin_nested():
                    await driver.fetchval(f"SELECT $1::{kind}", value)  # a type as the catalogue writes it
        except RowFault as found:
            # The driver calls whatever it cannot encode "data".
            return found.condition in {fault.condition, "data"}
        return False
