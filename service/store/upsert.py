"""The writes of one table: COPY into a temporary table, then one statement that never lets an older version win."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from hashlib import blake2b
from typing import Any

import asyncpg
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.expression import ColumnElement

from service.config.tables import Table
from service.model import Counts, Row
from service.store import direct
from service.store.compare import differ, not_older, same_key
from service.store.exactness import Exactness
from service.store.found import Found
from service.store.history import History
from service.store.sqlstate import faults, unencodable
from service.store.tables import DIALECT
from service.store.tombstones import Deletion

TURN = 1000
"""Rows encoded before the loop gets its turn, about 3 ms: all of a batch at once would take five times as long."""


class Upsert:
    """Statements built once, with one text whatever the size of a batch.

    Args:
        target: the table.
        settings: the table's.
        number: tells its temporary table from those of others.
        found: the table as it stands; None for one that we made as it is configured.
        deletable: whether rows carry a flag that says whether they are to be deleted.
        history: the table's history, where one is kept.

    Attributes:
        name: of the target, as SQL has it.
        stage_sql: makes the temporary table, which has the very types of the target and goes with the transaction.
        sieve_sql: makes another one that has the target's constraints; None where rows are not written as they are.
        history: writes the table's history, where one is kept.
        few: rows up to which ``put`` is the better way to write them; 0 where it is none.
    """

    def __init__(
        self,
        target: sa.Table,
        settings: Table,
        number: int,
        *,
        found: Found | None = None,
        deletable: bool = False,
        history: sa.Table | None = None,
    ) -> None:
        self._target = target
        self._settings = settings
        self._names = tuple(settings.columns)
        self._partitioned = found is not None and found.partitioned
        rounding = {name: kind for name, kind in found.rounding.items() if name in self._names} if found else {}
        columns = [sa.Column(column.name, column.type) for column in target.columns]
        flag = _free_name(self._names) if deletable else None
        flags: list[sa.Column[Any]] = [] if flag is None else [sa.Column(flag, sa.Boolean())]
        self._copied = (*self._names, *(column.name for column in flags))
        self._stage = sa.Table(f"headrace_stage_{number}", sa.MetaData(), *columns, *flags, schema="pg_temp")
        self._exactness = Exactness(self._stage, rounding) if rounding else None
        held = [sa.cast(each, each.type).label(each.name) if each.name in rounding else each for each in target.columns]
        select = sa.select(*held, *(sa.false().label(column.name) for column in flags))
        staged = select.compile(dialect=DIALECT)
        self.stage_sql = f"CREATE TEMPORARY TABLE {self._stage.name} ON COMMIT DROP AS {staged} WITH NO DATA"
        alone = deletable or history is not None or settings.mode == "update"
        self._lock = lock_sql(target) if alone else None
        self.name = str(DIALECT.identifier_preparer.format_table(target))
        self._sieve = f"headrace_sieve_{number}"
        self.sieve_sql: str | None = None
        if not deletable and settings.mode != "update":
            like = "INCLUDING CONSTRAINTS INCLUDING DEFAULTS INCLUDING GENERATED INCLUDING IDENTITY"
            self.sieve_sql = f"CREATE TEMPORARY TABLE {self._sieve} (LIKE {self.name} {like}) ON COMMIT DROP"
        self._deletion = Deletion(target, self._stage, settings, flag) if flag is not None else None
        self.history = History(target, history, self._stage, settings, flag) if history is not None else None
        build = {"upsert": self._merging, "append": self._appending, "update": self._updating}[settings.mode]
        self._merge = build(self._stage)
        # Where a record has no version, or is appended, none loses to another.
        loses = settings.mode == "update" or (settings.mode == "upsert" and settings.version is not None)
        self._left_out = self._leaving_out(self._stage) if loses else None
        self.few = 0
        if not deletable and history is None and not rounding and direct.fits(target, settings, found):
            self.few = direct.FEW
            self._put = direct.Statement(target, self._names, self._merging)
            self._put_left_out = direct.Statement(target, self._names, self._leaving_out) if loses else None

    async def stage(self, connection: AsyncConnection, rows: Sequence[Row]) -> None:
        """Bring rows, as they come from the fold, to the temporary table, which exists and is empty.

        It takes no lock that anybody else would wait for.

        Raises:
            RowFault: the database refuses a row; its index is known if the COPY found it.
        """
        await self._copy(connection, rows)
        if self._exactness is not None:
            await self._exactness.check(connection)

    async def put(self, connection: AsyncConnection, rows: Sequence[Row]) -> Counts:
        """Write a few rows, as they come from the fold, without the temporary table.

        Returns:
            As ``merge``.

        Raises:
            asyncpg.PostgresError: the driver or the database refuses a row; which one is not told.
        """
        driver = await driver_of(connection)
        inserted, updated = await self._put(driver, rows)
        counts = Counts(inserted=inserted, updated=updated)
        if counts.settled < len(rows) and self._put_left_out is not None:
            counts.stale, _ = await self._put_left_out(driver, rows)
        counts.unchanged = len(rows) - counts.settled
        return counts

    async def merge(self, connection: AsyncConnection, rows: Sequence[Row]) -> Counts:
        """Write the rows that were staged.

        Returns:
            What became of them: the outcomes add up to the rows.

        Raises:
            RowFault: the database refuses a row.
        """
        if self._lock is not None:
            await (await driver_of(connection)).execute(self._lock)
        counts = Counts()
        if self.history is not None:
            counts.stale += await self.history.record(connection)
        if self._deletion is not None:
            counts.add(await self._deletion.carry_out(connection, rows))
        inserted, updated = (await connection.execute(self._merge)).one()
        counts.add(Counts(inserted=inserted, updated=updated))
        rest = len(rows) - counts.settled
        if rest and self._left_out is not None:
            stale, known = (await connection.execute(self._left_out)).one()
            counts.stale += stale
            if self._settings.mode == "update":
                counts.filtered = rest + updated - known
        counts.unchanged += len(rows) - counts.settled
        if self.history is not None:
            await self.history.follow(connection)
        return counts

    async def write(self, connection: AsyncConnection, rows: Sequence[Row]) -> Counts:
        """Stage rows and merge them; see ``stage`` and ``merge``."""
        await self.stage(connection, rows)
        return await self.merge(connection, rows)

    async def empty(self, connection: AsyncConnection) -> None:
        """Empty the temporary table for the next rows of the same transaction."""
        await connection.execute(sa.text(f"TRUNCATE pg_temp.{self._stage.name}"))

    async def sieve(self, connection: AsyncConnection, rows: Sequence[Row]) -> None:
        """Let the table that ``sieve_sql`` made name the first row that breaks a constraint of a row by itself.

        Raises:
            RowFault: with the index of the row.
        """
        await self._copy(connection, rows, self._sieve)

    async def _copy(self, connection: AsyncConnection, rows: Sequence[Row], into: str | None = None) -> None:
        taken = -1

        async def counted() -> AsyncIterator[Row]:
            nonlocal taken
            for taken, row in enumerate(rows):
                yield row
                if taken % TURN == TURN - 1:
                    await asyncio.sleep(0)

        driver = await driver_of(connection)
        with faults():
            try:
                await driver.copy_records_to_table(
                    into or self._stage.name, schema_name="pg_temp", records=counted(), columns=self._copied
                )
            except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
                raise
            except (TypeError, ValueError, ArithmeticError, AttributeError) as error:
                # asyncpg takes and encodes one row after another: it is the last that was taken.
                raise unencodable(error, taken) from error

    def _merging(self, stage: sa.FromClause) -> "sa.Select[int, int]":
        """Build the INSERT that counts what it wrote.

        Rows go in in the order of the key, so that concurrent batches cannot deadlock.
        """
        target, key = self._target, self._settings.key
        columns = [stage.c[name] for name in self._names]
        ordered = sa.select(*columns).order_by(*(stage.c[name] for name in key))
        insert = pg.insert(target).from_select(self._names, ordered)
        if others := self._others():
            insert = insert.on_conflict_do_update(
                index_elements=list(key),
                set_={name: insert.excluded[name] for name in others},
                where=sa.and_(self._not_older(insert.excluded), self._changed(insert.excluded)),
            )
        else:
            insert = insert.on_conflict_do_nothing(index_elements=list(key))
        return self._counting(insert)

    def _appending(self, stage: sa.FromClause) -> "sa.Select[int, int]":
        """Build the INSERT of all rows; whether they were written before, the position knows."""
        columns = [stage.c[name] for name in self._names]
        insert = pg.insert(self._target).from_select(self._names, sa.select(*columns))
        written = insert.returning(sa.literal(1).label("one")).cte("written")
        return sa.select(sa.func.count(), sa.literal(0)).select_from(written)

    def _updating(self, stage: sa.FromClause) -> "sa.Select[int, int]":
        """Build the UPDATE of the rows that exist."""
        others = self._others()
        if not others:
            return sa.select(sa.literal(0), sa.literal(0))
        same = same_key(self._target.c, stage.c, self._settings.key)
        update = sa.update(self._target).values({name: stage.c[name] for name in others})
        update = update.where(same, self._not_older(stage.c), self._changed(stage.c))
        written = update.returning(sa.literal(1).label("one")).cte("written")
        return sa.select(sa.literal(0), sa.func.count()).select_from(written)

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

    def _leaving_out(self, stage: sa.FromClause) -> "sa.Select[int, int]":
        """Build the count of rows that lost to a newer one, and of those that exist.

        It is asked after the rows are written, which has locked them.
        """
        target = self._target
        same = same_key(target.c, stage.c, self._settings.key)
        lost = sa.func.count().filter(~self._not_older(stage.c))
        return sa.select(lost, sa.func.count()).select_from(stage.join(target, same))

    def _others(self) -> list[str]:
        return [name for name in self._names if name not in self._settings.key]

    def _changed(self, new: Any) -> ColumnElement[bool]:
        return sa.or_(*(differ(self._target.c[name], new[name]) for name in self._others()))

    def _not_older(self, new: Any) -> ColumnElement[bool]:
        name = self._settings.version
        return sa.true() if name is None else not_older(new[name], self._target.c[name], self._settings)


def lock_sql(target: sa.Table) -> str:
    """Give the statement that keeps other feeds of ours from writing a table until the transaction ends."""
    digest = blake2b(f"{target.schema}.{target.name}".encode(), digest_size=8).digest()
    return f"SELECT pg_advisory_xact_lock({int.from_bytes(digest, 'big', signed=True)})"


def _free_name(names: Sequence[str]) -> str:
    name = "deleted"
    while name in names:
        name += "_"
    return name


async def driver_of(connection: AsyncConnection) -> "asyncpg.Connection[Any]":
    """Give asyncpg's connection beneath SQLAlchemy's; its transaction must have begun."""
    driver: asyncpg.Connection[Any] | None = (await connection.get_raw_connection()).driver_connection
    if driver is None:
        raise asyncpg.InterfaceError("the connection is gone")
    return driver
