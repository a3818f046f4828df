"""The writes of a table that partial feeds load into: deltas are merged with the row, or wait until there is one."""

from collections.abc import Collection, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from service.config.tables import Table
from service.errors import RowMissing
from service.masking import hidden, is_secret, without
from service.model import Counts, Row
from service.store import waiting
from service.store.compare import json_key, not_older, same_key
from service.store.deltas import Delta, Merged, Merging, count_lost, outcomes
from service.store.found import Found
from service.store.merge import Merge
from service.store.schema import column_versions
from service.store.sqlstate import RowFault, faults
from service.store.stage import Stage
from service.store.tables import DIALECT
from service.store.tombstones import Deletion, buried
from service.store.upsert import driver_of, lock_sql
from service.store.waiting import Room, Waiting
from service.store.write import Patience

_TERMS = "SET LOCAL random_page_cost = 1.1; SET LOCAL jit = off"
"""The rows of a batch are looked up by key: with the default a table of a million would rather be read whole. The
statement is long, and compiling it would take longer than running it."""
_SHOWN = 60


class Result(msgspec.Struct):
    """What became of records.

    Attributes:
        counts: of those of the batch.
        settled: outcomes of those that waited, by id.
        details: why some of those are refused, by id.
        missing: those of the batch that have no row and make none.
    """

    counts: Counts = msgspec.field(default_factory=Counts)
    settled: dict[int, str] = {}
    details: dict[int, str] = {}
    missing: list[Delta] = []

    def note(self, delta: Delta, outcome: str) -> None:
        """Note what became of a record."""
        if delta.id is not None:
            self.settled[delta.id] = outcome
        else:
            self.counts.add(Counts(**{outcome: 1}))

    def add(self, other: "Result") -> None:
        """Add the other's records to these."""
        self.counts.add(other.counts)
        self.settled |= other.settled
        self.details |= other.details
        self.missing += other.missing


