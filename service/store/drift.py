"""Drift: how a table in the database differs from the configured one, column by column, and the SQL that mends it."""

import re
import warnings
from collections.abc import Iterable, Iterator, Mapping

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine.interfaces import ReflectedColumn
from sqlalchemy.engine.reflection import Inspector

from service.config.tables import Column, Table
from service.store.tables import DIALECT, quoted, type_of, unfit

_RELATIONS = sa.text(
    "SELECT c.relname, c.relkind::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
    "WHERE n.nspname = :schema AND c.relkind IN ('r', 'p', 'v', 'm', 'f')"
)
_INDEXES = sa.text("""
SELECT c.relname, array_agg(a.attname::text ORDER BY key.place) AS columns,
    i.indisunique AND i.indimmediate AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL AS arbiter
FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace
CROSS JOIN unnest(i.indkey) WITH ORDINALITY AS key (number, place)
LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = key.number AND key.number > 0
WHERE n.nspname = :schema AND key.place <= i.indnkeyatts
GROUP BY i.indexrelid, c.relname
""")
"""SQLAlchemy's reflection does not tell a deferrable or invalid unique index, on which no ON CONFLICT can rest."""

_KINDS = {"v": "a view", "m": "a materialised view", "f": "a foreign table"}


class Found(msgspec.Struct, frozen=True):
    """A table as it stands in the database.

    Attributes:
        kind: what it is instead, if it is no table; else None.
        partitioned: whether it has partitions.
        columns: by name.
        unique: the column lists on which an ON CONFLICT can rest.
        indexed: the column lists of all its indexes; an expression is None.
    """

    kind: str | None
    partitioned: bool
    columns: Mapping[str, ReflectedColumn]
    unique: frozenset[frozenset[str | None]]
    indexed: frozenset[tuple[str | None, ...]]


def inspect_tables(connection: sa.Connection, schema: str, names: Iterable[str]) -> dict[str, Found]:
    """Look at those of the named tables that exist, a few queries for all of them."""
    inspector: Inspector = sa.inspect(connection)
    kinds = {row.relname: row.relkind for row in connection.execute(_RELATIONS, {"schema": schema})}
    there = [name for name in names if name in kinds]
    if not there:
        return {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", sa.exc.SAWarning)  # other columns of a user's table may be of any type
        columns = inspector.get_multi_columns(schema, there, kind=sa.engine.reflection.ObjectKind.ANY)
    indexes = list(connection.execute(_INDEXES, {"schema": schema}))
    return {
        name: Found(
            kind=_KINDS.get(kinds[name]),
            partitioned=kinds[name] == "p",
            columns={column["name"]: column for column in columns[schema, name]},
            unique=frozenset(frozenset(each.columns) for each in indexes if each.relname == name and each.arbiter),
            indexed=frozenset(tuple(each.columns) for each in indexes if each.relname == name),
        )
        for name in there
    }


def drift(name: str, table: Table, found: Found, schema: str, *, strict: bool) -> Iterator[str]:
    """Name each difference that is not simply something missing, with the SQL to run by hand.

    Args:
        name: the table's name.
        table: as configured.
        found: as it stands.
        schema: the schema of both.
        strict: also name a column that may be null in the database and not in the configuration, which harms nobody.
    """
    full = f"{quoted(schema)}.{quoted(name)}"
    if found.kind is not None:
        yield f"{name} is {found.kind}, and Headrace writes to tables; name another table or schema"
        return
    for column, settings in table.columns.items():
        if column in found.columns:
            at = f"ALTER TABLE {full} ALTER COLUMN {quoted(column)}"
            for complaint in _differences(settings, found.columns[column], quoted(column), at, strict=strict):
                yield f"{name}.{column} {complaint}"
    for column, there in found.columns.items():
        if column not in table.columns and not _fills_itself(there):
            yield (
                f"{name}.{column} is not in the configuration, NOT NULL and without default: no row could be added; "
                f"by hand: ALTER TABLE {full} ALTER COLUMN {quoted(column)} DROP NOT NULL, or SET DEFAULT"
            )
    if table.mode != "append" and frozenset(table.key) not in found.unique:
        key = ", ".join(map(quoted, table.key))
        yield (
            f"{name} has no primary key or unique index on its key ({', '.join(table.key)}) that ON CONFLICT can "
            f"use; by hand: CREATE UNIQUE INDEX ON {full} ({key})"
        )


def _differences(wanted: Column, there: ReflectedColumn, name: str, at: str, *, strict: bool) -> Iterator[str]:
    """Complete "table.column ..." for one column; ``at`` begins the statement that alters it."""
    identity = there.get("identity")
    if there.get("computed") or (identity and identity["always"]):
        mend = "DROP IDENTITY" if identity else "DROP EXPRESSION"
        yield f"is generated by the database and cannot be written; leave it out, or by hand: {at} {mend}"
        return
    reason = unfit(there["type"], wanted)
    if reason is not None:
        yield f"is {_type(there['type'])}, which {reason}; by hand: {_alter(wanted, there, name, at)}"
    if wanted.null and not there["nullable"]:
        yield f"is NOT NULL in the database, but may be null in the configuration; by hand: {at} DROP NOT NULL"
    if strict and there["nullable"] and not wanted.null:
        yield f"may be null in the database, but not in the configuration; by hand: {at} SET NOT NULL"


def _alter(wanted: Column, there: ReflectedColumn, name: str, at: str) -> str:
    """Write the change of a type. By way of text, since a value that does not fit then fails rather than rounds."""
    found, kind = there["type"], _type(type_of(wanted))
    listed = isinstance(found, sa.ARRAY)
    if re.sub(r"\(.*?\)", "", _type(found)) == kind:
        value = name
    elif isinstance(found, sa.TIMESTAMP) and wanted.type == "timestamp" and not wanted.list:
        value = f"{name} AT TIME ZONE 'UTC'"
    elif wanted.list and not listed:
        value = f"CASE WHEN {name} IS NOT NULL THEN ARRAY[{name}]::text::{kind} END"
    elif listed and not wanted.list:
        value = f"{name}[1]::text::{kind}"
    else:
        value = f"{name}::text::{kind}"
    before = f"{at} DROP DEFAULT, {at[at.index('ALTER COLUMN') :]}" if there["default"] else at
    return f"{before} TYPE {kind} USING {value}"


def _fills_itself(column: ReflectedColumn) -> bool:
    return bool(column["nullable"] or column["default"] or column.get("identity") or column.get("computed"))


def _type(found: "sa.types.TypeEngine[object]") -> str:
    if isinstance(found, sa.types.NullType):
        return "of a type that Headrace does not know"
    return found.compile(DIALECT)
