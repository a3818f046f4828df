"""The store: commits batches exactly once, and says what became of every row."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from types import TracebackType
from typing import TypeAlias, TypeVar
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from service.config.modecheck import HISTORY
from service.config.settings import Database
from service.config.tables import Table
from service.errors import RowRefused, TableRefused
from service.model import Commit, Counts, Row
from service.store import batches, gaps, migrate, positions, quarantine, tombstones
from service.store.absent import Sweeper
from service.store.engine import open_engine, transaction
from service.store.fold import Fold, Folded
from service.store.found import Found
from service.store.history import with_history
from service.store.isolate import refused_rows
from service.store.schema import COUNTS
from service.store.sqlstate import RowFault, faults
from service.store.tables import build
from service.store.upsert import Upsert, driver_of, lock_sql
from service.store.write import Heard, Sweep, Write

T = TypeVar("T")
Work: TypeAlias = Callable[[AsyncConnection, Mapping[str, Folded]], Awaitable[T]]

COMMIT_SECONDS = 120.0
"""The longest that one attempt may take: a network that swallows packets is not noticed otherwise."""
PING_SECONDS = 5.0
PRUNE_SECONDS = 3600.0
"""How often old batches are dropped, by the commit that comes next."""

_TERMS = """\
SET LOCAL lock_timeout = '10s';
SET LOCAL idle_in_transaction_session_timeout = '120s';
SELECT set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') = 'off'"""
"""What holds for a transaction of ours: an ALTER TABLE elsewhere does not stop us for ever; the server does not keep
the locks of one whose line went dead; and what is committed is on disk, because the buffer forgets it next."""


