"""The store: commits batches exactly once, and says what became of every row."""

import asyncio
import functools
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from types import MappingProxyType, TracebackType
from typing import Any, TypeAlias, TypeVar
from uuid import UUID

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from service.config.foreach import ForEach
from service.config.settings import Database
from service.config.tables import Table
from service.errors import RowRefused, StoreLost, TableRefused
from service.model import Commit, Counts, Row
from service.store import batches, gaps, migrate, parents, positions, quarantine, tombstones, waiting
from service.store.engine import open_engine, transaction
from service.store.fold import Folded
from service.store.found import Found
from service.store.history import with_history
from service.store.partial import forget_all
from service.store.schema import COUNTS
from service.store.sqlstate import RowFault, faults
from service.store.tables import build
from service.store.write import Heard, Patience, Write
from service.store.writer import Writer

T = TypeVar("T")
Work: TypeAlias = Callable[[AsyncConnection, Mapping[str, Folded]], Awaitable[T]]
Turn: TypeAlias = Callable[[], Awaitable[Commit | None]]
"""Waits until the batch before is committed; gives the position that it left."""

COMMIT_SECONDS = 120.0
"""The longest that one attempt may take: a network that swallows packets is not noticed otherwise."""
PING_SECONDS = 5.0
REVIEW_SECONDS = 10.0
PRUNE_SECONDS = 3600.0
"""How often old batches are dropped, by the commit that comes next."""


