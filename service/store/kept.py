"""What the database keeps of one key: rows, their history, versions of columns, a tombstone, deltas that wait.

Nothing is changed.
"""

from collections.abc import Mapping, Sequence
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
from service.store.schema import column_versions, deleted, waiting
from service.store.store import Store
from service.store.tables import build

MOST = 100
"""Rows, or versions, that are read: a key of an `append` table may have any number."""


class Wait(msgspec.Struct, frozen=True):
    """A delta that waits for its row.

    Attributes:
        id: in ``headrace.waiting``.
        feed: ``provider.feed``.
        number: of the record in its message, from 0.
        carried: what it carries, by column, as JSON has it.
        raw: bytes of the record.
        received_at: when its message was received.
        until: when it goes to quarantine.
    """

    id: int
    feed: str
    number: int
    carried: dict[str, Any]
    raw: bytes
    received_at: datetime
    until: datetime


class Kept(msgspec.Struct, frozen=True):
    """What is kept of a key.

    Attributes:
        rows: in the types of their columns, by name; JSON as text. More than one only with `mode: append`.
        history: every version, the oldest first, as a row with ``valid_from`` and ``valid_to``.
        deleted_version: of the record that deleted the row in the last seven days; None where none did.
        deleted_at: when that was.
        versions: by column, of those that are not of the row's own version; a partial feed wrote them.
        waiting: deltas that wait for the row, in order of arrival.
    """

    rows: list[dict[str, Any]]
    history: list[dict[str, Any]] = []
    deleted_version: Any = None
    deleted_at: datetime | None = None
    versions: dict[str, Any] = {}
    waiting: list[Wait] = []


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
    written, name = _written(built[table], key), config.tables[table].version
    version, at, versions = None, None, dict[str, Any]()
    if name is not None:
        column = built[table].c[name]
        buried = (await connection.execute(_tombstone(column, written))).first()
        version, at = buried or (None, None)
        versions = dict(map(tuple, await connection.execute(_versions(column, written))))
    waits = [_wait(tuple(row)) for row in await connection.execute(_waiting(table, written))]
    return Kept(rows, history, version, at, versions, waits)


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


def _written(table: sa.Table, key: Mapping[str, Any]) -> "sa.ColumnElement[Any]":
    """Write the key as the service's own tables hold it; see json_key."""
    values = [sa.literal(value, table.c[name].type) for name, value in key.items()]
    written = [
        sa.func.timezone("UTC", value) if isinstance(value.type, sa.DateTime) else sa.cast(value, value.type)
        for value in values
    ]
    return sa.func.jsonb_build_array(*written, type_=pg.JSONB())


def _tombstone(version: "sa.Column[Any]", key: "sa.ColumnElement[Any]") -> "sa.Select[Any]":
    same = (deleted.c.table_name == version.table.name, deleted.c.key == key)
    text = deleted.c.version.op("#>>")(sa.literal_column("'{}'"))
    return sa.select(sa.cast(text, version.type), deleted.c.deleted_at).where(*same)


def _versions(version: "sa.Column[Any]", key: "sa.ColumnElement[Any]") -> "sa.Select[Any]":
    each = sa.func.jsonb_each_text(column_versions.c.versions).table_valued("key", "value", name="each")
    same = (column_versions.c.table_name == version.table.name, column_versions.c.key == key)
    columns = (each.c.key, sa.cast(each.c.value, version.type))
    return sa.select(*columns).select_from(column_versions.join(each, sa.true())).where(*same)


def _waiting(table: str, key: "sa.ColumnElement[Any]") -> "sa.Select[Any]":
    raw = sa.func.coalesce(waiting.c.record, waiting.c.message)
    columns = (waiting.c.id, waiting.c.feed, waiting.c.number, waiting.c.delta, waiting.c.carried, raw)
    query = sa.select(*columns, waiting.c.received_at, waiting.c.until).where(
        waiting.c.table_name == table, waiting.c.key == key, waiting.c.outcome.is_(None)
    )
    return query.order_by(waiting.c.id).limit(MOST)


def _wait(row: Sequence[Any]) -> Wait:
    of, feed, number, delta, carried, *others = row
    return Wait(of, feed, number, {name: delta.get(name) for name in carried}, *others)
