"""The plan: what a database lacks of the configured tables, as SQL, and what must be done by hand."""

from collections.abc import Iterator, Mapping

import msgspec
import sqlalchemy as sa
from sqlalchemy.schema import CreateColumn, CreateTable

from service.config.tables import Table
from service.store.drift import drift
from service.store.found import Found
from service.store.tables import DIALECT, quoted


class Step(msgspec.Struct, frozen=True):
    """One statement that adds something; none ever changes or drops what is there.

    Attributes:
        sql: the statement, without its semicolon.
        lacks: what the database lacks without it, in a sentence; None for an index, without which all works.
        alters: the name of the table that is there and that it changes; None where it makes one.
    """

    sql: str
    lacks: str | None = None
    alters: str | None = None


class Plan(msgspec.Struct, frozen=True):
    """What is to be done.

    Attributes:
        steps: in order.
        refused: differences that only a person should settle, each a sentence with the SQL to run by hand.
    """

    steps: list[Step]
    refused: list[str]


def plan(
    connection: sa.Connection | None,
    built: Mapping[str, sa.Table],
    tables: Mapping[str, Table],
    found: Mapping[str, Found],
    *,
    strict: bool = False,
) -> Plan:
    """Compare the configured tables with those that were found.

    Args:
        connection: asked whether a table that gets a column has rows; None when nothing was found.
        built: the configured tables as SQLAlchemy's.
        tables: the configured tables.
        found: what is there of them.
        strict: see ``drift``.
    """
    made = Plan([], [])
    for name, table in built.items():
        there = found.get(name)
        if (model := tables[name].model) is not None:
            made.refused.extend(_lacking(table, model, there))
            if there is not None:
                made.refused.extend(drift(name, tables[name], there, table.schema or "public", strict=strict))
            continue
        if there is None:
            made.steps.append(Step(_sql(CreateTable(table)), f"{table.fullname} does not exist"))
        else:
            made.refused.extend(drift(name, tables[name], there, table.schema or "public", strict=strict))
            if there.kind is None:
                _add_columns(made, connection, table, there)
        made.steps.extend(_indexes(table, tables[name], there))
    return made


def _lacking(table: sa.Table, model: str, there: Found | None) -> Iterator[str]:
    """Name what lacks of a table that an SQLAlchemy class describes: whoever owns the class makes and changes it."""
    remedy = f"make it as you make the other tables of your classes ({model})"
    if there is None:
        yield f"{table.fullname} does not exist: {remedy}"
        return
    for column in table.columns:
        if column.name not in there.columns:
            yield f"{table.name}.{column.name} does not exist: {remedy}"


def _add_columns(made: Plan, connection: sa.Connection | None, table: sa.Table, there: Found) -> None:
    """Plan the columns that a table lacks; refuse one that its rows cannot have."""
    for column in table.columns:
        if column.name in there.columns:
            continue
        lacks = f"{table.name}.{column.name} does not exist"
        fillable = column.nullable or column.server_default is not None
        if fillable or connection is None or not _has_rows(connection, table):
            sql = f"ALTER TABLE {_name(table)} ADD COLUMN {_sql(CreateColumn(column))}"
            made.steps.append(Step(sql, lacks, table.name))
            continue
        later = sa.Column(column.name, column.type)
        by_hand = [
            f"ALTER TABLE {_name(table)} ADD COLUMN {_sql(CreateColumn(later))}",
            f"fill {quoted(column.name)}",
            f"ALTER TABLE {_name(table)} ALTER COLUMN {quoted(column.name)} SET NOT NULL",
        ]
        made.refused.append(
            f"{lacks} and is to be NOT NULL, but the table has rows; "
            f"give the column a default, or by hand: {', then '.join(by_hand)}"
        )


def _indexes(table: sa.Table, settings: Table, there: Found | None) -> Iterator[Step]:
    """Plan the indexes that are missing. Postgres finds their names: no two collide, none is too long."""
    by_key = (settings.key,) if settings.mode == "append" and settings.key else ()
    for columns in (*by_key, *settings.indexes):
        if there is None or columns not in there.indexed:
            sql = f"CREATE INDEX ON {_name(table)} ({', '.join(map(quoted, columns))})"
            yield Step(sql, alters=None if there is None else table.name)


def _has_rows(connection: sa.Connection, table: sa.Table) -> bool:
    return connection.execute(sa.select(sa.literal(1)).select_from(table).limit(1)).first() is not None


def _name(table: sa.Table) -> str:
    return str(DIALECT.identifier_preparer.format_table(table))


def _sql(statement: sa.schema.ExecutableDDLElement | CreateColumn) -> str:
    return str(statement.compile(dialect=DIALECT)).strip()
