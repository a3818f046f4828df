"""Migration: makes what is missing, refuses what has drifted, and prints the SQL of it all."""

from collections.abc import Iterator, Mapping
from typing import Literal

import sqlalchemy as sa
from sqlalchemy.schema import CreateColumn, CreateIndex, CreateSchema, CreateTable

from service.config.tables import Table
from service.errors import TableRefused
from service.store import schema as own
from service.store.drift import Found, drift, inspect_tables
from service.store.history import with_history
from service.store.tables import DIALECT, build

_LOCK = 0x6865616472616365
"""The advisory lock of migrations: "headrace" in ASCII. One daemon migrates at a time."""

_PARTITIONED = sa.text(
    "SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
    "WHERE c.relkind = 'p' AND n.nspname = :schema"
)


def prepare(
    connection: sa.Connection,
    built: Mapping[str, sa.Table],
    tables: Mapping[str, Table],
    mode: Literal["create", "verify", "off"],
) -> frozenset[str]:
    """Bring the database to the configuration, or refuse, all in the connection's transaction.

    Missing schemas, tables, columns and indexes are made; nothing is ever changed or dropped.

    Returns:
        The names of the tables that are partitioned.

    Raises:
        TableRefused: a table has drifted, or a column cannot be added; every difference is named.
    """
    schema = next(iter(built.values())).schema or "public"
    if mode == "create":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
        _create_own(connection)
        _create_schema(connection, schema)
        _create(connection, built, inspect_tables(connection, schema, list(tables)))
    if mode != "off":
        _verify(connection, schema, tables, strict=mode == "verify")
    return frozenset(connection.execute(_PARTITIONED, {"schema": schema}).scalars())


def ddl(tables: Mapping[str, Table], schema: str) -> str:
    """Print the SQL that makes the tables of a configuration, and the service's own, from nothing."""
    built = build(with_history(tables), schema)
    statements: list[sa.schema.ExecutableDDLElement] = [] if schema == "public" else [CreateSchema(schema, True)]
    for table in built.values():
        statements += _statements(table)
    statements.append(CreateSchema(own.SCHEMA, True))
    for table in own.metadata.sorted_tables:
        statements += _statements(table)
    return "".join(f"{_sql(statement)};\n\n" for statement in statements).rstrip("\n") + "\n"


def _statements(table: sa.Table) -> Iterator[sa.schema.ExecutableDDLElement]:
    yield CreateTable(table)
    for index in sorted(table.indexes, key=lambda index: str(index.name)):
        yield CreateIndex(index)


def _create_own(connection: sa.Connection) -> None:
    _create_schema(connection, own.SCHEMA)
    own.metadata.create_all(connection)


def _create_schema(connection: sa.Connection, schema: str) -> None:
    # Not IF NOT EXISTS: that asks for the right to create even where there is nothing to do.
    if not sa.inspect(connection).has_schema(schema):
        connection.execute(CreateSchema(schema))


def _create(connection: sa.Connection, built: Mapping[str, sa.Table], found: Mapping[str, Found]) -> None:
    refused: list[str] = []
    for name, table in built.items():
        there = found.get(name)
        if there is None:
            table.create(connection)
            continue
        for column in table.columns:
            if column.name not in there.columns:
                refused += _add(connection, table, column)
        if not refused:
            for index in table.indexes:
                if tuple(column.name for column in index.columns) not in there.indexed:
                    index.create(connection)
    if refused:
        raise TableRefused("; ".join(refused))


def _add(connection: sa.Connection, table: sa.Table, column: "sa.Column[object]") -> Iterator[str]:
    """Add a column, or say why it cannot be added and what to run by hand."""
    alter = f"ALTER TABLE {_name(table)} ADD COLUMN {_sql(CreateColumn(column)).strip()}"
    if column.nullable or column.server_default is not None or not _has_rows(connection, table):
        connection.execute(sa.text(alter.replace(":", r"\:")))
        return
    later = sa.Column(column.name, column.type)
    by_hand = [
        f"ALTER TABLE {_name(table)} ADD COLUMN {_sql(CreateColumn(later))}",
        f"fill {_quoted(column.name)}",
        f"ALTER TABLE {_name(table)} ALTER COLUMN {_quoted(column.name)} SET NOT NULL",
    ]
    yield (
        f"{table.name}.{column.name} is to be NOT NULL, but the table has rows; "
        f"give the column a default, or by hand: {', then '.join(by_hand)}"
    )


def _has_rows(connection: sa.Connection, table: sa.Table) -> bool:
    return connection.execute(sa.select(sa.literal(1)).select_from(table).limit(1)).first() is not None


def _verify(connection: sa.Connection, schema: str, tables: Mapping[str, Table], *, strict: bool) -> None:
    found = inspect_tables(connection, schema, list(tables))
    problems = [f"{schema}.{name} does not exist" for name in tables if name not in found]
    for name, there in found.items():
        problems += drift(name, tables[name], there, connection.dialect, strict=strict)
    mine = inspect_tables(connection, own.SCHEMA, [table.name for table in own.metadata.tables.values()])
    for table in own.metadata.sorted_tables:
        columns = mine[table.name].columns if table.name in mine else {}
        problems += [
            f"{table.fullname}.{column.name} does not exist" for column in table.columns if column.name not in columns
        ]
    if problems:
        raise TableRefused(f"the database is not as configured (`headrace ddl` prints the SQL): {'; '.join(problems)}")


def _name(table: sa.Table) -> str:
    return str(DIALECT.identifier_preparer.format_table(table))


def _quoted(name: str) -> str:
    return str(DIALECT.identifier_preparer.quote(name))


def _sql(statement: sa.schema.ExecutableDDLElement | CreateColumn) -> str:
    return str(statement.compile(dialect=DIALECT)).strip()
