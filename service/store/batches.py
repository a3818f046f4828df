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


async def note(connection: AsyncConnection, write: Write, counts: Counts, seconds: float) -> None:
    """Add a batch; ``seconds`` is how long it took up to here."""
    values = {"feed": write.feed, "first_sequence": write.first, "last_sequence": write.last, "seconds": seconds}
    await connection.execute(_INSERT, values | {name: getattr(counts, name) for name in COUNTS})


async def prune(connection: AsyncConnection) -> None:
    """Drop batches that are older than a week."""
    await connection.execute(_PRUNE)