class Partial:
    """Statements built once. Feeds that load into such a table write it one after another, under an advisory lock.

    Args:
        target: the table.
        settings: the table's.
        number: tells its temporary table from those of others.
        found: the table as it stands; None for one that we made as it is configured.
        deletable: whether rows carry a flag that says whether they are to be deleted.

    Attributes:
        name: of the target, as SQL has it.
        stage_sql: makes the temporary table, which has the very types of the target and goes with the transaction.
        sieve_sql: None: a delta alone need not satisfy the constraints that its row does.
        history: None: none is kept of such a table.
        few: 0: what is merged with what is there is always staged.
    """

    sieve_sql = None
    history = None
    few = 0

    def __init__(
        self, target: sa.Table, settings: Table, number: int, *, found: Found | None = None, deletable: bool = False
    ) -> None:
        self._target, self._settings, self._deletable = target, settings, deletable
        self._names = tuple(settings.columns)
        self._merging = Merging(settings)
        self.name = str(DIALECT.identifier_preparer.format_table(target))
        there = found.columns if found is not None else {}
        self._required = [
            name
            for name, column in settings.columns.items()
            if not column.null or not there.get(name, {"nullable": True})["nullable"]
        ]
        self._stage = stage = Stage(target, settings, number, found)
        self.stage_sql = stage.sql
        self._terms = f"{lock_sql(target)};\n{_TERMS}"
        self._merge = Merge(target, stage.table, stage.marks, settings, self._required).statement
        self._room = Room(target.name, stage.table, stage.marks.number, stage.marks, settings.key)
        self._deletion = Deletion(target, stage.table, settings, stage.marks.deleted) if deletable else None
        self._buried = None
        if deletable and settings.version is not None:
            self._buried = buried(target, stage.table, settings, stage.table.c[stage.marks.number])

    async def load(self, connection: AsyncConnection, rows: Sequence[Row], patience: Patience | None) -> Counts:
        """Write the rows of a batch, and what waited for them; the temporary table exists and is empty.

        Args:
            connection: within the transaction.
            rows: in order of arrival; a key may occur many times.
            patience: what becomes of deltas without a row; None: they are refused.

        Returns:
            What became of them. Those that wait now are taken from ``received``, until they are settled.

        Raises:
            RowFault: the database refuses a row; its index is known if the COPY found it.
            RowMissing: deltas have no row, and may not wait for one.
        """
        await self._begin(connection)
        counts = Counts()
        for number, part in enumerate(self._rounds(rows)):
            if number:
                await self.empty(connection)
            result = await self._loaded(connection, part)
            counts.add(result.counts)
            await waiting.settle(connection, result.settled, result.details)
            if result.missing:
                await self._wait(connection, result.missing, patience)
                counts.received -= len(result.missing)
        return counts

    async def write(self, connection: AsyncConnection, rows: Sequence[Row]) -> None:
        """Write rows alone, to find those that the database refuses; what waits, and has to wait, is left aside.

        Raises:
            RowFault: as in ``load``.
        """
        await self._begin(connection)
        for number, part in enumerate(self._rounds(rows)):
            if number:
                await self.empty(connection)
            groups = self._merging.merged(part)
            await self._stage.fill(connection, groups)
            await self._written(connection, groups)

    async def empty(self, connection: AsyncConnection) -> None:
        """Empty the temporary table for the next rows of the same transaction."""
        await self._stage.empty(connection)

    async def forget(self, connection: AsyncConnection, keys: sa.Table) -> None:
        """Forget the versions of columns of rows that are deleted, whose keys a table holds."""
        gone = column_versions.c.key == json_key(keys.c, self._settings.key)
        await connection.execute(
            sa.delete(column_versions).where(column_versions.c.table_name == self._target.name, gone)
        )

    async def _begin(self, connection: AsyncConnection) -> None:
        await (await driver_of(connection)).execute(self._terms)

    def _rounds(self, rows: Sequence[Row]) -> list[list[Delta]]:
        return self._merging.rounds(self._merging.deltas(rows, deletable=self._deletable))

    async def _loaded(self, connection: AsyncConnection, own: list[Delta]) -> Result:
        """Merge records with what waits for the same rows, but without what is older than a deletion."""
        groups = self._merging.merged(own)
        await self._stage.fill(connection, groups)
        tombs = await self._tombs(connection)
        # A deletion leaves what waits alone: it may be newer.
        pulled, spoiled = await self._room.pull(connection)
        found = [each for each in pulled if not groups[each.number].deletes]
        result = Result(settled=dict.fromkeys(spoiled, "quarantined"), details=spoiled)
        if not tombs and not found:
            result.add(await self._written(connection, groups))
            return result
        others = [
            (each.number, Delta(each.row[: len(self._names)], self._bits(each.carried), place - len(found), each.id))
            for place, each in enumerate(found)
        ]
        members = [(number, delta) for number, group in enumerate(groups) for delta in (*_kept(group), *group.lost)]
        kept = []
        for number, delta in others + members:
            if number in tombs and not delta.deletes and self._is_older(delta, tombs[number]):
                result.note(delta, "stale")
            else:
                kept.append(delta)
        own = sorted((delta for delta in kept if delta.id is None), key=lambda delta: delta.place)
        result.add(await self._together(connection, own, [delta for delta in kept if delta.id is not None]))
        return result

    async def _tombs(self, connection: AsyncConnection) -> dict[int, Any]:
        """Give the versions of the deletions of the stage's keys, by the number of the row."""
        if self._buried is None:
            return {}
        return dict(map(tuple, await connection.execute(self._buried)))

    async def _together(self, connection: AsyncConnection, own: list[Delta], others: list[Delta]) -> Result:
        """Merge records with others that waited; of those, what the database refuses harms nobody else."""
        if not others or await self._fault(connection, own + others) is None:
            return await self._merged(connection, own + others)
        if (fault := await self._fault(connection, own)) is not None:
            raise fault
        accepted: list[Delta] = []
        details: dict[int, str] = {}
        pending = [others]
        while pending:
            part = pending.pop()
            fault = await self._fault(connection, own + accepted + part)
            if fault is None:
                accepted += part
            elif len(part) == 1 and part[0].id is not None:
                held = zip(self._names, part[0].row, strict=False)
                said = hidden(without(fault.detail, [str(value) for name, value in held if is_secret(name)]))
                details[part[0].id] = f"the database refuses the row that it would make: {said} [{fault.reason}]"
            else:
                pending += [part[len(part) // 2 :], part[: len(part) // 2]]
        result = await self._merged(connection, own + accepted)
        result.settled |= dict.fromkeys(details, "quarantined")
        result.details |= details
        return result

    async def _fault(self, connection: AsyncConnection, deltas: Sequence[Delta]) -> RowFault | None:
        """Merge records, undo it, and give what the database has against it."""
        savepoint = await connection.begin_nested()
        try:
            with faults():
                await self._merged(connection, deltas)
        except RowFault as fault:
            return fault
        finally:
            await savepoint.rollback()
        return None

    async def _merged(self, connection: AsyncConnection, deltas: Sequence[Delta]) -> Result:
        """Merge records, whatever is in the stage."""
        groups = self._merging.merged(deltas)
        await self.empty(connection)
        await self._stage.fill(connection, groups)
        return await self._written(connection, groups)

    async def _written(self, connection: AsyncConnection, groups: Sequence[Merged]) -> Result:
        """Merge the stage, which holds the groups, into the table."""
        result = Result()
        for group in groups:
            if group.lost:
                count_lost(group, result.counts)
                result.settled |= {delta.id: "stale" for delta in group.lost if delta.id is not None}
        if self._deletion is not None and any(group.deletes for group in groups):
            await connection.execute(self._forgetting())
            result.counts.add(await self._deletion.carry_out(connection, [(True,)]))
        lines = (await connection.execute(self._merge, {"shapes": self._stage.shapes(groups)})).all()
        for line in lines:
            if line.number is None:
                result.counts.add(Counts(**{line.outcome: line.number_of_rows}))
                continue
            group = groups[line.number]
            if line.outcome == "missing":
                result.missing += [delta for delta in _kept(group) if delta.id is None]
                continue
            won, changed, required = _number(line.won), _number(line.changed), self._bits(self._required)
            for delta, told in outcomes(group, line.outcome, won, changed, required):
                result.note(delta, told)
        for term in ("inserted", "updated"):
            _correct(result.counts, term, lines)
        return result

    async def _wait(self, connection: AsyncConnection, missing: list[Delta], patience: Patience | None) -> None:
        """Let records of the batch wait for their rows.

        Raises:
            RowMissing: some may not.
        """
        missing = sorted(missing, key=lambda delta: delta.place)
        room, text = 0, "and none is waited for"
        if patience is not None and patience.seconds:
            room = waiting.MOST - await waiting.count(connection, patience.feed)
            text = f"and {waiting.MOST} others wait for theirs already"
        if patience is None or len(missing) > room:
            over = missing[max(0, room) :]
            told = [RowMissing(self._target.name, each.place, waiting.REASON, self._told(each, text)) for each in over]
            first, *also = sorted(told, key=lambda each: each.row, reverse=True)
            first.also = tuple(also)
            raise first
        await self.empty(connection)
        await self._stage.fill(connection, [Merged(each.row, each.carried, [(each, each.carried)]) for each in missing])
        text = f"and none came within {patience.seconds:g} s"
        entries = [
            Waiting(
                number,
                [name for n, name in enumerate(self._names) if each.carried >> n & 1],
                patience.refusal(self._target.name, each.place, waiting.REASON, self._told(each, text)),
            )
            for number, each in enumerate(missing)
        ]
        await self._room.put(connection, patience.feed, entries, patience.seconds)

    def _told(self, delta: Delta, why: str) -> str:
        """Say in a sentence which row is missing, and what the record lacks to make one."""
        values = dict(zip(self._names, delta.row, strict=True))
        shown = {name: "***" if is_secret(name) else str(values[name])[:_SHOWN] for name in self._settings.key}
        key = ", ".join(f"{name} = {value}" for name, value in shown.items())
        lacks = ", ".join(name for name in self._required if values[name] is None)
        return (
            f"{self._target.name} has no row with {key}, {why}; the record alone makes none, as it does not carry "
            f"{lacks} [no row]; replay it once the row is there, raise the feed's `wait_for_row`, or give these "
            "columns a default"
        )

    def _forgetting(self) -> sa.Delete:
        """Build the removal of the versions of columns of the rows that are about to be deleted."""
        stage, target, version = self._stage.table.c, self._target.c, self._settings.version
        newer = sa.true() if version is None else not_older(stage[version], target[version], self._settings)
        return sa.delete(column_versions).where(
            column_versions.c.table_name == self._target.name,
            column_versions.c.key == json_key(stage, self._settings.key),
            stage[self._stage.marks.deleted],
            same_key(target, stage, self._settings.key),
            newer,
        )

    def _bits(self, carried: Sequence[str]) -> int:
        """Give the number of a set of columns; one that the table no longer has does not matter."""
        return sum(1 << n for n, name in enumerate(self._names) if name in carried)

    def _is_older(self, delta: Delta, than: Any) -> bool:
        version = self._merging.version(delta)
        return version is None or bool(version < than)


async def forget_all(connection: AsyncConnection, tables: Collection[str]) -> None:
    """Forget the versions of columns of tables that no partial feed loads into any more: rows are written whole."""
    await connection.execute(sa.delete(column_versions).where(column_versions.c.table_name.in_(tables)))


def _kept(group: Merged) -> list[Delta]:
    return [delta for delta, _ in group.parts]


def _number(bits: Sequence[bool]) -> int:
    return sum(1 << n for n, bit in enumerate(bits) if bit)


def _correct(counts: Counts, term: str, lines: Sequence["sa.Row[Any]"]) -> None:
    """Count as unchanged the rows that a trigger suppressed."""
    meant = sum(line.number_of_rows for line in lines if line.outcome == term)
    done = getattr(lines[0], term) if lines else meant
    suppressed = min(meant - done, getattr(counts, term))
    setattr(counts, term, getattr(counts, term) - suppressed)
    counts.unchanged += suppressed
