"""The writer: puts the rows of a batch into their tables, in a transaction that somebody else runs."""

from collections.abc import Callable, Collection, Mapping, Sequence

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from service.config.modecheck import HISTORY
from service.config.tables import Table
from service.errors import RowRefused
from service.model import Counts, Row
from service.store.absent import Sweeper
from service.store.blame import Blame
from service.store.fold import Fold, Folded
from service.store.found import Found
from service.store.isolate import refused_rows
from service.store.partial import Partial
from service.store.upsert import Upsert, driver_of, lock_sql
from service.store.write import Patience, Sweep

_TERMS = """\
SET LOCAL lock_timeout = '10s';
SET LOCAL idle_in_transaction_session_timeout = '120s';
SELECT set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') = 'off'"""
"""What holds for a transaction of ours: an ALTER TABLE elsewhere does not stop us for ever; the server does not keep
the locks of one whose line went dead; and what is committed is on disk, because the buffer forgets it next."""


class Writer:
    """Knows how each configured table is written.

    Args:
        tables: the configured tables, by name.
        built: the same as SQLAlchemy has them, with those of histories.
        deletable: the tables whose rows carry a flag that says whether they are to be deleted.
        partial: the tables that some records carry only a part of the columns of.
        found: the tables that are there, as they stand; others are as they are configured.
    """

    def __init__(
        self,
        tables: Mapping[str, Table],
        built: Mapping[str, sa.Table],
        deletable: Collection[str],
        partial: Collection[str],
        found: Mapping[str, Found],
    ) -> None:
        self._tables = tables
        self._built = built
        self._deletable = deletable
        self._partial = partial
        self._folds: dict[str, Callable[[Sequence[Row]], Folded]] = {
            name: Folded if table.mode == "append" or name in partial else Fold(table) for name, table in tables.items()
        }
        self._upserts = self._upserts_with(found)

    async def seed(self, connection: AsyncConnection) -> None:
        """Begin each history with the rows that are there."""
        for upsert in self._upserts.values():
            if upsert.history is not None:
                await connection.execute(upsert.history.seed)

    def fold(self, rows: Mapping[str, Sequence[Row]]) -> dict[str, Folded]:
        """Fold rows by key; tables in the order of their names, so that no two writers wait for each other."""
        return {name: self._folds[name](rows[name]) for name in sorted(rows) if rows[name]}

    async def stage(self, connection: AsyncConnection, folded: Mapping[str, Folded]) -> None:
        """Begin a transaction's work, as far as nobody else would wait for it."""
        few = {name for name, rows in folded.items() if len(rows.rows) <= self._upserts[name].few}
        await self._begin(connection, folded.keys() - few)
        for name, rows in folded.items():
            if isinstance(upsert := self._upserts[name], Upsert) and name not in few:
                await upsert.stage(connection, rows.rows)

    async def merge(
        self, connection: AsyncConnection, folded: Mapping[str, Folded], patience: Patience | None
    ) -> dict[str, Counts]:
        """Write what was staged; return what became of it, by table.

        Raises:
            RowMissing: deltas have no row, and no patience is given.
        """
        tables = {}
        for name, rows in folded.items():
            upsert = self._upserts[name]
            if isinstance(upsert, Partial):
                tables[name] = await upsert.load(connection, rows.rows, patience)
                continue
            write = upsert.merge if len(rows.rows) > upsert.few else upsert.put
            tables[name] = await write(connection, rows.rows)
            tables[name].duplicate += rows.duplicate
            tables[name].stale += rows.stale
        return tables

    async def _begin(self, connection: AsyncConnection, names: Collection[str]) -> None:
        """Set the terms of the transaction, which has begun, and make its temporary tables: one round trip."""
        script = ";\n".join([_TERMS, *(self._upserts[name].stage_sql for name in names)])
        await (await driver_of(connection)).execute(script)

    async def sweep(self, connection: AsyncConnection, sweep: Sweep) -> int:
        """Delete or mark what is absent from a full set."""
        upsert, number = self._upserts[sweep.table], list(self._tables).index(sweep.table)
        await (await driver_of(connection)).execute(lock_sql(self._built[sweep.table]))
        sweeper = Sweeper(self._built[sweep.table], self._tables[sweep.table], number, upsert.history)
        absent = await sweeper.sweep(connection, sweep)
        if isinstance(upsert, Partial) and not sweep.mark:
            await upsert.forget(connection, sweeper.turned)
        return absent

    async def refused(self, connection: AsyncConnection, folded: Mapping[str, Folded]) -> list[RowRefused]:
        """Find rows that are refused, in a transaction that is rolled back then."""
        await connection.execute(sa.text("SET CONSTRAINTS ALL IMMEDIATE"))
        await self._begin(connection, folded)
        found: list[RowRefused] = []
        for name, rows in folded.items():
            refused = await refused_rows(connection, self._upserts[name], rows.rows)
            blame = Blame(connection, self._built[name], list(self._tables[name].columns))
            for index, fault in refused.items():
                await blame.find(rows.rows[index], fault)
                found.append(RowRefused(name, rows.origin(index), fault.reason, fault.detail, fault.columns))
        return found

    def _upserts_with(self, found: Mapping[str, Found]) -> dict[str, Upsert | Partial]:
        made: dict[str, Upsert | Partial] = {}
        for number, (name, table) in enumerate(self._tables.items()):
            there, deletable = found.get(name), name in self._deletable
            if name in self._partial:
                made[name] = Partial(self._built[name], table, number, found=there, deletable=deletable)
                continue
            history = self._built.get(f"{name}{HISTORY}") if table.history else None
            made[name] = Upsert(self._built[name], table, number, found=there, deletable=deletable, history=history)
        return made
