"""Rights: what the role of the database's URL may not do and must, each with the SQL that grants it."""

from collections.abc import Iterator, Mapping, Sequence

import sqlalchemy as sa

from service.config.modecheck import HISTORY
from service.config.settings import Config
from service.config.tables import Table
from service.store import schema as own
from service.store.plan import Plan
from service.store.tables import quoted

_EVERY = ("SELECT", "INSERT", "UPDATE", "DELETE")
_OF_MODE = {"upsert": _EVERY[:3], "append": ("SELECT", "INSERT"), "update": ("SELECT", "UPDATE")}

_ROLE = sa.text("""
SELECT current_user::text AS role, current_database()::text AS database,
    has_database_privilege(current_database(), 'TEMPORARY') AS temporary,
    has_database_privilege(current_database(), 'CREATE') AS creates
""")
_SCHEMAS = sa.text("""
SELECT nspname::text AS name, has_schema_privilege(oid, 'USAGE') AS usable, has_schema_privilege(oid, 'CREATE') AS open
FROM pg_namespace WHERE nspname = ANY (:names)
""").bindparams(sa.bindparam("names", type_=sa.ARRAY(sa.Text)))
_OWNED = sa.text("""
SELECT c.relname::text AS name, pg_has_role(c.relowner, 'USAGE') AS owned
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = :schema AND c.relkind IN ('r', 'p')
""")
_DENIED = sa.text("""
SELECT DISTINCT c.relname::text AS name, wanted.may
FROM unnest(CAST(:tables AS text[]), CAST(:columns AS text[]), CAST(:rights AS text[])) AS wanted (name, attribute, may)
JOIN pg_class c ON c.relname = wanted.name JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = wanted.attribute AND NOT a.attisdropped
WHERE n.nspname = :schema AND NOT CASE wanted.may WHEN 'DELETE' THEN has_table_privilege(c.oid, 'DELETE')
    ELSE has_column_privilege(c.oid, a.attnum, wanted.may) END
""")
"""A right to columns may be granted one by one; that to delete rows is the table's."""


def needs(config: Config) -> dict[str, frozenset[str]]:
    """Give what feeds must be allowed to do with each table that they write."""
    found: dict[str, frozenset[str]] = {}
    for _, feed in config.feeds().values():
        for branch in feed.routes or (feed,):
            if branch.into is None:
                continue
            table = config.tables[branch.into]
            deletes = branch.delete_when is not None or feed.snapshot or feed.absent == "delete"
            also = {"DELETE"} if deletes else set()
            found[branch.into] = found.get(branch.into, frozenset()).union(_OF_MODE[table.mode], also)
            if table.history:
                found[f"{branch.into}{HISTORY}"] = frozenset(_OF_MODE["upsert"])
    return found


class Rights:
    """What the role of a connection may do in a database; reads the catalogue, which everybody may.

    Args:
        connection: its role is asked for.
        schema: of the configured tables.
    """

    def __init__(self, connection: sa.Connection, schema: str) -> None:
        self._connection, self._schema = connection, schema
        self._is = connection.execute(_ROLE).one()
        rows = connection.execute(_SCHEMAS, {"names": [own.SCHEMA, schema]})
        self._schemas = {row.name: row for row in rows}
        self._to = f"TO {quoted(self._is.role)}"

    def lacking(self) -> Iterator[str]:
        """Name what nothing works without, whoever makes the tables."""
        if not self._is.temporary:
            database = quoted(self._is.database)
            yield self._told("make temporary tables", f"GRANT TEMPORARY ON DATABASE {database} {self._to}")
        for name, row in self._schemas.items():
            if not row.usable:
                yield self._told(f"use the schema {name}", f"GRANT USAGE ON SCHEMA {quoted(name)} {self._to}")
        wanted = [
            (table.name, column.name, may)
            for table in own.metadata.sorted_tables
            for column in table.c
            for may in _EVERY
        ]
        if denied := self._denied(own.SCHEMA, [*wanted, ("schema_version", "version_num", "SELECT")]):
            names = ", ".join(f"{own.SCHEMA}.{name}" for name in denied)
            sql = f"GRANT {', '.join(_EVERY)} ON ALL TABLES IN SCHEMA {quoted(own.SCHEMA)} {self._to}"
            yield self._told(f"read and write {names}", sql)

    def to_make(self, todo: Plan, *, upgrade: bool) -> Iterator[str]:
        """Name what ``migrate: create`` lacks.

        Args:
            todo: what is to be made.
            upgrade: whether the service's own tables are to be brought to another revision.
        """
        makes = {own.SCHEMA: upgrade, self._schema: any(step.alters is None for step in todo.steps)}
        for name, needed in makes.items():
            row = self._schemas.get(name)
            if row is None and not self._is.creates:
                grant = f"GRANT CREATE ON DATABASE {quoted(self._is.database)} {self._to}"
                by_hand = f"{grant}, or CREATE SCHEMA {quoted(name)} AUTHORIZATION {quoted(self._is.role)}"
                yield self._told(f"create the schema {name}, which does not exist", by_hand)
            elif row is not None and needed and not row.open:
                grant = f"GRANT CREATE ON SCHEMA {quoted(name)} {self._to}"
                yield self._told(f"create tables and indexes in the schema {name}", grant)
        foreign = self._foreign(self._schema)
        for step in todo.steps:
            if step.alters in foreign:
                yield f"the role {self._is.role} does not own {step.alters}; by hand, as its owner: {step.sql}"
        if upgrade and (tables := self._foreign(own.SCHEMA)):
            remedy = "by hand, as their owner, what `headrace ddl --connect` prints"
            yield f"the role {self._is.role} does not own {', '.join(sorted(tables))} in {own.SCHEMA}; {remedy}"

    def to_write(self, tables: Mapping[str, Table], needed: Mapping[str, frozenset[str]]) -> Iterator[str]:
        """Name what feeds may not do with tables that are there; see ``needs``."""
        wanted = [
            (name, column, may)
            for name, rights in needed.items()
            for may in rights
            for column in tables[name].columns
            if may != "UPDATE" or column not in tables[name].key
        ]
        for name, denied in self._denied(self._schema, wanted).items():
            rights = ", ".join(may for may in _EVERY if may in denied)
            full = f"{quoted(self._schema)}.{quoted(name)}"
            yield self._told(f"{rights} in {self._schema}.{name}", f"GRANT {rights} ON {full} {self._to}")

    def _denied(self, schema: str, wanted: Sequence[tuple[str, str, str]]) -> dict[str, set[str]]:
        """Give by table which of the rights (table, column, right) are denied; what is not there is left out."""
        names, columns, rights = ([each[n] for each in wanted] for n in range(3))
        given = {"schema": schema, "tables": names, "columns": columns, "rights": rights}
        found: dict[str, set[str]] = {}
        for row in self._connection.execute(_DENIED, given):
            found.setdefault(row.name, set()).add(row.may)
        return dict(sorted(found.items()))

    def _foreign(self, schema: str) -> set[str]:
        return {row.name for row in self._connection.execute(_OWNED, {"schema": schema}) if not row.owned}

    def _told(self, deed: str, by_hand: str) -> str:
        return f"the role {self._is.role} may not {deed}; by hand: {by_hand}"
