"""The log of batches: what each transaction wrote, kept for a week."""

from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from service.model import Counts
from service.store.schema import COUNTS, batches
from service.store.write import Write

KEPT = timedelta(days=7)

_NOTED = ("feed", "first_sequence", "last_sequence", "seconds", *COUNTS)
NOTE = sa.insert(batches).values({name: sa.bindparam(f"of_batch_{name}") for name in _NOTED}).cte("noted")
"""Adds a batch, as part of the statement that moves its feed's position; ``noting`` gives what it takes."""
_PRUNE = sa.delete(batches).where(batches.c.committed_at < sa.func.now() - KEPT)

_COUNTS_OF = (
    sa.select(*(batches.c[name] for name in COUNTS))
    .where(batches.c.feed == sa.bindparam("feed"))
    .where(batches.c.first_sequence == sa.bindparam("first"), batches.c.last_sequence == sa.bindparam("last"))
    .order_by(batches.c.id.desc())
    .limit(1)
)


def noting(write: Write, counts: Counts, seconds: float) -> dict[str, Any]:
    """Give the parameters of NOTE; ``seconds`` is how long the batch took up to here."""
    values = (write.feed, write.first, write.last, seconds, *(getattr(counts, name) for name in COUNTS))
    return {f"of_batch_{name}": value for name, value in zip(_NOTED, values, strict=True)}


async def recall(connection: AsyncConnection, write: Write) -> Counts | None:
    """Give what became of a batch that is already committed; None where its line is gone."""
    found = (
        await connection.execute(_COUNTS_OF, {"feed": write.feed, "first": write.first, "last": write.last})
    ).first()
    return None if found is None else Counts(*found)


async def prune(connection: AsyncConnection) -> None:
    """Drop batches that are older than a week."""
    await connection.execute(_PRUNE)
