"""The log of batches: what each transaction wrote, kept for a week."""

from datetime import timedelta

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from service.model import Counts
from service.store.schema import COUNTS, batches
from service.store.write import Write

KEPT = timedelta(days=7)

_INSERT = sa.insert(batches)
_PRUNE = sa.delete(batches).where(batches.c.committed_at < sa.func.now() - KEPT)

_COUNTS_OF = (
    sa.select(*(batches.c[name] for name in COUNTS))
    .where(batches.c.feed == sa.bindparam("feed"))
    .where(batches.c.first_sequence == sa.bindparam("first"), batches.c.last_sequence == sa.bindparam("last"))
    .order_by(batches.c.id.desc())
    .limit(1)
)


async def note(connection: AsyncConnection, write: Write, counts: Counts, seconds: float) -> None:
    """Add a batch; ``seconds`` is how long it took up to here."""
    values = {"feed": write.feed, "first_sequence": write.first, "last_sequence": write.last, "seconds": seconds}
    await connection.execute(_INSERT, values | {name: getattr(counts, name) for name in COUNTS})


async def recall(connection: AsyncConnection, write: Write) -> Counts | None:
    """Give what became of a batch that is already committed; None where its line is gone."""
    found = (
        await connection.execute(_COUNTS_OF, {"feed": write.feed, "first": write.first, "last": write.last})
    ).first()
    return None if found is None else Counts(*found)


async def prune(connection: AsyncConnection) -> None:
    """Drop batches that are older than a week."""
    await connection.execute(_PRUNE)
