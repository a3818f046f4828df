"""The quarantine: what could not be loaded, written in the transaction of its batch."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from service.model import Refusal
from service.store.schema import quarantine

MESSAGE_LIMIT = 64 << 10
"""Bytes of a message above which it is kept only for a refusal that has no record of its own: whatever is done with a
refused record, its own bytes are enough."""

_INSERT = sa.insert(quarantine)


async def put(connection: AsyncConnection, refusals: Sequence[Refusal]) -> None:
    """Add refusals, in order; a message is kept once, with the first of its records."""
    kept = set[bytes]()
    values = []
    for refusal in refusals:
        values.append(_values(refusal, is_kept=refusal.message in kept))
        kept.add(refusal.message)
    if values:
        await connection.execute(_INSERT, values)


def _values(refusal: Refusal, *, is_kept: bool) -> dict[str, Any]:
    whole = refusal.record is None or (len(refusal.message) <= MESSAGE_LIMIT and not is_kept)
    return {
        "provider": refusal.feed.partition(".")[0],
        "feed": refusal.feed,
        "table_name": refusal.table,
        "reason": storable(refusal.reason),
        "detail": storable(refusal.detail),
        "record": refusal.record,
        "message": refusal.message if whole else None,
        "number": refusal.index,
        "meta": refusal.meta,
        "received_at": datetime.fromtimestamp(refusal.received_at, UTC),
    }


def storable(text: str) -> str:
    """Escape what text in Postgres cannot hold: NUL and lone surrogates, which a refused value may well contain."""
    return text.replace("\0", "\\x00").encode(errors="backslashreplace").decode()
