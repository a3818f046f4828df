"""The difference between two tables of one kind, row by row and column by column."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.expression import ColumnElement

from service.config.tables import Table


class Difference(msgspec.Struct, frozen=True):
    """How a replayed table differs from the one that is there.

    Attributes:
        table: its name.
        same: rows that are alike.
        only_replay: how many rows are only in the replay.
        only_table: how many rows are only in the table.
        differing: how many rows of the same key differ.
        columns: how many of those differ in which column.
        rows_only_replay: some of those rows: their keys; of a table without a key, all columns.
        rows_only_table: likewise.
        rows_differing: some of those rows: their keys, and for each column that differs both values, ``replay`` and
            ``table``.
    """

    table: str
    same: int
    only_replay: int
    only_table: int
    differing: int = 0
    columns: Mapping[str, int] = {}
    rows_only_replay: Sequence[Mapping[str, Any]] = ()
    rows_only_table: Sequence[Mapping[str, Any]] = ()
    rows_differing: Sequence[Mapping[str, Any]] = ()

    @property
    def total(self) -> int:
        """How many rows differ in any way."""
        return self.only_replay + self.only_table + self.differing


async def compare(
    connection: AsyncConnection, replayed: sa.Table, real: sa.Table, settings: Table, limit: int
) -> Difference:
    """Compare a replayed table with the real one, which may not exist yet.

    Args:
        connection: within a transaction.
        replayed: in the scratch schema.
        real: in the configured one.
        settings: of the table.
        limit: the most rows of each kind to give.
    """
    exists = await connection.run_sync(lambda at: sa.inspect(at).has_table(real.name, real.schema))
    if not exists:
        count = (await connection.execute(sa.select(sa.func.count()).select_from(replayed))).scalar_one()
        names = settings.key or list(settings.columns)
        chosen = sa.select(*(replayed.c[name] for name in names)).order_by(*names).limit(limit)
        return Difference(real.name, 0, count, 0, rows_only_replay=await _rows(connection, chosen))
    if settings.mode == "append":
        return await _by_rows(connection, replayed, real, settings, limit)
    return await _by_keys(connection, replayed, real, settings, limit)


async def _by_keys(
    connection: AsyncConnection, replayed: sa.Table, real: sa.Table, settings: Table, limit: int
) -> Difference:
    """Compare rows of the same key."""
    mine, theirs, first = replayed.alias("mine"), real.alias("theirs"), settings.key[0]
    joined = mine.join(theirs, sa.and_(*(mine.c[name] == theirs.c[name] for name in settings.key)), full=True)
    only_mine, only_theirs = theirs.c[first].is_(None), mine.c[first].is_(None)
    differs = {
        name: sa.and_(~only_mine, ~only_theirs, _value(mine, name).is_distinct_from(_value(theirs, name)))
        for name in settings.columns
        if name not in settings.key
    }
    in_any: ColumnElement[bool] = sa.or_(sa.false(), *differs.values())
    count = sa.func.count()
    sums = [count, *(count.filter(each) for each in (only_mine, only_theirs, in_any, *differs.values()))]
    total, added, missing, differing, *by_column = (
        await connection.execute(sa.select(*sums).select_from(joined))
    ).one()
    key = [sa.func.coalesce(mine.c[name], theirs.c[name]).label(name) for name in settings.key]
    some = sa.select(*key).select_from(joined).order_by(*key).limit(limit)
    both = (each.label(f"{side}:{name}") for name in differs for side, each in _both(mine, theirs, name))
    different = await _rows(connection, some.add_columns(*both).where(in_any)) if differing else []
    return Difference(
        table=real.name,
        same=total - added - missing - differing,
        only_replay=added,
        only_table=missing,
        differing=differing,
        columns={name: number for name, number in zip(differs, by_column, strict=True) if number},
        rows_only_replay=await _rows(connection, some.where(only_mine)) if added else [],
        rows_only_table=await _rows(connection, some.where(only_theirs)) if missing else [],
        rows_differing=[_columns(row, settings.key, list(differs)) for row in different],
    )


async def _by_rows(
    connection: AsyncConnection, replayed: sa.Table, real: sa.Table, settings: Table, limit: int
) -> Difference:
    """Compare whole rows, each as often as it is there: they have no key."""

    def all_of(table: sa.Table) -> "sa.Select[Any]":
        return sa.select(*(_value(table, name).label(name) for name in settings.columns))

    def count(of: "sa.CompoundSelect[Any] | sa.Select[Any]") -> "sa.Select[int]":
        return sa.select(sa.func.count()).select_from(of.subquery())

    mine, theirs = all_of(replayed), all_of(real)
    added, missing = mine.except_all(theirs), theirs.except_all(mine)
    numbers = [(await connection.execute(count(each))).scalar_one() for each in (mine, added, missing)]
    return Difference(
        table=real.name,
        same=numbers[0] - numbers[1],
        only_replay=numbers[1],
        only_table=numbers[2],
        rows_only_replay=await _rows(connection, added.limit(limit)),
        rows_only_table=await _rows(connection, missing.limit(limit)),
    )


def _value(table: sa.FromClause, name: str) -> ColumnElement[Any]:
    """Give a column's values such that equal ones compare as equal: type json has no equality of its own."""
    column = table.c[name]
    return sa.cast(column, JSONB) if isinstance(column.type, JSONB) else column


def _both(mine: sa.FromClause, theirs: sa.FromClause, name: str) -> list[tuple[str, ColumnElement[Any]]]:
    return [("replay", mine.c[name]), ("table", theirs.c[name])]


def _columns(row: Mapping[str, Any], key: Sequence[str], names: Sequence[str]) -> dict[str, Any]:
    """Give the key of a row, and both values of each column that differs."""
    pairs = {name: {"replay": row[f"replay:{name}"], "table": row[f"table:{name}"]} for name in names}
    changed = {name: pair for name, pair in pairs.items() if pair["replay"] != pair["table"]}
    return {**{name: row[name] for name in key}, **changed}


async def _rows(connection: AsyncConnection, query: "sa.Select[Any] | sa.CompoundSelect[Any]") -> list[dict[str, Any]]:
    return [dict(row) for row in (await connection.execute(query)).mappings()]
