"""Deletions: rows that a record deletes, and the tombstones that keep older records from bringing them back."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.expression import ColumnElement

from service.config.tables import Table
from service.model import Counts, Row
from service.store.compare import json_key, not_older, same_key
from service.store.schema import deleted

KEPT = timedelta(days=7)
"""How long a deleted row cannot be brought back by an older record."""

_PRUNE = sa.delete(deleted).where(deleted.c.deleted_at < sa.func.now() - KEPT)


class Deletion:
    """Carries out the deletions in a table's stage, whose column ``flag`` says which rows are to go.

    It takes what it settles out of the stage; what is left are rows to write. The table's lock is held, so that no
    other feed writes between the look at the tombstones and the commit.
    """

    def __init__(self, target: sa.Table, stage: sa.Table, settings: Table, flag: str) -> None:
        self._flagged: ColumnElement[bool] = stage.c[flag]
        self._target, self._stage, self._settings = target, stage, settings
        same = same_key(target.c, stage.c, settings.key)
        newer: ColumnElement[bool] = sa.true()
        self._buried: sa.Delete | None = None
        if settings.version is not None:
            newer = not_older(stage.c[settings.version], target.c[settings.version], settings)
            self._buried, self._bury = self._older_than_tombstone(), self._burial(settings.version)
        self._delete = sa.delete(target).where(same, self._flagged, newer)
        gone = sa.delete(stage).where(self._flagged).returning(sa.exists().where(same).label("there")).cte("gone")
        self._settle = sa.select(sa.func.count(), sa.func.count().filter(gone.c.there)).select_from(gone)

    async def carry_out(self, connection: AsyncConnection, rows: Sequence[Row]) -> Counts:
        """Delete rows, and leave out what is older than a deletion.

        Args:
            connection: within the transaction.
            rows: what the stage holds; the last value of each is its flag.
        """
        counts = Counts()
        if self._buried is not None:
            counts.stale = (await connection.execute(self._buried)).rowcount
        if any(row[-1] for row in rows):
            if self._buried is not None:
                await connection.execute(self._bury)
            counts.deleted = (await connection.execute(self._delete)).rowcount
            asked, newer = (await connection.execute(self._settle)).one()
            counts.stale += newer
            counts.unchanged = asked - counts.deleted - newer
        return counts

    def _older_than_tombstone(self) -> sa.Delete:
        """Build the removal of records that are older than the deletion of their row."""
        name = self._settings.version or ""
        version = _typed(deleted.c.version, self._target.c[name])
        return sa.delete(self._stage).where(
            deleted.c.table_name == self._target.name,
            deleted.c.key == json_key(self._stage.c, self._settings.key),
            ~self._flagged,
            ~not_older(self._stage.c[name], version, self._settings),
        )

    def _burial(self, name: str) -> pg.Insert:
        """Build the tombstones of a stage's deletions, whether or not there is a row: it may yet come."""
        version = self._stage.c[name]
        key = json_key(self._stage.c, self._settings.key)
        rows = sa.select(sa.literal(self._target.name), key, sa.func.to_jsonb(version))
        return burial(rows.where(self._flagged, version.is_not(None)), self._target, self._settings)


def burial(rows: "sa.Select[Any]", target: sa.Table, settings: Table) -> pg.Insert:
    """Build the tombstones of rows that are selected as their table's name, their key and their version, as JSON."""
    insert = pg.insert(deleted).from_select(["table_name", "key", "version"], rows)
    like = target.c[settings.version or ""]
    mine, theirs = (_typed(of, like) for of in (deleted.c.version, insert.excluded.version))
    return insert.on_conflict_do_update(
        index_elements=["table_name", "key"],
        set_={"version": insert.excluded.version, "deleted_at": sa.func.now()},
        where=not_older(theirs, mine, settings),
    )


def buried(target: sa.Table, stage: sa.Table, settings: Table, number: ColumnElement[int]) -> "sa.Select[int, Any]":
    """Build the versions of the deletions of a stage's keys, each with the number of the row in the stage."""
    version = _typed(deleted.c.version, target.c[settings.version or ""])
    return sa.select(number, version).where(
        deleted.c.table_name == target.name, deleted.c.key == json_key(stage.c, settings.key)
    )


async def prune(connection: AsyncConnection) -> None:
    """Drop tombstones that are older than a week."""
    await connection.execute(_PRUNE)


def _typed(version: ColumnElement[Any], like: ColumnElement[Any]) -> ColumnElement[Any]:
    """Read a version, which is kept as JSON, as the type of its column."""
    return sa.cast(version.op("#>>")(sa.literal_column("'{}'")), like.type)
