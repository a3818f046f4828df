"""Review of the quarantine: what was refused, found again, and settled without the ledger losing its balance."""

from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from service.errors import EntriesTaken
from service.model import Counts, Refusal, Row
from service.store import positions, quarantine
from service.store.fold import Folded
from service.store.schema import quarantine as entries
from service.store.store import Store

READ_BYTES = 16 << 20
"""Raw bytes of entries that are read at a time: whole messages may be large, and memory is bounded."""


class Entry(msgspec.Struct, frozen=True):
    """One row of ``headrace.quarantine``; see Refusal."""

    id: int
    provider: str
    feed: str
    table_name: str | None
    reason: str
    detail: str
    record: bytes | None
    message: bytes | None
    number: int
    meta: dict[str, Any] | None
    received_at: datetime
    attempts: int
    resolved_at: datetime | None


class Group(msgspec.Struct, frozen=True):
    """Entries with the same feed, table and reason.

    Attributes:
        count: of the entries.
        first: when the earliest was received.
        last: when the latest was received.
        sample: the id of the latest.
    """

    feed: str
    table_name: str | None
    reason: str
    count: int
    first: datetime
    last: datetime
    sample: int


class Selection(msgspec.Struct, frozen=True):
    """Which entries are meant; what is not said does not matter.

    Attributes:
        ids: these only.
        feed: of this feed.
        reason: with a reason that begins so.
        resolved: those that were settled, too.
        mentions: whose raw bytes hold each of these, or zeros: what UTF-16 says is not looked at.
    """

    ids: tuple[int, ...] = ()
    feed: str | None = None
    reason: str | None = None
    resolved: bool = False
    mentions: tuple[bytes, ...] = ()


class Resolution(msgspec.Struct):
    """What becomes of entries of one feed.

    Attributes:
        feed: ``provider.feed``.
        ids: the entries, unresolved so far.
        rows: by table, what they became.
        again: entries that are refused again, each with its reason and detail.
        fresh: refused records of entries that were whole messages.
        filtered: records that the configuration leaves out.
    """

    feed: str
    ids: list[int]
    rows: dict[str, list[Row]]
    again: dict[int, tuple[str, str]]
    fresh: list[Refusal]
    filtered: int = 0

    @property
    def received(self) -> int:
        """Records that the entries hold."""
        return sum(map(len, self.rows.values())) + len(self.again) + len(self.fresh) + self.filtered


