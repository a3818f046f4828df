"""The log of batches: what each transaction wrote, kept for a week."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from service.model import Counts
from service.store.schema import COUNTS, batches
from service.store.write import Write

KEPT = timedelta(days=7)

_NOTED = ("feed", "first_sequence", "last_sequence", "seconds", "tables", *COUNTS)
NOTE = sa.insert(batches).values({name: sa.bindparam(f"of_batch_{name}") for name in _NOTED}).cte("noted")
"""Adds a batch, as part of the statement that moves its feed's position; ``noting`` gives what it takes."""
_PRUNE = sa.delete(batches).where(batches.c.committed_at < sa.func.now() - KEPT)

_COUNTS_OF = (
    sa.select(batches.c.tables, *(batches.c[name] for name in COUNTS))
    .where(batches.c.feed == sa.bindparam("feed"))
    .where(batches.c.first_sequence == sa.bindparam("first"), batches.c.last_sequence == sa.bindparam("last"))
    .order_by(batches.c.id.desc())
    .limit(1)
)


def noting(write: Write, counts: Counts, tables: Mapping[str, Counts], seconds: float) -> dict[str, Any]:
    """Give the parameters of NOTE; ``seconds`` is how long the batch took up to here."""
    by_table = None
    if len(tables) > 1:  # else the counts of the batch tell: a line more for each of many small ones takes room
        by_table = {name: {term: n for term in COUNTS if (n := getattr(each, term))} for name, each in tables.items()}
    values = (write.feed, write.first, write.last, seconds, by_table, *(getattr(counts, name) for name in COUNTS))
    return {f"of_batch_{name}": value for name, value in zip(_NOTED, values, strict=True)}


async def recall(connection: AsyncConnection, write: Write) -> tuple[Counts, dict[str, Counts]] | None:
    """Give what became of a batch that is already committed, and of its rows by table; None where its line is gone."""
    found = (
        await connection.execute(_COUNTS_OF, {"feed": write.feed, "first": write.first, "last": write.last})
    ).first()
    if found is None:
        return None
    tables, *counts = found
    return Counts(*counts), {name: Counts(**each) for name, each in (tables or {}).items()}


async def prune(connection: AsyncConnection) -> None:
    """Drop batches that are older than a week."""
    await connection.execute(_PRUNE)
