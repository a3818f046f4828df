"""What is found in a database: its tables as they stand, read from the catalogue."""

import warnings
from collections.abc import Iterable, Mapping

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine.interfaces import ReflectedColumn
from sqlalchemy.engine.reflection import Inspector, ObjectKind

_RELATIONS = sa.text(
    "SELECT c.relname, c.relkind::text, "
    "ARRAY(SELECT CASE ev_type WHEN '2' THEN 'UPDATE' ELSE 'INSERT' END FROM pg_rewrite "
    "WHERE ev_class = c.oid AND ev_type IN ('2', '3')) AS ruled "
    "FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
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

_ROUNDING = sa.text("""
WITH RECURSIVE shape AS (
    SELECT c.relname, a.attname, a.atttypid AS type, a.atttypmod AS modifier,
        format_type(a.atttypid, a.atttypmod) AS declared
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = :schema AND c.relname = ANY (:names) AND a.attnum > 0 AND NOT a.attisdropped
    UNION ALL
    SELECT relname, attname, CASE typtype WHEN 'd' THEN typbasetype ELSE typelem END,
        CASE typtype WHEN 'd' THEN typtypmod ELSE modifier END, declared
    FROM shape JOIN pg_type t ON t.oid = type WHERE typtype = 'd' OR typcategory = 'A'
)
SELECT relname, attname, declared FROM shape
WHERE type = 'numeric'::regtype AND modifier <> -1
    OR type IN ('timestamptz'::regtype, 'timestamp'::regtype, 'time'::regtype) AND modifier BETWEEN 0 AND 5
""").bindparams(sa.bindparam("names", type_=sa.ARRAY(sa.Text)))
"""numeric(p, s) and timestamp(0 to 5), also in arrays and domains, whose modifiers SQLAlchemy does not reflect."""

_KINDS = {"v": "a view", "m": "a materialised view", "f": "a foreign table"}


class Found(msgspec.Struct, frozen=True):
    """A table as it stands in the database.

    Attributes:
        kind: what it is instead, if it is no table; else None.
        partitioned: whether it has partitions.
        ruled: for which of INSERT and UPDATE it has a rule, beside which there is no ON CONFLICT and no RETURNING.
        columns: by name.
        unique: the column lists on which an ON CONFLICT can rest.
        indexed: the column lists of all its indexes; an expression is None.
        rounding: the columns that would round a number or a moment without a word, each with its type.
    """

    kind: str | None
    partitioned: bool
    ruled: frozenset[str]
    columns: Mapping[str, ReflectedColumn]
    unique: frozenset[frozenset[str | None]]
    indexed: frozenset[tuple[str | None, ...]]
    rounding: Mapping[str, str]

    @property
    def is_view(self) -> bool:
        """Whether it is a view, materialised or not."""
        return self.kind in {_KINDS["v"], _KINDS["m"]}


def inspect_tables(connection: sa.Connection, schema: str, names: Iterable[str]) -> dict[str, Found]:
    """Look at those of the named tables that exist, a few queries for all of them."""
    inspector: Inspector = sa.inspect(connection)
    kinds = {row.relname: row for row in connection.execute(_RELATIONS, {"schema": schema})}
    there = [name for name in names if name in kinds]
    if not there:
        return {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", sa.exc.SAWarning)  # other columns of a user's table may be of any type
        columns = inspector.get_multi_columns(schema, there, kind=ObjectKind.ANY)
    indexes = list(connection.execute(_INDEXES, {"schema": schema}))
    rounding = list(connection.execute(_ROUNDING, {"schema": schema, "names": there}))
    return {
        name: Found(
            kind=_KINDS.get(kinds[name].relkind),
            partitioned=kinds[name].relkind == "p",
            ruled=frozenset(kinds[name].ruled),
            columns={column["name"]: column for column in columns[schema, name]},
            unique=frozenset(frozenset(each.columns) for each in indexes if each.relname == name and each.arbiter),
            indexed=frozenset(tuple(each.columns) for each in indexes if each.relname == name),
            rounding={each.attname: each.declared for each in rounding if each.relname == name},
        )
        for name in there
    }
