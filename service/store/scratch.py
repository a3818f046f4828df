"""A scratch store: the tables of a configuration, and the service's own, in schemas apart from the real ones.

Nothing of what is real is read or written by its commits: no row, position, refusal or tombstone.
"""

from collections.abc import Collection, Mapping

import sqlalchemy as sa

from service.config.settings import Database
from service.config.tables import Table
from service.errors import TableRefused
from service.store import schema as own
from service.store.difference import Difference, compare
from service.store.found import Found, inspect_tables
from service.store.history import with_history
from service.store.plan import plan
from service.store.sqlstate import faults
from service.store.store import Store
from service.store.tables import build, quoted

OWN = "_headrace"
"""What the name of the schema of the service's own tables adds to that of the configured ones."""
_MARK = "made by headrace replay"


class Scratch(Store):
    """A store in a schema of its own.

    Args:
        settings: of the database; its schema is the real one.
        tables: as for Store.
        url: as for Store.
        deletable: as for Store.
        partial: as for Store.
        schema: the name of the scratch schema.
    """

    def __init__(
        self,
        settings: Database,
        tables: Mapping[str, Table],
        url: str,
        deletable: Collection[str],
        partial: Collection[str],
        schema: str,
    ) -> None:
        scratch = settings.model_copy(update={"schema_": schema, "migrate": "create"})
        super().__init__(scratch, tables, url, deletable, partial)
        self._real = build(with_history(tables), settings.schema_)
        self._schema = schema
        self._engine = self._engine.execution_options(schema_translate_map={own.SCHEMA: f"{schema}{OWN}"})

    async def prepare(self) -> None:
        """Make the schemas and tables: like the real ones where those exist, else as configured.

        Raises:
            StoreLost: the database is away.
            TableRefused: the schema is there and was not made by a replay, or a table of it is not as configured.
        """
        with faults():
            async with self._turn() as connection:
                found = await connection.run_sync(self._make)
        self._learn(found)

    async def drop(self) -> None:
        """Drop the schemas with all that is in them.

        Raises:
            StoreLost: the database is away.
            TableRefused: they were not made by a replay.
        """
        with faults():
            async with self._turn() as connection:
                await connection.run_sync(self._drop)

    async def differences(self, names: Collection[str], limit: int) -> list[Difference]:
        """Compare tables with the real ones, row by row.

        Args:
            names: of the tables.
            limit: the most rows of each kind to give of each table; all are counted.

        Raises:
            StoreLost: the database is away.
            TableRefused: a real table lacks a column.
        """
        with faults():
            async with self._turn() as connection:
                return [
                    await compare(connection, self._built[name], self._real[name], self._tables[name], limit)
                    for name in names
                ]

    def _make(self, connection: sa.Connection) -> dict[str, Found]:
        for schema in (self._schema, f"{self._schema}{OWN}"):
            if not sa.inspect(connection).has_schema(schema):
                connection.exec_driver_sql(f"CREATE SCHEMA {quoted(schema)}")
                connection.exec_driver_sql(f"COMMENT ON SCHEMA {quoted(schema)} IS '{_MARK}'")
            self._own_only(connection, schema)
        own.metadata.create_all(connection)
        there = sa.inspect(connection)
        for name, table in self._built.items():
            real = self._real[name]
            if not there.has_table(name, self._schema) and there.has_table(name, real.schema):
                connection.exec_driver_sql(f"CREATE TABLE {_name(table)} (LIKE {_name(real)} INCLUDING ALL)")
        tables = with_history(self._tables)
        found = inspect_tables(connection, self._schema, tables)
        todo = plan(connection, self._built, tables, found)
        if todo.refused:
            raise TableRefused(f"the scratch tables are not as configured: {'; '.join(todo.refused)}")
        for step in todo.steps:
            connection.exec_driver_sql(step.sql)
        return found

    def _drop(self, connection: sa.Connection) -> None:
        for schema in (self._schema, f"{self._schema}{OWN}"):
            if sa.inspect(connection).has_schema(schema):
                self._own_only(connection, schema)
                connection.exec_driver_sql(f"DROP SCHEMA {quoted(schema)} CASCADE")

    def _own_only(self, connection: sa.Connection, schema: str) -> None:
        """Refuse a schema that is somebody's."""
        comment = sa.text("SELECT obj_description(oid, 'pg_namespace') FROM pg_namespace WHERE nspname = :schema")
        if connection.execute(comment, {"schema": schema}).scalar() != _MARK:
            raise TableRefused(f"the schema {schema} exists and was not made by a replay: name another one")


def _name(table: sa.Table) -> str:
    return f"{quoted(str(table.schema))}.{quoted(table.name)}"