class Store:
    """The tables of a configuration and the service's own, in one database. An async context manager.

    Args:
        settings: the pool, the schema and how to migrate.
        tables: the configured tables, by name.
        url: where the database is; ``settings.url`` may be ``embedded``, so the caller resolves it.
        deletable: the tables whose rows carry a flag that says whether they are to be deleted.
        partial: the tables that some records carry only a part of the columns of.

    Raises:
        StartError: the URL is not one of PostgreSQL's.
    """

    def __init__(
        self,
        settings: Database,
        tables: Mapping[str, Table],
        url: str,
        deletable: Collection[str] = (),
        partial: Collection[str] = (),
    ) -> None:
        self._settings = settings
        self._tables: Mapping[str, Table] = {}
        self._found: Mapping[str, Found] = {}
        self.adapt(tables, deletable, partial)
        self._engine = open_engine(url, settings.pool + 1)  # one more, so that a ping never waits for a batch
        self._turns = asyncio.Semaphore(settings.pool)
        self._idle = settings.pool
        self._pruned_at = time.monotonic()

    async def __aenter__(self) -> "Store":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._engine.dispose()

    def adapt(self, tables: Mapping[str, Table], deletable: Collection[str], partial: Collection[str]) -> None:
        """Be for other tables from now on; to be prepared before those are written that are new or changed.

        Transactions under way end as they began.
        """
        kept = {name: found for name, found in self._found.items() if self._tables.get(name) == tables.get(name)}
        self._tables, self._deletable, self._partial = tables, deletable, partial
        self._built = build(with_history(tables), self._settings.schema_)
        self._learn(kept)

    def _learn(self, found: Mapping[str, Found]) -> None:
        """Write from now on as the tables that are there need it."""
        self._found = found
        self._writer = Writer(self._tables, self._built, self._deletable, self._partial, found)

    async def prepare(self) -> None:
        """Create or verify the tables, as ``database.migrate`` says.

        Raises:
            StoreLost: the database is away; try again later.
            TableRefused: a table is not as configured; every difference is named, and nothing was changed.
        """
        mode, writer, tables = self._settings.migrate, self._writer, self._tables
        whole = set(tables) - set(self._partial)
        try:
            with faults():
                async with self._turn() as connection:
                    await connection.execute(sa.text("SET LOCAL lock_timeout = '10s'"))
                    found = await connection.run_sync(migrate.prepare, self._built, with_history(tables), mode)
                    if mode == "create":
                        await writer.seed(connection)
                        await forget_all(connection, whole)
        except RowFault as fault:
            raise TableRefused(f"the rows that are there forbid the change: {fault}") from fault
        if tables is self._tables:  # and not adapted to others meanwhile
            self._learn(found)

    async def review(self, tables: Mapping[str, Table]) -> None:
        """See whether ``prepare`` would refuse other tables; nothing is changed.

        Raises:
            StoreLost: the database is away.
            TableRefused: as far as can be seen before rows are touched, it would.
        """
        built = build(with_history(tables), self._settings.schema_)
        with faults():
            async with asyncio.timeout(REVIEW_SECONDS), self._turn() as connection:
                await connection.run_sync(migrate.review, built, with_history(tables), self._settings.migrate)

    async def missing(self, needed: Mapping[str, frozenset[str]] = MappingProxyType({})) -> tuple[str, list[str]]:
        """Give the SQL that ``migrate: create`` would run, and what stands in its way; nothing is changed.

        Args:
            needed: what feeds must be allowed to do with each table; see ``rights.needs``.

        Raises:
            StoreLost: the database is away.
            TableRefused: a newer release made the service's tables.
        """
        with faults():
            async with self._turn() as connection:
                tables, mode = with_history(self._tables), self._settings.migrate
                return await connection.run_sync(migrate.missing, self._built, tables, mode, needed)

    async def position(self, feed: str) -> Commit | None:
        """Read where a feed stands; None when it never committed anything.

        Raises:
            StoreLost: the database is away.
            TableRefused: the service's tables are missing or may not be read.
        """
        with faults():
            async with self._turn() as connection:
                commit = await positions.read(connection, feed)
                return commit and await _with_waiting(connection, feed, commit)

    async def parents(
        self, each: ForEach, table: str | None, columns: Mapping[str, str], scope: Mapping[str, str]
    ) -> list[dict[str, Any]]:
        """Read the rows that a feed is called for, at most one more than it allows, where nothing can be changed.

        Args:
            each: which rows; with ``sql``, the others are not looked at.
            table: the configured table that they lie in.
            columns: of the table, by the names that their values are to have.
            scope: columns, with the text that their value must be.

        Raises:
            StoreLost: the database is away, or took too long.
            TableRefused: the database refuses the query.
        """
        if table is None:
            sql, arguments = parents.of_query(each), list[str]()
        else:
            sql, arguments = parents.of_table(self._built[table], each, columns, scope)
        try:
            with faults():
                async with self._turn() as connection:
                    return await parents.read(connection, sql, arguments)
        except RowFault as fault:
            raise TableRefused(f"{fault.detail} ({fault.reason})") from fault

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

    @property
    def has_room(self) -> bool:
        """Whether one more transaction could begin at once."""
        return self._idle > 0

    async def commit(self, write: Write, turn: Turn | None = None) -> tuple[Commit, Counts, dict[str, Counts]]:
        """Write a batch in one transaction: rows, quarantine, position. Safe to repeat after any error.

        Args:
            write: the batch.
            turn: for a batch whose ``write.before`` is yet to be committed: waited for once the rows are staged, before
                anything is touched that others see.

        Returns:
            The new position, with the feed's ledger; what became of this batch; and of the rows of each table.

        Raises:
            StoreLost: the database is away, or the answer to COMMIT was lost; repeat the same write.
            RowsTouched: of a watched write: ``write.before.written`` is no longer true; nothing was written.
            RowRefused: rows must be taken out first; nothing was written.
            TableRefused: a table is missing, changed or forbidden; nothing was written.
            PositionTaken: the feed's position is not ``write.before``.
        """
        return await self.transact(write.rows, functools.partial(self._write, write, turn), turn)

    async def transact(self, rows: Mapping[str, Sequence[Row]], work: Work[T], turn: Turn | None = None) -> T:
        """Do work in one transaction, which is undone whole if it fails.

        Args:
            rows: that the work is to put, by table.
            work: is given the connection and the rows, folded by key.
            turn: waited for before refused rows are looked for, by writing.

        Raises:
            StoreLost: the database is away, or the answer to COMMIT was lost.
            RowRefused: rows must be taken out first.
            TableRefused: a table is missing, changed or forbidden.
        """
        folded = self._writer.fold(rows)
        try:
            with faults():
                async with self._turn() as connection:
                    return await work(connection, folded)
        except RowFault as fault:
            if turn is not None:
                await turn()
            refused = await self._isolate(folded, fault)
        raise refused

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[AsyncConnection]:
        """Run a transaction when it is its turn: first come, first served, so that no feed starves another.

        The time that it waits for its turn does not count as the database's.
        """
        self._idle -= 1
        try:
            async with self._turns, asyncio.timeout(COMMIT_SECONDS), transaction(self._engine) as connection:
                yield connection
        finally:
            self._idle += 1

    async def settle(self, feed: str) -> tuple[Commit, Counts, dict[str, Counts]]:
        """Count the deltas of a feed that waited and are settled, and give up those that waited too long.

        Returns:
            As ``commit``: the feed's position, as it was, with its ledger; what became of the deltas; by table.

        Raises:
            StoreLost, TableRefused: as ``commit``.
        """
        with faults():
            async with self._turn() as connection:
                await positions.lock(connection, feed)
                tables, counts = await waiting.collect(connection, feed, overdue=True), Counts()
                for settled in tables.values():
                    counts.add(settled)
                await positions.add(connection, feed, counts)
                commit = await positions.read(connection, feed)
                if commit is None:
                    raise StoreLost(f"{feed} has no position, though deltas of it wait")
                return await _with_waiting(connection, feed, commit), counts, tables

    async def put(
        self, connection: AsyncConnection, folded: Mapping[str, Folded], patience: Patience | None = None
    ) -> dict[str, Counts]:
        """Write rows in a transaction that has begun; return what became of them, by table.

        Raises:
            RowMissing: deltas have no row, and no patience is given.
        """
        writer = self._writer
        await writer.stage(connection, folded)
        return await writer.merge(connection, folded, patience)

    async def _write(
        self, write: Write, turn: Turn | None, connection: AsyncConnection, folded: Mapping[str, Folded]
    ) -> tuple[Commit, Counts, dict[str, Counts]]:
        started, writer = time.monotonic(), self._writer
        if turn is not None:
            await connection.execute(sa.text("SELECT 1"))  # SQLAlchemy begins the transaction with its first statement
            await writer.stage(connection, folded)
            began = time.monotonic()
            write = msgspec.structs.replace(write, before=await turn())
            started += time.monotonic() - began
        done = await positions.settled(connection, write)
        if done is not None:
            done = await _with_waiting(connection, write.feed, done)
            return _repeated(write, done, await batches.recall(connection, write))
        known = await positions.untouched(connection, write)
        if turn is None:
            await writer.stage(connection, folded)
        counts = Counts()
        counts.add(write.counts)
        tables = await writer.merge(connection, folded, write.patience)
        if write.patience is not None:
            for name, settled in (await waiting.collect(connection, write.feed)).items():
                tables.setdefault(name, Counts()).add(settled)
        for written in tables.values():
            counts.add(written)
        if (sweep := write.sweep) is not None:
            gone = Counts(absent=await writer.sweep(connection, sweep))
            tables.setdefault(sweep.table, Counts()).add(gone)
            counts.add(gone)
        await quarantine.put(connection, write.refusals)
        if write.heard is not None:
            await gaps.note(connection, write.feed, write.heard)
        noted = batches.noting(write, counts, tables, time.monotonic() - started)
        commit = await positions.move(connection, write, counts, noted)
        if write.patience is not None:
            commit = await _with_waiting(connection, write.feed, commit)
        commit = msgspec.structs.replace(commit, written=None if known is None else known + counts.loaded)
        await self._prune(connection)
        return commit, counts, tables

    async def _prune(self, connection: AsyncConnection) -> None:
        """Drop what is kept for a while only, now and then."""
        now = time.monotonic()
        if now - self._pruned_at > PRUNE_SECONDS:
            self._pruned_at = now
            await batches.prune(connection)
            await tombstones.prune(connection)
            await gaps.prune(connection)

    async def _isolate(self, folded: Mapping[str, Folded], fault: RowFault) -> RowRefused:
        """Find the rows that a batch failed for, last row first, so that each can be taken out by its index."""
        with faults():
            async with self._turn() as connection:
                found = await self._writer.refused(connection, folded)
                await connection.rollback()
        if not found:
            raise TableRefused(f"{fault.detail} ({fault.reason}), though no single row is the cause") from fault
        first, *also = sorted(found, key=lambda refused: (refused.table, refused.row), reverse=True)
        first.also = tuple(also)
        return first


async def _with_waiting(connection: AsyncConnection, feed: str, commit: Commit) -> Commit:
    return msgspec.structs.replace(commit, waiting=await waiting.count(connection, feed))


def _repeated(
    write: Write, done: Commit, noted: tuple[Counts, dict[str, Counts]] | None
) -> tuple[Commit, Counts, dict[str, Counts]]:
    """Account for a batch that is already committed: what was noted of it, or what its commit added to the ledger."""
    before = write.before.counts if write.before else Counts()
    counts, tables = noted or (_minus(done.counts, before), {})
    if not tables and len(write.rows) == 1:
        tables = {name: _minus(counts, write.counts) for name in write.rows}
    known = write.before.written if write.before is not None else None
    return msgspec.structs.replace(done, written=None if known is None else known + counts.loaded), counts, tables


def _minus(counts: Counts, other: Counts) -> Counts:
    return Counts(*(getattr(counts, term) - getattr(other, term) for term in COUNTS))
