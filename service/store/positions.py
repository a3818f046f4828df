"""Positions: where each feed stands and its ledger, moved in the transaction that writes the rows."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.ext.asyncio import AsyncConnection

from service.errors import PositionTaken, RowsTouched, StoreLost
from service.model import Commit, Counts
from service.store.batches import NOTE
from service.store.schema import COUNTS, positions
from service.store.write import Write

_OF_FEED = sa.select(positions).where(positions.c.feed == sa.bindparam("feed"))
_LOCKED = _OF_FEED.with_for_update()
# Counts are added here, not set: a replay of quarantined records moves them, too, while a daemon runs the feed.
_ADD = (
    sa.update(positions)
    .where(positions.c.feed == sa.bindparam("of_feed"))
    .values({name: positions.c[name] + sa.bindparam(f"more_{name}") for name in COUNTS} | {"updated_at": sa.func.now()})
    .returning(*(positions.c[name] for name in COUNTS))
)
_MOVE = _ADD.values(
    {
        name: sa.bindparam(f"to_{name}", type_=positions.c[name].type)
        for name in ("lane", "sequence", "source", "received_at")
    }
).add_cte(NOTE)
_BEGUN = ("feed", "lane", "sequence", "source", "received_at", *COUNTS)
_BEGIN = (
    pg.insert(positions)
    .values({name: sa.bindparam(f"new_{name}") for name in _BEGUN})
    .on_conflict_do_nothing()
    .returning(positions.c.feed)
    .add_cte(NOTE)
)


async def read(connection: AsyncConnection, feed: str) -> Commit | None:
    """Read where a feed stands; None when it never committed anything."""
    return _commit((await connection.execute(_OF_FEED, {"feed": feed})).one_or_none())


async def settled(connection: AsyncConnection, write: Write) -> Commit | None:
    """Lock the position of a batch's feed; return it if this very batch is already committed.

    That is so when the answer to an earlier COMMIT was lost. None: the batch is to be written now.

    Raises:
        PositionTaken: the feed stands neither before nor after this batch.
    """
    stored = _commit((await connection.execute(_LOCKED, {"feed": write.feed})).one_or_none())
    if _place(stored) == _place(write.before):
        return None
    if stored is not None and _place(stored) == (write.lane, write.last):
        return stored
    raise PositionTaken(
        f"{write.feed}: the database has it at {_shown(stored)}, this daemon left it at {_shown(write.before)}; "
        "does another daemon run this feed?"
    )


async def move(connection: AsyncConnection, write: Write, counts: Counts, noted: Mapping[str, Any]) -> Commit:
    """Move a locked position to the end of a batch, add the batch's counts to the feed's, and note the batch.

    Args:
        connection: of the batch's transaction.
        write: the batch.
        counts: what became of it.
        noted: the parameters of its line in the log of batches.

    Raises:
        StoreLost: another transaction began the position meanwhile; the next try will see it.
    """
    source = write.source
    if source is None and write.before is not None:
        source = write.before.source
    if write.before is None:
        values = {"new_feed": write.feed, "new_lane": write.lane, "new_sequence": write.last, "new_source": source}
        values |= {"new_received_at": _received(write), **_terms(counts, "new_")}
        if (await connection.execute(_BEGIN, {**values, **noted})).first() is None:
            raise StoreLost(f"{write.feed}: its position has just been written by another transaction")
        return Commit(write.lane, write.last, source, msgspec.structs.replace(counts), write.received_at)
    values = {"to_lane": write.lane, "to_sequence": write.last, "to_source": source, "to_received_at": _received(write)}
    values |= {"of_feed": write.feed, **_terms(counts, "more_")}
    total = (await connection.execute(_MOVE, {**values, **noted})).one()
    return Commit(write.lane, write.last, source, Counts(*total), write.received_at)


async def lock(connection: AsyncConnection, feed: str) -> None:
    """Keep the feed's position, and so its daemon's next commit, until the transaction ends."""
    await connection.execute(_LOCKED, {"feed": feed})


async def untouched(connection: AsyncConnection, write: Write) -> int | None:
    """See that nobody else wrote rows in the name of a watched write's feed; return how many were written before it.

    The feed's position is locked. A backfill that commits after this writes after the batch, and so after what that
    leaves out.

    Raises:
        RowsTouched: a backfill or a replay of the quarantine wrote some since ``write.before``.
    """
    if not write.is_watched:
        return None
    known, written = write.before and write.before.written, await _written(connection, write.feed)
    if known is not None and known != written:
        raise RowsTouched(write.feed, written)
    return written


async def _written(connection: AsyncConnection, feed: str) -> int:
    name = feed.partition("@")[0]  # that of a backfill's position follows it
    its = (positions.c.feed == name) | positions.c.feed.startswith(f"{name}@", autoescape=True)
    rows = sa.func.sum(positions.c.inserted + positions.c.updated + positions.c.deleted)
    return int((await connection.execute(sa.select(sa.func.coalesce(rows, 0)).where(its))).scalar_one())


async def add(connection: AsyncConnection, feed: str, counts: Counts) -> None:
    """Add to a feed's ledger, negative figures too, and leave its position where it is."""
    await connection.execute(_ADD, {"of_feed": feed, **_terms(counts, "more_")})


def _terms(counts: Counts, prefix: str) -> dict[str, Any]:
    return {f"{prefix}{name}": getattr(counts, name) for name in COUNTS}


def _commit(row: "sa.Row[Any] | None") -> Commit | None:
    if row is None:
        return None
    counts = Counts(**{name: getattr(row, name) for name in COUNTS})
    received_at = row.received_at.timestamp() if row.received_at is not None else None
    return Commit(row.lane, row.sequence, row.source, counts, received_at)


def _received(write: Write) -> datetime | None:
    return datetime.fromtimestamp(write.received_at, UTC) if write.received_at is not None else None


def _place(commit: Commit | None) -> tuple[str, int] | None:
    return None if commit is None else (commit.lane, commit.sequence)


def _shown(commit: Commit | None) -> str:
    return "no position" if commit is None else f"message {commit.sequence} of lane {commit.lane}"
