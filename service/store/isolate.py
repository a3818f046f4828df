"""Isolation: which rows of a batch the database refuses, told by a sieve or found by writing ever smaller parts."""

from collections.abc import Awaitable, Sequence

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from service.model import Row
from service.store.sqlstate import RowFault, faults
from service.store.upsert import Upsert

MOST = 100
"""Refused rows that one search looks for; a batch with more takes another search."""

_CHANGED_ON_THE_WAY = sa.text(
    "SELECT EXISTS (SELECT FROM pg_trigger WHERE NOT tgisinternal AND tgtype & 3 = 3"
    " AND tgrelid IN (SELECT relid FROM pg_partition_tree(to_regclass(:name)) UNION SELECT to_regclass(:name)))"
)
"""Whether a trigger sees rows before the constraints do (BEFORE, FOR EACH ROW: pg_trigger.h)."""


async def refused_rows(connection: AsyncConnection, upsert: Upsert, rows: Sequence[Row]) -> dict[int, RowFault]:
    """Find rows that are refused, by index, in a transaction that will be rolled back.

    There may be more than are found at once: whoever takes these out and tries again finds the others.
    """
    return await _sieved(connection, upsert, rows) or await _searched(connection, upsert, rows)


async def _sieved(connection: AsyncConnection, upsert: Upsert, rows: Sequence[Row]) -> dict[int, RowFault]:
    """Find rows that the COPY into an empty table with the constraints of the target names, one after another."""
    refused: dict[int, RowFault] = {}
    if upsert.sieve_sql is None or (await connection.execute(_CHANGED_ON_THE_WAY, {"name": upsert.name})).scalar_one():
        return refused
    await connection.execute(sa.text(upsert.sieve_sql))
    first = 0
    while first < len(rows) and len(refused) < MOST:
        fault = await _fault(connection, upsert.sieve(connection, rows[first:]))
        if fault is None or fault.row is None:
            break
        first += fault.row
        refused[first] = fault
        first += 1
    return refused


async def _searched(connection: AsyncConnection, upsert: Upsert, rows: Sequence[Row]) -> dict[int, RowFault]:
    """Find rows by halves: what no constraint of the table alone tells, such as foreign keys and triggers.

    Parts that are accepted stay written, so that each row is judged in the company it would have had. One bad row costs
    about two more writes of the batch.
    """
    refused: dict[int, RowFault] = {}
    pending = [(0, len(rows))]
    while pending and len(refused) < MOST:
        first, end = pending.pop()
        fault = await _fault(connection, _written(connection, upsert, rows[first:end])) if first < end else None
        if fault is None:
            continue
        if fault.row is not None or end - first == 1:
            bad = first + (fault.row or 0)
            refused[bad] = fault
            pending += [(bad + 1, end), (first, bad)]
        else:
            middle = (first + end) // 2
            pending += [(middle, end), (first, middle)]
    return refused


async def _written(connection: AsyncConnection, upsert: Upsert, rows: Sequence[Row]) -> None:
    await upsert.stage(connection, rows)
    await upsert.merge(connection, rows)
    await upsert.empty(connection)


async def _fault(connection: AsyncConnection, work: Awaitable[None]) -> RowFault | None:
    """Do some work and keep it, or undo all of it and return the fault."""
    try:
        with faults():
            async with connection.begin_nested():
                await work
    except RowFault as fault:
        return fault
    return None
