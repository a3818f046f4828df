"""What the database keeps of one key: its rows, their history, and the tombstone of a deletion. Nothing is changed."""

from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.ext.asyncio import AsyncConnection

from service.config.modecheck import HISTORY
from service.config.settings import Config
from service.store.fold import Folded
from service.store.history import with_history
from service.store.schema import deleted
from service.store.store import Store
from service.store.tables import build

MOST = 100
"""Rows, or versions, that are read: a key of an `append` table may have any number."""


class Kept(msgspec.Struct, frozen=True):
    """What is kept of a key.

    Attributes:
        rows: in the types of their columns, by name; JSON as text. More than one only with `mode: append`.
        history: every version, the oldest first, as a row with ``valid_from`` and ``valid_to``.
        deleted_version: of the record that deleted the row in the last seven days; None where none did.
        deleted_at: when that was.
    """

    rows: list[dict[str, Any]]
    history: list[dict[str, Any]] = []
    deleted_version: Any = None
    deleted_at: datetime | None = None


async def kept(store: Store, config: Config, table: str, key: Mapping[str, Any]) -> Kept:
    """Read what is kept of a key.

    Args:
        store: of the configuration.
        config: the whole.
        table: its name.
        key: a value for each key column, as its column stores it.

    Raises:
        StoreLost, TableRefused: the database cannot be asked.
    """
    return await store.transact({}, partial(_read, config, table, key))


async def _read(
    config: Config, table: str, key: Mapping[str, Any], connection: AsyncConnection, _: Mapping[str, Folded]
) -> Kept:
    await connection.execute(sa.text("SET TRANSACTION READ ONLY"))
    built = build(with_history(config.tables), config.database.schema_)
    rows = await _select(connection, built[table], key)
    history = []
    if config.tables[table].history:
        history = await _select(connection, built[f"{table}{HISTORY}"], key, "valid_from")
    buried = (await connection.execute(_tombstone(built[table], key))).first()
    version, at = buried or (None, None)
    return Kept(rows, history, version, at)


async def _select(
    connection: AsyncConnection, table: sa.Table, key: Mapping[str, Any], order: str | None = None
) -> list[dict[str, Any]]:
    columns = [
        sa.cast(column, sa.Text).label(column.name) if isinstance(column.type, pg.JSONB) else column
        for column in table.c
    ]
    query = sa.select(*columns).where(*(table.c[name] == value for name, value in key.items())).limit(MOST)
    if order is not None:
        query = query.order_by(table.c[order])
    return [dict(row) for row in (await connection.execute(query)).mappings()]


def _tombstone(table: sa.Table, key: Mapping[str, Any]) -> "sa.Select[Any]":
    """Ask for the key as tombstones are written; see Deletion."""
    values = [sa.literal(value, table.c[name].type) for name, value in key.items()]
    written = [
        sa.func.timezone("UTC", value) if isinstance(value.type, sa.DateTime) else sa.cast(value, value.type)
        for value in values
    ]
    return sa.select(deleted.c.version, deleted.c.deleted_at).where(
        deleted.c.table_name == table.name, deleted.c.key == sa.func.jsonb_build_array(*written, type_=pg.JSONB())
    )
