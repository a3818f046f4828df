"""Absence: rows that a full set no longer holds are deleted or marked, in the transaction of the set's last page."""

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.schema import CreateTable

from service.config.modecheck import ABSENT_SINCE
from service.config.tables import Table
from service.store.compare import json_key, not_older
from service.store.history import History
from service.store.sqlstate import faults
from service.store.tables import DIALECT
from service.store.tombstones import burial
from service.store.upsert import driver_of
from service.store.write import Sweep


class Sweeper:
    """Sweeps one table.

    Args:
        target: the table.
        settings: the table's.
        number: tells its temporary tables from those of others.
        history: of the table, where one is kept.

    Attributes:
        turned: the temporary table that holds the keys of the rows that went or were marked, once it has swept.
    """

    def __init__(self, target: sa.Table, settings: Table, number: int, history: History | None) -> None:
        self._target = target
        self._settings = settings
        self._key = settings.key
        self._history = history
        # The types of the configuration, not of the target: a key that the target refuses was seen all the same.
        self._seen = self._temporary(f"headrace_seen_{number}")
        self.turned = self._temporary(f"headrace_turned_{number}")
        made = (CreateTable(table).compile(dialect=DIALECT) for table in (self._seen, self.turned))
        self._make = ";\n".join(str(statement) for statement in made)

    async def sweep(self, connection: AsyncConnection, sweep: Sweep) -> int:
        """Delete or mark the rows in scope that are absent; return how many went or were marked."""
        driver = await driver_of(connection)
        at = datetime.fromtimestamp(sweep.at, UTC)
        with faults():
            await driver.execute(self._make)
            await driver.copy_records_to_table(self._seen.name, schema_name="pg_temp", records=sweep.keys)
        await connection.execute(self._turning(sweep))
        if sweep.until is not None:
            await connection.execute(self._burial(sweep.until))
        absent = await self._mark(connection, at) if sweep.mark else await self._delete(connection)
        if self._history is not None:
            await self._history.turn(connection, self.turned, at)
        return absent

    def _temporary(self, name: str) -> sa.Table:
        columns = (sa.Column(key, self._target.c[key].type) for key in self._key)
        return sa.Table(
            name, sa.MetaData(), *columns, schema="pg_temp", prefixes=["TEMPORARY"], postgresql_on_commit="DROP"
        )

    def _turning(self, sweep: Sweep) -> sa.Insert:
        """Build the keys of the rows in scope that are to go, or whose mark is to change."""
        columns = [sa.cast(self._target.c[key], self._target.c[key].type) for key in self._key]
        same = (column == self._seen.c[key] for column, key in zip(columns, self._key, strict=True))
        absent = ~sa.exists().where(*same)
        if sweep.mark:
            absent = absent.is_distinct_from(self._target.c[ABSENT_SINCE].is_not(None))
        scope = [self._target.c[name] == value for name, value in sweep.scope.items()]
        if sweep.until is not None:
            version = self._target.c[self._settings.version or ""]
            scope.append(not_older(self._until(sweep.until), version, self._settings))
        return sa.insert(self.turned).from_select(list(self._key), sa.select(*columns).where(*scope, absent))

    def _burial(self, until: Any) -> sa.Insert:
        """Build what keeps older records from bringing back what is not in a snapshot."""
        values = (
            sa.literal(self._target.name),
            json_key(self.turned.c, self._settings.key),
            sa.func.to_jsonb(self._until(until)),
        )
        return burial(sa.select(*values), self._target, self._settings)

    def _until(self, until: Any) -> sa.ColumnElement[Any]:
        kind = self._target.c[self._settings.version or ""].type
        return sa.cast(sa.literal(until, kind), kind)

    async def _delete(self, connection: AsyncConnection) -> int:
        statement = sa.delete(self._target).where(*self._are_turned())
        return (await connection.execute(statement)).rowcount

    async def _mark(self, connection: AsyncConnection, at: datetime) -> int:
        """Mark what is absent, and unmark what came back in a version too old to be written."""
        column = self._target.c[ABSENT_SINCE]
        turned = (
            sa.update(self._target)
            .values({column: sa.case((column.is_(None), sa.literal(at, column.type)))})
            .where(*self._are_turned())
            .returning(column.is_not(None).label("absent"))
        ).cte("turned")
        return (await connection.execute(sa.select(sa.func.count()).where(turned.c.absent))).scalar_one()

    def _are_turned(self) -> "list[sa.ColumnElement[bool]]":
        ours = (sa.cast(self._target.c[key], self._target.c[key].type) for key in self._key)
        return [column == self.turned.c[key] for column, key in zip(ours, self._key, strict=True)]
