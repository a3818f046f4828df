"""The configured tables as SQLAlchemy's, and which types of Postgres hold which of ours."""

import base64
import json
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg
from sqlalchemy.types import TypeEngine

from service.config.tables import Column, ColumnType, Table


class _Dialect(PGDialect_asyncpg):
    """Writes SQL as the driver sends it; other dialects of Postgres double every percent sign."""

    # Until it meets a server, SQLAlchemy doubles backslashes, as servers before 8.2 needed it.
    _backslash_escapes = False


DIALECT = _Dialect()  # type: ignore[no-untyped-call]

_TYPES: dict[ColumnType, TypeEngine[Any]] = {
    "text": sa.Text(),
    "integer": sa.BigInteger(),
    "float": sa.Double(),
    "decimal": sa.Numeric(),
    "boolean": sa.Boolean(),
    "timestamp": sa.DateTime(timezone=True),
    "date": sa.Date(),
    "time": sa.Time(),
    "uuid": sa.Uuid(),
    "json": pg.JSONB(),
    "bytes": sa.LargeBinary(),
}

_HOLDERS: dict[ColumnType, tuple[type[TypeEngine[Any]], ...]] = {
    "text": (sa.TEXT, sa.VARCHAR, sa.CHAR, pg.ENUM),
    "integer": (sa.BIGINT, sa.INTEGER, sa.SMALLINT),
    "float": (sa.DOUBLE_PRECISION,),
    "decimal": (sa.NUMERIC,),
    "boolean": (sa.BOOLEAN,),
    "timestamp": (sa.TIMESTAMP,),
    "date": (sa.DATE,),
    "time": (sa.TIME,),
    "uuid": (sa.UUID,),
    "json": (pg.JSONB, pg.JSON),
    "bytes": (pg.BYTEA,),
}
"""What a column of a user's own table may be. Narrower ones (varchar(20), smallint) refuse a value, never change it."""


def build(tables: Mapping[str, Table], schema: str) -> dict[str, sa.Table]:
    """Build the tables of a configuration, by name."""
    metadata = sa.MetaData(schema=schema)
    return {name: _table(name, table, metadata) for name, table in tables.items()}


def type_of(column: Column) -> TypeEngine[Any]:
    """Give the type that a column is created with."""
    item = _TYPES[column.type]
    return pg.ARRAY(item) if column.list else item


def unfit(found: TypeEngine[Any], column: Column) -> str | None:
    """Say why a column of the database, of the type ``found``, cannot take the values of a configured one as they are.

    None: it can, unless it rounds, which ``Found.rounding`` tells.
    """
    if isinstance(found, pg.DOMAIN):
        return unfit(found.data_type, column)
    if column.list and isinstance(found, pg.ARRAY):
        return unfit(found.item_type, column.model_copy(update={"list": False}))
    if column.list or not _holds(found, column):
        return f"cannot hold {column.type}{' list' if column.list else ''}"
    if isinstance(found, sa.CHAR) and not column.trim:
        return "drops blanks at the end without a word"
    return None


def quoted(name: str) -> str:
    """Write a name as SQL has it."""
    return str(DIALECT.identifier_preparer.quote(name))


def _holds(found: TypeEngine[Any], column: Column) -> bool:
    if isinstance(found, sa.REAL | pg.CITEXT):  # six digits; its idea of equal keys is not ours
        return False
    if column.type in {"timestamp", "time"}:
        zoned = getattr(found, "timezone", False)
        return isinstance(found, _HOLDERS[column.type]) and zoned == (column.type == "timestamp")
    return isinstance(found, _HOLDERS[column.type])


def _table(name: str, table: Table, metadata: sa.MetaData) -> sa.Table:
    columns = [
        sa.Column(
            column,
            type_of(settings),
            nullable=settings.null,
            server_default=_default(settings),
            autoincrement=False,
        )
        for column, settings in table.columns.items()
    ]
    key = [] if table.mode == "append" else [sa.PrimaryKeyConstraint(*table.key)]
    return sa.Table(name, metadata, *columns, *key)


def _default(column: Column) -> str | None:
    """Write the default as text, which Postgres reads as the column's type."""
    value = column.default
    if value is None:
        return None
    if column.list:
        return "{" + ",".join(json.dumps(_text(item, column), ensure_ascii=False) for item in value) + "}"
    return _text(value, column)


def _text(value: Any, column: Column) -> str:
    if column.type == "json":
        return json.dumps(value, ensure_ascii=False)
    if column.type == "bytes":
        return f"\\x{base64.b64decode(value).hex()}"
    return str(value)
