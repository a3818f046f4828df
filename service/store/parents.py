"""The rows that a feed is called for: read in a transaction that can change nothing, and never more than asked for."""

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from service.config.foreach import ForEach
from service.store.tables import quoted
from service.store.upsert import driver_of

_READ_ONLY = sa.text("SET TRANSACTION READ ONLY")
_TERMS = "SET LOCAL statement_timeout = '30s'; SET LOCAL lock_timeout = '10s'"


async def read(connection: AsyncConnection, sql: str, arguments: list[str]) -> list[dict[str, Any]]:
    """Run a query in a transaction, which begins with it; give its rows by the names of its columns."""
    await connection.execute(_READ_ONLY)  # not by the driver, beneath which no transaction would have begun
    driver = await driver_of(connection)
    await driver.execute(_TERMS)
    return [dict(row) for row in await driver.fetch(sql, *arguments)]


def of_query(each: ForEach) -> str:
    """Give the SQL for the rows of a user's query, and one more than allowed."""
    query = (each.sql or "").strip().rstrip(";")
    return f"SELECT * FROM (\n{query}\n) AS parents LIMIT {each.max_rows + 1}"  # noqa: S608  the user's own


def of_table(
    table: sa.Table, each: ForEach, columns: Mapping[str, str], scope: Mapping[str, str]
) -> tuple[str, list[str]]:
    """Give the SQL for the rows of a table, and one more than allowed, with its arguments.

    Args:
        table: that they lie in.
        each: what is wanted.
        columns: by the names that they are to have.
        scope: columns, with the text that their value must be.
    """
    wanted = ", ".join(f"{quoted(column)} AS {quoted(name)}" for name, column in columns.items())
    conditions = [f"{quoted(column)} IS NOT NULL" for column in dict.fromkeys(columns.values())]
    conditions += [f"{quoted(column)}::text = ${number}" for number, column in enumerate(scope, 1)]
    conditions += [f"(\n{each.where}\n)"] if each.where is not None else []
    place = f"{quoted(str(table.schema))}.{quoted(table.name)}"
    order = ", ".join(str(number) for number in range(1, len(columns) + 1))
    sql = f"SELECT DISTINCT {wanted} FROM {place} WHERE {' AND '.join(conditions)}"  # noqa: S608  quoted; the user's own
    return f"{sql} ORDER BY {order} LIMIT {each.max_rows + 1}", list(scope.values())
