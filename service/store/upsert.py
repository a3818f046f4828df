"""The upsert of one table: COPY into a temporary table, then one INSERT that never lets an older version win."""

from collections.abc import Iterator, Sequence
from typing import Any

import asyncpg
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.expression import ColumnElement

from service.config.tables import Table
from service.model import Counts, Row
from service.store.sqlstate import faults, unencodable
from service.store.tables import DIALECT


class Upsert:
    """Statements built once, with one text whatever the size of a batch.

    Attributes:
        stage_sql: makes the temporary table, which has the very types of the target and goes with the transaction.
    """

    def __init__(self, target: sa.Table, settings: Table, number: int, *, partitioned: bool = False) -> None:
        self._target = target
        self._settings = settings
        self._names = tuple(settings.columns)
        self._partitioned = partitioned
        columns = [sa.Column(column.name, column.type) for column in target.columns]
        self._stage = sa.Table(f"headrace_stage_{number}", sa.MetaData(), *columns, schema="pg_temp")
        select = sa.select(*target.columns).compile(dialect=DIALECT)
        self.stage_sql = f"CREATE TEMPORARY TABLE {self._stage.name} ON COMMIT DROP AS {select} WITH NO DATA"
        self._merge = self._merging()
        self._stale = self._staleness()

    async def write(self, connection: AsyncConnection, rows: Sequence[Row]) -> Counts:
        """Write rows with distinct keys; the temporary table exists and is empty.

        Returns:
            What became of them: ``inserted``, ``updated``, ``unchanged`` and ``stale`` add up to the rows.

        Raises:
            RowFault: the database refuses a row; its index is known if the COPY found it.
        """
        await self._copy(connection, rows)
        inserted, updated = (await connection.execute(self._merge)).one()
        counts = Counts(inserted=inserted, updated=updated)
        rest = len(rows) - counts.loaded
        if rest and self._stale is not None:
            counts.stale = (await connection.execute(self._stale)).scalar_one()
        counts.unchanged = rest - counts.stale
        return counts

    async def empty(self, connection: AsyncConnection) -> None:
        """Empty the temporary table for the next rows of the same transaction."""
        await connection.execute(sa.text(f"TRUNCATE pg_temp.{self._stage.name}"))

    async def _copy(self, connection: AsyncConnection, rows: Sequence[Row]) -> None:
        taken = -1

        def counted() -> Iterator[Row]:
            nonlocal taken
            for taken, row in enumerate(rows):  # noqa: B007  read below
                yield row

        driver = await driver_of(connection)
        with faults():
            try:
                await driver.copy_records_to_table(
                    self._stage.name, schema_name="pg_temp", records=counted(), columns=self._names
                )
            except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
                raise
            except (TypeError, ValueError, ArithmeticError, AttributeError) as error:
                # asyncpg takes and encodes one row after another: it is the last that was taken. (It gives the loop a
                # turn after each 512 KiB, about 5 ms.)
                raise unencodable(error, taken) from error

    def _merging(self) -> "sa.Select[int, int]":
        """Build the INSERT that counts what it wrote.

        Rows go in in the order of the key, so that concurrent batches cannot deadlock.
        """
        target, stage, key = self._target, self._stage, self._settings.key
        ordered = sa.select(*stage.columns).order_by(*(stage.c[name] for name in key))
        insert = pg.insert(target).from_select(self._names, ordered)
        others = [name for name in self._names if name not in key]
        if others:
            new = insert.excluded
            changed = sa.or_(*(self._differs(target.c[name], new[name]) for name in others))
            insert = insert.on_conflict_do_update(
                index_elements=list(key),
                set_={name: new[name] for name in others},
                where=sa.and_(self._not_older(new), changed),
            )
        else:
            insert = insert.on_conflict_do_nothing(index_elements=list(key))
        return self._counting(insert)

    def _counting(self, insert: pg.Insert) -> "sa.Select[int, int]":
        """Count inserted and updated rows.

        A row that this statement inserted has no xmax; one that it updated carries the lock that it took. Partitioned
        tables do not return system columns: there a row counts as updated when the statement's snapshot had its key.
        """
        target, key = self._target, self._settings.key
        if self._partitioned:
            written = insert.returning(*(target.c[name] for name in key)).cte("written")
            same = sa.and_(*(target.c[name] == written.c[name] for name in key))
            known: ColumnElement[bool] = target.c[key[0]].is_not(None)
            source: sa.FromClause = written.outerjoin(target, same)
        else:
            written = insert.returning(sa.literal_column("(xmax <> 0)", sa.Boolean).label("known")).cte("written")
            known, source = written.c.known, written
        return sa.select(
            sa.func.count().filter(~known).label("inserted"), sa.func.count().filter(known).label("updated")
        ).select_from(source)

    def _staleness(self) -> "sa.Select[int] | None":
        """Build the count of rows that lost to a newer one, asked after the INSERT, which has locked them."""
        if self._settings.version is None:
            return None
        target, stage = self._target, self._stage
        same = sa.and_(*(target.c[name] == stage.c[name] for name in self._settings.key))
        older = ~self._not_older(stage.columns)
        return sa.select(sa.func.count()).select_from(stage.join(target, same)).where(older)

    def _not_older(self, new: Any) -> ColumnElement[bool]:
        """Compare versions; no version is older than any. Text compares by code point, as Python does."""
        name = self._settings.version
        if name is None:
            return sa.true()
        mine: ColumnElement[Any] = self._target.c[name]
        theirs: ColumnElement[Any] = new[name]
        if self._settings.columns[name].type == "text":
            mine, theirs = sa.collate(mine, "C"), sa.collate(theirs, "C")
        return sa.or_(self._target.c[name].is_(None), sa.func.coalesce(theirs >= mine, sa.false()))

    def _differs(self, mine: ColumnElement[Any], theirs: ColumnElement[Any]) -> ColumnElement[bool]:
        """Compare contents; the type json of a user's own table has no equality of its own."""
        if isinstance(mine.type, pg.JSONB):
            mine, theirs = sa.cast(mine, pg.JSONB), sa.cast(theirs, pg.JSONB)
        elif isinstance(mine.type, pg.ARRAY) and isinstance(mine.type.item_type, pg.JSONB):
            mine, theirs = sa.cast(mine, mine.type), sa.cast(theirs, mine.type)
        return mine.is_distinct_from(theirs)


async def driver_of(connection: AsyncConnection) -> "asyncpg.Connection[Any]":
    """Give asyncpg's connection beneath SQLAlchemy's; its transaction must have begun."""
    driver: asyncpg.Connection[Any] | None = (await connection.get_raw_connection()).driver_connection
    if driver is None:
        raise asyncpg.InterfaceError("the connection is gone")
    return driver
