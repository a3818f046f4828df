"""The direct way into a table: a few rows as parameters of one statement, which spares a temporary table and its COPY.

A temporary table costs entries in the catalogue, which a daemon with many small batches would keep vacuuming.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import asyncpg
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from service.config.tables import Table
from service.model import Row
from service.store.found import Found
from service.store.tables import DIALECT

FEW = 200
"""Rows up to which this is the faster way; above it, the COPY is."""


class Statement:
    """A statement over rows that are its parameters: an array for each column.

    Args:
        target: the table whose columns the rows have.
        names: of the columns, in the order of a row.
        build: builds the statement, given the rows.
    """

    def __init__(
        self, target: sa.Table, names: Sequence[str], build: Callable[[sa.FromClause], "sa.Select[int, int]"]
    ) -> None:
        self._types = [(name, target.c[name].type) for name in names]
        self._build = build

    @functools.cached_property
    def _compiled(self) -> tuple[str, list[int]]:
        """The SQL, and the columns in the order of its parameters. It takes 1 ms: not before it is needed."""
        binds = [sa.bindparam(str(number), type_=pg.ARRAY(kind)) for number, (_, kind) in enumerate(self._types)]
        columns = (sa.column(name, kind) for name, kind in self._types)
        rows = sa.func.unnest(*binds).table_valued(*columns, name="stage").render_derived()
        compiled = self._build(rows).compile(dialect=DIALECT)
        return str(compiled), [int(key) for key in compiled.positiontup or ()]

    async def __call__(self, driver: "asyncpg.Connection[Any]", rows: Sequence[Row]) -> tuple[int, int]:
        """Run it; give its two figures.

        Raises:
            asyncpg.PostgresError: the driver or the database refuses a row; which one is not told.
        """
        sql, numbers = self._compiled
        columns = list(zip(*rows, strict=True))
        found = await driver.fetchrow(sql, *(columns[number] for number in numbers))
        return tuple(found or (0, 0))


def fits(target: sa.Table, settings: Table, found: Found | None) -> bool:
    """Say whether a table's rows can be given as parameters: of the very types that we would make, and no lists."""
    if settings.mode != "upsert" or any(column.list for column in settings.columns.values()):
        return False
    if found is None:
        return True
    there = {
        name: column["type"].compile(DIALECT) for name, column in found.columns.items() if name in settings.columns
    }
    return all(there.get(name) == target.c[name].type.compile(DIALECT) for name in settings.columns)
