"""Isolation: which rows of a batch the database refuses, found by writing ever smaller parts of it."""

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from service.model import Row
from service.store.sqlstate import RowFault, faults
from service.store.upsert import Upsert

MOST = 100
"""Refused rows that one search looks for; a batch with more takes another search."""


async def refused_rows(connection: AsyncConnection, upsert: Upsert, rows: Sequence[Row]) -> dict[int, RowFault]:
    """Find rows that are refused, by index, in a transaction that will be rolled back.

    Parts that are accepted stay written, so that each row is judged in the company it would have had. One bad row costs
    about two more writes of the batch; a fault that the COPY names costs the search nothing.
    """
    refused: dict[int, RowFault] = {}
    pending = [(0, len(rows))]
    while pending and len(refused) < MOST:
        first, end = pending.pop()
        fault = await _try(connection, upsert, rows[first:end]) if first < end else None
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


async def _try(connection: AsyncConnection, upsert: Upsert, rows: Sequence[Row]) -> RowFault | None:
    """Write rows and keep them, or undo all of it and return the fault."""
    try:
        with faults():
            async with connection.begin_nested():
                await upsert.write(connection, rows)
                await upsert.empty(connection)
    except RowFault as fault:
        return fault
    return None