class Review:
    """Reads the quarantine of a store and settles its entries."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def groups(self, selection: Selection) -> list[Group]:
        """Count entries by feed, table and reason, the largest group first."""
        by = (entries.c.feed, entries.c.table_name, entries.c.reason)
        count, at = sa.func.count(), entries.c.received_at
        query = sa.select(*by, count, sa.func.min(at), sa.func.max(at), sa.func.max(entries.c.id))
        query = _selected(query, selection).group_by(*by).order_by(count.desc(), *by)
        return [Group(*row) for row in await self._fetch(query)]

    async def newest(self) -> int:
        """Give the highest id, 0 when there is none."""
        ((newest,),) = await self._fetch(sa.select(sa.func.coalesce(sa.func.max(entries.c.id), 0)))
        return int(newest)

    async def entries(self, selection: Selection, after: int, through: int, limit: int) -> list[Entry]:
        """Read up to ``limit`` entries with ids above ``after`` and up to ``through``, in order.

        They are fewer where their bytes are many: the last is the one that reaches ``READ_BYTES``.
        """
        record, message = (sa.func.coalesce(sa.func.octet_length(entries.c[name]), 0) for name in ("record", "message"))
        chosen = sa.select(entries.c.id, (record + message).label("size")).where(
            entries.c.id > after, entries.c.id <= through
        )
        page = _selected(chosen, selection).order_by(entries.c.id).limit(limit).subquery()
        before = sa.func.sum(page.c.size).over(order_by=page.c.id) - page.c.size
        sized = sa.select(page.c.id, before.label("before")).subquery()
        query = sa.select(*(entries.c[name] for name in Entry.__struct_fields__)).join(
            sized, sized.c.id == entries.c.id
        )
        query = query.where(sized.c.before < READ_BYTES).order_by(entries.c.id)
        return [Entry(*row) for row in await self._fetch(query)]

    async def resolve(self, resolution: Resolution, *, dry_run: bool) -> Counts:
        """Settle entries in one transaction: write rows, mark entries, move the feed's ledger.

        An entry that became a row, or is left out, is resolved; one that is refused again stays, with one attempt more
        and its new reason. ``quarantined`` of the ledger falls by as much as its other terms rise.

        Args:
            resolution: what becomes of them.
            dry_run: undo it all at the end; the counts are those that it would have had.

        Returns:
            What became of the records; ``received`` are all of them, ``quarantined`` those that are refused again.

        Raises:
            EntriesTaken: some of the entries are resolved meanwhile.
            RowRefused, StoreLost, TableRefused: as Store.transact.
        """
        return await self._store.transact(resolution.rows, partial(self._settle, resolution, dry_run))

    async def drop(self, ids: list[int], *, purge: bool) -> int:
        """Mark entries as resolved, or delete them with ``purge``; the ledger counts them as quarantined for good."""
        chosen = entries.c.id == sa.any_(
            sa.literal(ids, sa.ARRAY(sa.BigInteger))
        )  # one parameter, however many they are
        mark = sa.update(entries).where(chosen, entries.c.resolved_at.is_(None)).values(resolved_at=sa.func.now())
        statement = sa.delete(entries).where(chosen) if purge else mark

        async def work(connection: AsyncConnection, _: Mapping[str, Folded]) -> int:
            return (await connection.execute(statement)).rowcount

        return await self._store.transact({}, work)

    async def _settle(
        self,
        resolution: Resolution,
        dry_run: bool,  # noqa: FBT001  handed on by position
        connection: AsyncConnection,
        folded: Mapping[str, Folded],
    ) -> Counts:
        await positions.lock(connection, resolution.feed)  # first, as the daemon's commits do: nobody deadlocks
        open_ = sa.select(entries.c.id).where(entries.c.id.in_(resolution.ids), entries.c.resolved_at.is_(None))
        if len((await connection.execute(open_.with_for_update())).all()) != len(resolution.ids):
            raise EntriesTaken("these entries are being settled by somebody else")
        counts = Counts(received=resolution.received, filtered=resolution.filtered)
        counts.quarantined = len(resolution.again) + len(resolution.fresh)
        for written in (await self._store.put(connection, folded)).values():
            counts.add(written)
        await self._mark(connection, resolution)
        await quarantine.put(connection, resolution.fresh)
        before = len(resolution.ids)
        moved = msgspec.structs.replace(
            counts, received=counts.received - before, quarantined=counts.quarantined - before
        )
        await positions.add(connection, resolution.feed, moved)
        if dry_run:
            await connection.rollback()
        return counts

    async def _mark(self, connection: AsyncConnection, resolution: Resolution) -> None:
        settled = [entry for entry in resolution.ids if entry not in resolution.again]
        tried: dict[str, Any] = {"attempts": entries.c.attempts + 1}
        if settled:
            mark = sa.update(entries).where(entries.c.id.in_(settled))
            await connection.execute(mark.values(resolved_at=sa.func.now(), **tried))
        if resolution.again:
            mark = sa.update(entries).where(entries.c.id == sa.bindparam("of"))
            told: dict[str, Any] = {"reason": sa.bindparam("why"), "detail": sa.bindparam("told")}
            await connection.execute(
                mark.values(**tried, **told),
                [
                    {"of": entry, "why": quarantine.storable(reason), "told": quarantine.storable(detail)}
                    for entry, (reason, detail) in resolution.again.items()
                ],
            )

    async def _fetch(self, query: "sa.Select[Any]") -> list[tuple[Any, ...]]:
        async def work(connection: AsyncConnection, _: Mapping[str, Folded]) -> list[tuple[Any, ...]]:
            return [tuple(row) for row in await connection.execute(query)]

        return await self._store.transact({}, work)


def _selected(query: "sa.Select[Any]", selection: Selection) -> "sa.Select[Any]":
    if selection.ids:
        query = query.where(entries.c.id.in_(selection.ids))
    if selection.feed is not None:
        backfills = entries.c.feed.startswith(f"{selection.feed}@", autoescape=True)
        query = query.where((entries.c.feed == selection.feed) | backfills)
    if selection.reason is not None:
        query = query.where(entries.c.reason.startswith(selection.reason, autoescape=True))
    if selection.mentions:
        query = query.where(_holds(b"\0") | sa.and_(*map(_holds, selection.mentions)))
    return query if selection.resolved else query.where(entries.c.resolved_at.is_(None))


def _holds(part: bytes) -> "sa.ColumnElement[bool]":
    raw = sa.func.coalesce(entries.c.record, entries.c.message)
    return sa.func.pg_catalog.position(raw, sa.literal(part, sa.LargeBinary)) > 0
