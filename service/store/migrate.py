"""Migration: makes what is missing, refuses what has drifted, and prints the SQL of it all."""

from collections.abc import Iterator, Mapping
from typing import Literal

import sqlalchemy as sa

from service.config.tables import Table
from service.errors import TableRefused
from service.store import schema as own
from service.store.drift import no_table
from service.store.found import Found, inspect_tables
from service.store.history import with_history
from service.store.plan import Plan, plan
from service.store.rights import Rights
from service.store.tables import build, quoted
from service.store.upgrade import Upgrade

_LOCK = 0x6865616472616365
"""The advisory lock of migrations: "headrace" in ASCII. One daemon migrates at a time."""

_READ_ONLY = sa.text("SET TRANSACTION READ ONLY")


def prepare(
    connection: sa.Connection,
    built: Mapping[str, sa.Table],
    tables: Mapping[str, Table],
    mode: Literal["create", "verify", "off"],
) -> dict[str, Found]:
    """Bring the database to the configuration, or refuse, all in the connection's transaction.

    Missing schemas, tables, columns and indexes are made, and the service's own tables brought to this release's
    revision; nothing of the user's is ever changed or dropped. ``verify`` and ``off`` only read.

    Returns:
        The tables that were there before, as they stand.

    Raises:
        TableRefused: a table has drifted, a column cannot be added, or the service's own tables are of another release;
            every difference is named.
    """
    if mode == "create":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
    else:
        connection.execute(_READ_ONLY)
    upgrade, schema = Upgrade(), _schema(built)
    rights = Rights(connection, schema)
    _refuse(list(rights.lacking()))
    revision = upgrade.current(connection)
    found = inspect_tables(connection, schema, tables)
    if mode == "off":  # only what no statement of ours could be run against
        views = [name for name, each in found.items() if each.is_view and tables[name].mode == "upsert"]
        _refuse([no_table(name, found[name]) for name in views])
    else:
        todo = plan(connection, built, tables, found, strict=mode == "verify")
        if mode == "verify":
            _verify(connection, upgrade, revision, todo)
        _refuse(todo.refused)
    if mode == "create":
        _refuse(list(rights.to_make(todo, upgrade=revision != upgrade.head)))
        _create_schema(connection, own.SCHEMA)
        if revision != upgrade.head:
            upgrade.run(connection)
        _create_schema(connection, schema)
        for step in todo.steps:
            connection.exec_driver_sql(step.sql)
        _refuse(list(_own_lacks(connection)))
    return found


def review(
    connection: sa.Connection,
    built: Mapping[str, sa.Table],
    tables: Mapping[str, Table],
    mode: Literal["create", "verify", "off"],
) -> None:
    """See what ``prepare`` would say; nothing is changed.

    Raises:
        TableRefused: as ``prepare``, but for what only rows that are there forbid.
    """
    if mode == "create":
        _, refused = missing(connection, built, tables, mode, {})
        _refuse(refused)
    else:
        prepare(connection, built, tables, mode)


def ddl(tables: Mapping[str, Table], schema: str, *, own_too: bool = True) -> str:
    """Print the SQL that makes the tables of a configuration from nothing, and the service's own unless ``own_too``."""
    tables = with_history(tables)
    todo = plan(None, build(tables, schema), tables, {})
    schemas = [name for name in (schema,) if name != "public"]
    return _printed([*schemas, own.SCHEMA], todo, Upgrade().sql(None)) if own_too else _printed(schemas, todo, "")


def missing(
    connection: sa.Connection,
    built: Mapping[str, sa.Table],
    tables: Mapping[str, Table],
    mode: Literal["create", "verify", "off"],
    needed: Mapping[str, frozenset[str]],
) -> tuple[str, list[str]]:
    """Print the SQL that ``migrate: create`` would run in this database; nothing is changed.

    Args:
        connection: in a transaction of its own.
        built: the configured tables as SQLAlchemy's.
        tables: the configured tables.
        mode: with ``create`` the role must be allowed to run the SQL.
        needed: what feeds must be allowed to do with each table; see ``rights.needs``.

    Returns:
        The SQL, empty when nothing is missing or may be seen, and what must be done by hand before it.
    """
    connection.execute(_READ_ONLY)
    upgrade, schema = Upgrade(), _schema(built)
    rights = Rights(connection, schema)
    if blind := [*rights.lacking(), *rights.to_write(tables, needed)]:
        return "", blind
    revision = upgrade.current(connection)
    todo = plan(connection, built, tables, inspect_tables(connection, schema, tables))
    there = sa.inspect(connection).get_schema_names()
    schemas = [name for name in (schema, own.SCHEMA) if name not in there]
    lacking = list(rights.to_make(todo, upgrade=revision != upgrade.head)) if mode == "create" else []
    return _printed(schemas, todo, upgrade.sql(revision)), todo.refused + lacking


def _printed(schemas: list[str], todo: Plan, upgrade: str) -> str:
    def parts() -> Iterator[str]:
        yield from (f"CREATE SCHEMA IF NOT EXISTS {quoted(schema)}" for schema in schemas)
        yield from (step.sql for step in todo.steps)

    text = "".join(f"{sql};\n\n" for sql in parts()) + upgrade
    return text.rstrip("\n") + "\n" if text else ""


def _schema(built: Mapping[str, sa.Table]) -> str:
    return next(iter(built.values())).schema or "public"


def _create_schema(connection: sa.Connection, schema: str) -> None:
    # Not IF NOT EXISTS: that asks for the right to create even where there is nothing to do.
    if not sa.inspect(connection).has_schema(schema):
        connection.exec_driver_sql(f"CREATE SCHEMA {quoted(schema)}")


def _own_lacks(connection: sa.Connection) -> Iterator[str]:
    """Name the service's own columns that somebody took away by hand."""
    found = inspect_tables(connection, own.SCHEMA, [table.name for table in own.metadata.sorted_tables])
    for table in own.metadata.sorted_tables:
        columns = found[table.name].columns if table.name in found else {}
        yield from (f"{table.fullname}.{each.name} does not exist" for each in table.c if each.name not in columns)


def _verify(connection: sa.Connection, upgrade: Upgrade, revision: str | None, todo: Plan) -> None:
    """Refuse all that is missing or has drifted."""
    problems = [step.lacks for step in todo.steps if step.lacks is not None] + todo.refused
    if revision == upgrade.head:
        problems += _own_lacks(connection)
    else:
        has = f"have revision {revision}" if revision else "note no revision"
        problems.append(f"the tables in the schema {own.SCHEMA} {has}, and this release needs {upgrade.head}")
    _refuse(problems, "; `headrace ddl --connect` prints SQL, `migrate: create` runs it")


def _refuse(problems: list[str], remedy: str = "") -> None:
    if problems:
        raise TableRefused(f"the database is not as configured, and nothing was changed: {'; '.join(problems)}{remedy}")
