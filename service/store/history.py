"""The history of a table: every version of every row, with the time for which it was valid.

An interval begins at its version and ends where the next begins. A deletion is kept as an interval without length, of
which only the key, the version and the two ends are filled; a question about any moment never meets it, and versions
that arrive late still find their end. What the table holds is always what the history calls valid now.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.expression import ColumnElement

from service.config.modecheck import HISTORY
from service.config.tables import Column, Table
from service.store.compare import differ, same_key

_TICK = sa.text("interval '1 microsecond'")


def with_history(tables: Mapping[str, Table]) -> dict[str, Table]:
    """Give the tables together with those that hold their history."""
    return {**tables, **{f"{name}{HISTORY}": _historic(table) for name, table in tables.items() if table.history}}


def _historic(table: Table) -> Table:
    kept = {*table.key, table.version}
    columns = {
        name: Column(type=column.type, list=column.list, null=name not in kept)
        for name, column in table.columns.items()
    }
    ends = {"valid_from": Column(type="timestamp"), "valid_to": Column(type="timestamp", null=True)}
    return Table(key=(*table.key, "valid_from"), columns={**columns, **ends})


class History:
    """Writes the history of one table, a few statements a batch whatever its size.

    Args:
        target: the table.
        history: the table's history.
        stage: holds a batch's rows, distinct by key and version.
        settings: the table's.
        flag: the column of the stage that says which rows are deletions; None where there are none.
    """

    def __init__(self, target: sa.Table, history: sa.Table, stage: sa.Table, settings: Table, flag: str | None) -> None:
        self._target, self._history, self._stage = target, history, stage
        self._key = settings.key
        self._names = tuple(settings.columns)
        self._version = settings.version or ""
        moment = stage.c[self._version]
        gone = sa.case((stage.c[flag], moment)) if flag is not None else sa.null()
        self._add = self._adding(sa.select(*(stage.c[name] for name in self._names), moment, gone))
        self._close = self._closing()
        newer = stage.alias("newer")
        self._fold = sa.delete(stage).where(
            same_key(stage.c, newer.c, self._key), newer.c[self._version] > stage.c[self._version]
        )
        rows = sa.select(*(target.c[name] for name in self._names), target.c[self._version], sa.null())
        empty = ~sa.exists().select_from(history)
        names = [*self._names, "valid_from", "valid_to"]
        self.seed = sa.insert(history).from_select(names, rows.where(target.c[self._version].is_not(None), empty))
        self._follow = self._following(stage, sa.func.now())

    async def record(self, connection: AsyncConnection) -> int:
        """Record the versions of the stage, then leave only the newest of each key in it; return how many left."""
        await connection.execute(self._add)
        await connection.execute(self._close)
        return (await connection.execute(self._fold)).rowcount

    async def follow(self, connection: AsyncConnection) -> None:
        """Record which of the stage's rows came back, or were changed by hand, though no version says so."""
        await connection.execute(self._follow)

    async def turn(self, connection: AsyncConnection, keys: sa.Table, at: datetime) -> None:
        """Record that the rows of a table of keys went, or were marked, at a moment that no version says."""
        await connection.execute(self._following(keys, sa.literal(at, sa.DateTime(timezone=True))))

    def _adding(self, rows: "sa.Select[Any]") -> pg.Insert:
        """Build the new intervals; of equal versions the one that arrived last replaces the other."""
        insert = pg.insert(self._history).from_select([*self._names, "valid_from", "valid_to"], rows)
        new, old = insert.excluded, self._history.c
        others = [name for name in self._names if name not in self._key]
        turned = _is_deletion(old).is_distinct_from(_is_deletion(new))
        return insert.on_conflict_do_update(
            index_elements=[*self._key, "valid_from"],
            set_={name: new[name] for name in (*others, "valid_to")},
            where=sa.or_(turned, *(differ(old[name], new[name]) for name in others)),
        )

    def _closing(self) -> sa.Update:
        """Build the ends of the intervals in the stage, and of those that they split or follow."""
        history, later, earlier = self._history, self._history.alias("later"), self._history.alias("earlier")
        keys, moment = self._ours(self._stage), self._stage.c[self._version]
        before = sa.select(sa.func.max(earlier.c.valid_from)).where(
            same_key(earlier.c, keys, self._key), earlier.c.valid_from < moment
        )
        columns = [keys[name].label(name) for name in self._key]
        touched = sa.union(
            sa.select(*columns, moment.label("starts")), sa.select(*columns, before.scalar_subquery().label("starts"))
        ).cte("touched")
        after = sa.select(sa.func.min(later.c.valid_from)).where(
            same_key(later.c, touched.c, self._key), later.c.valid_from > touched.c.starts
        )
        ends = sa.select(touched, after.scalar_subquery().label("ends")).cte("ends")
        return (
            sa.update(history)
            .values(valid_to=ends.c.ends)
            .where(
                same_key(history.c, ends.c, self._key),
                history.c.valid_from == ends.c.starts,
                ~_is_deletion(history.c),
                history.c.valid_to.is_distinct_from(ends.c.ends),
            )
        )

    def _following(self, of: sa.Table, at: ColumnElement[datetime]) -> pg.Insert:
        """Build the intervals of rows that changed without a version: the last is closed, the present row begins."""
        history, keys, row = self._history, self._ours(of), self._ours(self._target, self._names)
        past = history.alias("past")
        last = (
            sa.select(past).where(same_key(past.c, keys, self._key)).order_by(past.c.valid_from.desc()).limit(1)
        ).lateral("last")
        there, known = self._target.c[self._key[0]].is_not(None), last.c.valid_from.is_not(None)
        current = sa.and_(known, ~_is_deletion(last.c))
        changed = sa.or_(*(differ(row[name], last.c[name]) for name in self._names))
        now = sa.func.greatest(at, last.c.valid_from + _TICK)
        values = {name: row[name] for name in self._names if name not in self._key}
        values |= {name: keys[name] for name in self._key}
        values[self._version] = sa.func.coalesce(row[self._version], now)
        starts = sa.case((known, now), else_=row[self._version])
        new = (
            sa.select(
                *(values[name].label(name) for name in self._names),
                starts.label("valid_from"),
                sa.case((~there, now)).label("valid_to"),
            )
            .select_from(
                of.outerjoin(self._target, same_key(self._target.c, of.c, self._key)).outerjoin(last, sa.true())
            )
            .where(sa.or_(sa.and_(there, sa.or_(~current, changed)), sa.and_(~there, current)))
        ).cte("new")
        closed = (
            sa.update(history)
            .values(valid_to=new.c.valid_from)
            .where(same_key(history.c, new.c, self._key), history.c.valid_to.is_(None))
        ).cte("closed")
        names = [*self._names, "valid_from", "valid_to"]
        return pg.insert(history).from_select(names, sa.select(new)).add_cte(closed)

    def _ours(self, table: sa.Table, names: tuple[str, ...] = ()) -> dict[str, ColumnElement[Any]]:
        """Give columns as the types of the history: those of a user's own table may be narrower."""
        return {name: sa.cast(table.c[name], self._history.c[name].type) for name in names or self._key}


def _is_deletion(columns: Any) -> ColumnElement[bool]:
    return sa.func.coalesce(columns.valid_to == columns.valid_from, sa.false())