class Store:
    """The tables of a configuration and the service's own, in one database. An async context manager.

    Args:
        settings: the pool, the schema and how to migrate.
        tables: the configured tables, by name.
        url: where the database is; ``settings.url`` may be ``embedded``, so the caller resolves it.
        deletable: the tables whose rows carry a flag that says whether they are to be deleted.

    Raises:
        StartError: the URL is not one of PostgreSQL's.
    """

    def __init__(
        self, settings: Database, tables: Mapping[str, Table], url: str, deletable: Collection[str] = ()
    ) -> None:
        self._settings = settings
        self._tables = tables
        self._deletable = deletable
        self._built = build(with_history(tables), settings.schema_)
        self._engine = open_engine(url, settings.pool + 1)  # one more, so that a ping never waits for a batch
        self._turns = asyncio.Semaphore(settings.pool)
        self._folds: dict[str, Callable[[Sequence[Row]], Folded]] = {
            name: Folded if table.mode == "append" else Fold(table) for name, table in tables.items()
        }
        self._upserts = self._upserts_with({})
        self._pruned_at = time.monotonic()

    async def __aenter__(self) -> "Store":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._engine.dispose()

    async def prepare(self) -> None:
        """Create or verify the tables, as ``database.migrate`` says.

        Raises:
            StoreLost: the database is away; try again later.
            TableRefused: a table is not as configured; every difference is named, and nothing was changed.
        """
        mode = self._settings.migrate
        try:
            with faults():
                async with self._turn() as connection:
                    await connection.execute(sa.text("SET LOCAL lock_timeout = '10s'"))
                    found = await connection.run_sync(migrate.prepare, self._built, with_history(self._tables), mode)
                    for upsert in self._upserts.values():
                        if upsert.history is not None and mode == "create":
                            await connection.execute(upsert.history.seed)
        except RowFault as fault:
            raise TableRefused(f"the rows that are there forbid the change: {fault.detail}") from fault
        self._upserts = self._upserts_with(found)

    async def missing(self) -> tuple[str, list[str]]:
        """Give the SQL that ``migrate: create`` would run, and what stands in its way; nothing is changed.

        Raises:
            StoreLost: the database is away.
            TableRefused: a newer release made the service's tables.
        """
        with faults():
            async with self._turn() as connection:
                return await connection.run_sync(migrate.missing, self._built, with_history(self._tables))

    async def position(self, feed: str) -> Commit | None:
        """Read where a feed stands; None when it never committed anything.

        Raises:
            StoreLost: the database is away.
            TableRefused: the service's tables are missing or may not be read.
        """
        with faults():
            async with self._turn() as connection:
                return await positions.read(connection, feed)

    async def heard(self, feed: str) -> Heard:
        """Read the open gaps of a feed, and where its sequences stand.

        Raises:
            StoreLost: the database is away.
            TableRefused: as for ``position``.
        """
        with faults():
            async with self._turn() as connection:
                return await gaps.recall(connection, feed)

    async def fill(self, feed: str, by: str, *, ids: Sequence[UUID] = (), until: float) -> list[UUID]:
        """Mark the open gaps of a feed that ended by a moment as filled, by the feed ``by``; return which.

        Args:
            feed: whose gaps.
            by: the feed that repaired them.
            ids: those gaps only; all where there are none.
            until: the moment, in seconds since the epoch.

        Raises:
            StoreLost: the database is away.
            TableRefused: as for ``position``.
        """
        with faults():
            async with self._turn() as connection:
                return await gaps.fill(connection, feed, by, ids=ids, until=until)

    async def ping(self) -> None:
        """Ask the database for a sign of life.

        Raises:
            StoreLost: it gives none within 5 seconds.
            TableRefused: it does not let us in.
        """
        with faults():
            async with asyncio.timeout(PING_SECONDS), transaction(self._engine) as connection:
                await connection.execute(sa.text("SELECT 1"))

    async def commit(self, write: Write) -> tuple[Commit, Counts, dict[str, Counts]]:
        """Write a batch in one transaction: rows, quarantine, position. Safe to repeat after any error.

        Returns:
            The new position, with the feed's ledger; what became of this batch; and of the rows of each table.

        Raises:
            StoreLost: the database is away, or the answer to COMMIT was lost; repeat the same write.
            RowRefused: rows must be taken out first; nothing was written.
            TableRefused: a table is missing, changed or forbidden; nothing was written.
            PositionTaken: the feed's position is not ``write.before``.
        """
        return await self.transact(write.rows, partial(self._write, write))

    async def transact(self, rows: Mapping[str, Sequence[Row]], work: Work[T]) -> T:
        """Do work in one transaction, which is undone whole if it fails.

        Args:
            rows: that the work is to put, by table.
            work: is given the connection and the rows, folded by key.

        Raises:
            StoreLost: the database is away, or the answer to COMMIT was lost.
            RowRefused: rows must be taken out first.
            TableRefused: a table is missing, changed or forbidden.
        """
        folded = {name: self._folds[name](rows[name]) for name in sorted(rows) if rows[name]}
        try:
            with faults():
                async with self._turn() as connection:
                    return await work(connection, folded)
        except RowFault as fault:
            refused = await self._isolate(folded, fault)
        raise refused

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[AsyncConnection]:
        """Run a transaction when it is its turn: first come, first served, so that no feed starves another.

        The time that it waits for its turn does not count as the database's.
        """
        async with self._turns, asyncio.timeout(COMMIT_SECONDS), transaction(self._engine) as connection:
            yield connection

    async def put(self, connection: AsyncConnection, folded: Mapping[str, Folded]) -> dict[str, Counts]:
        """Write rows in a transaction that has begun; return what became of them, by table."""
        await self._begin(connection, folded)
        tables = {}
        for name, rows in folded.items():
            tables[name] = await self._upserts[name].write(connection, rows.rows)
            tables[name].duplicate += rows.duplicate
            tables[name].stale += rows.stale
        return tables

    async def _write(
        self, write: Write, connection: AsyncConnection, folded: Mapping[str, Folded]
    ) -> tuple[Commit, Counts, dict[str, Counts]]:
        started = time.monotonic()
        done = await positions.settled(connection, write)
        if done is not None:
            return _repeated(write, done, await batches.recall(connection, write))
        counts = Counts()
        counts.add(write.counts)
        tables = await self.put(connection, folded)
        for written in tables.values():
            counts.add(written)
        if (sweep := write.sweep) is not None:
            gone = Counts(absent=await self._sweep(connection, sweep))
            tables.setdefault(sweep.table, Counts()).add(gone)
            counts.add(gone)
        await quarantine.put(connection, write.refusals)
        if write.heard is not None:
            await gaps.note(connection, write.feed, write.heard)
        commit = await positions.move(connection, write, counts)
        await batches.note(connection, write, counts, time.monotonic() - started)
        if started - self._pruned_at > PRUNE_SECONDS:
            self._pruned_at = started
            await batches.prune(connection)
            await tombstones.prune(connection)
            await gaps.prune(connection)
        return commit, counts, tables

    async def _begin(self, connection: AsyncConnection, names: Mapping[str, Folded]) -> None:
        """Set the terms of the transaction, which has begun, and make its temporary tables: one round trip."""
        script = ";\n".join([_TERMS, *(self._upserts[name].stage_sql for name in names)])
        await (await driver_of(connection)).execute(script)

    async def _sweep(self, connection: AsyncConnection, sweep: Sweep) -> int:
        """Delete or mark what is absent from a full set."""
        upsert, number = self._upserts[sweep.table], list(self._tables).index(sweep.table)
        await (await driver_of(connection)).execute(lock_sql(self._built[sweep.table]))
        sweeper = Sweeper(self._built[sweep.table], self._tables[sweep.table], number, upsert.history)
        return await sweeper.sweep(connection, sweep)

    async def _isolate(self, folded: Mapping[str, Folded], fault: RowFault) -> RowRefused:
        """Find the rows that a batch failed for, last row first, so that each can be taken out by its index."""
        found: list[RowRefused] = []
        with faults():
            async with self._turn() as connection:
                await connection.execute(sa.text("SET CONSTRAINTS ALL IMMEDIATE"))
                await self._begin(connection, folded)
                for name, rows in folded.items():
                    refused = await refused_rows(connection, self._upserts[name], rows.rows)
                    found += [
                        RowRefused(name, rows.origin(index), each.reason, each.detail)
                        for index, each in refused.items()
                    ]
                await connection.rollback()
        if not found:
            raise TableRefused(f"{fault.detail} ({fault.reason}), though no single row is the cause") from fault
        first, *also = sorted(found, key=lambda refused: (refused.table, refused.row), reverse=True)
        first.also = tuple(also)
        return first

    def _upserts_with(self, found: Mapping[str, Found]) -> dict[str, Upsert]:
        return {
            name: Upsert(
                self._built[name],
                table,
                number,
                found=found.get(name),
                deletable=name in self._deletable,
                history=self._built.get(f"{name}{HISTORY}") if table.history else None,
            )
            for number, (name, table) in enumerate(self._tables.items())
        }


def _repeated(write: Write, done: Commit, noted: Counts | None) -> tuple[Commit, Counts, dict[str, Counts]]:
    """Account for a batch that is already committed: what was noted of it, or what its commit added to the ledger."""
    counts = noted or _minus(done.counts, write.before.counts if write.before else Counts())
    tables = list(write.rows)
    return done, counts, {tables[0]: _minus(counts, write.counts)} if len(tables) == 1 else {}


def _minus(counts: Counts, other: Counts) -> Counts:
    return Counts(*(getattr(counts, term) - getattr(other, term) for term in COUNTS))
