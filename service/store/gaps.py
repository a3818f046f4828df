"""Gaps, and where sequences stand: noted in the transaction of the messages that told them."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.ext.asyncio import AsyncConnection

from service.store.schema import gaps, sequences
from service.store.write import Gap, Heard, Number

MOST = 10_000
"""Open gaps, the newest, that are read at a start."""
MOST_NUMBERS = 100_000
"""Sequences of one feed that are read at a start, those that were heard of last."""
KEPT = timedelta(days=90)
"""How long a gap that was filled is kept."""

_TIMES = ("from_time", "to_time", "filled_at")
_insert = pg.insert(gaps)
_changed = [column.name for column in gaps.c if column.name not in {"id", "feed", "filled_by", "filled_at"}]
# What was filled stays so, unless it went on since: the transaction that fills is not the one that notes.
_stays = gaps.c.filled_at >= _insert.excluded.to_time
_NOTE = _insert.on_conflict_do_update(
    index_elements=["id"],
    set_={name: _insert.excluded[name] for name in _changed}
    | {name: sa.case((_stays, gaps.c[name]), else_=_insert.excluded[name]) for name in ("filled_by", "filled_at")},
)
_number = pg.insert(sequences)
_STAND = _number.on_conflict_do_update(
    index_elements=["feed", "key"], set_={name: _number.excluded[name] for name in ("last", "epoch", "received_at")}
)
_OPEN = (
    sa.select(gaps)
    .where(gaps.c.feed == sa.bindparam("feed"), gaps.c.filled_at.is_(None))
    .order_by(gaps.c.from_time.desc())
    .limit(MOST)
)
_NUMBERS = (
    sa.select(sequences)
    .where(sequences.c.feed == sa.bindparam("feed"))
    .order_by(sequences.c.received_at.desc())
    .limit(MOST_NUMBERS)
)
_PRUNE = sa.delete(gaps).where(gaps.c.filled_at < sa.func.now() - KEPT)


async def note(connection: AsyncConnection, feed: str, heard: Heard) -> None:
    """Write down gaps as they stand now, and where sequences stand."""
    if heard.gaps:
        await connection.execute(_NOTE, [_values(feed, gap) for gap in heard.gaps.values()])
    if heard.numbers:
        rows = [
            {"feed": feed, "key": key, "last": number.last, "epoch": number.epoch, "received_at": moment(number.at)}
            for key, number in sorted(heard.numbers.items())
        ]
        await connection.execute(_STAND, rows)


async def recall(connection: AsyncConnection, feed: str) -> Heard:
    """Give the open gaps of a feed, oldest first, and where its sequences stand."""
    found = (await connection.execute(_OPEN, {"feed": feed})).all()
    stand = (await connection.execute(_NUMBERS, {"feed": feed})).all()
    return Heard(
        {row.id: _gap(row) for row in reversed(found)},
        {row.key: Number(row.last, row.received_at.timestamp(), row.epoch) for row in reversed(stand)},
    )


async def fill(connection: AsyncConnection, feed: str, by: str, *, ids: Sequence[UUID], until: float) -> list[UUID]:
    """Mark open gaps as filled now; return which.

    Args:
        connection: within a transaction.
        feed: whose gaps.
        by: the feed that repaired them.
        ids: those gaps only; all where there are none.
        until: they ended by then, in seconds since the epoch.
    """
    update = sa.update(gaps).where(gaps.c.feed == feed, gaps.c.filled_at.is_(None), gaps.c.to_time <= moment(until))
    if ids:
        update = update.where(gaps.c.id.in_(ids))
    filled = update.values(filled_by=by, filled_at=sa.func.clock_timestamp()).returning(gaps.c.id)
    return list((await connection.execute(filled)).scalars())


async def prune(connection: AsyncConnection) -> None:
    """Drop gaps that were filled long ago."""
    await connection.execute(_PRUNE)


def moment(seconds: float) -> datetime:
    """Give seconds since the epoch as they are stored."""
    return datetime.fromtimestamp(seconds, UTC)


def _values(feed: str, gap: Gap) -> dict[str, Any]:
    values = {"feed": feed, **msgspec.structs.asdict(gap)}
    return values | {name: moment(values[name]) for name in _TIMES if values[name] is not None}


def _gap(row: "sa.Row[Any]") -> Gap:
    values = {name: getattr(row, name) for name in Gap.__struct_fields__}
    return Gap(**values | {name: values[name].timestamp() for name in _TIMES if values[name] is not None})
