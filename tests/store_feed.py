"""A feed as the store sees it: batches of rows, each following the position of the last."""

from collections.abc import Collection, Sequence
from typing import Any

import asyncpg
import msgspec

from service.config.settings import Database
from service.config.tables import Table
from service.model import Commit, Counts, Refusal, Row
from service.store.store import Store
from service.store.write import Sweep, Write


class Feed:
    """Commits batches to a store, each with the next sequence numbers.

    Attributes:
        at: the position that the last commit left.
    """

    def __init__(self, store: Store, name: str = "acme.scores", lane: str = "lane-1") -> None:
        self._store = store
        self._name = name
        self._lane = lane
        self.at: Commit | None = None

    def write(self, rows: dict[str, Sequence[Row]], refusals: Sequence[Refusal] = ()) -> Write:
        """Give the batch that follows the present position, one message for each row or refusal."""
        done = self.at.sequence if self.at else 0
        received = sum(map(len, rows.values())) + len(refusals)
        return Write(
            feed=self._name,
            rows=rows,
            refusals=refusals,
            before=self.at,
            lane=self._lane,
            first=done + 1,
            last=done + max(received, 1),
            source={"cursor": done + received},
            counts=Counts(received=received, quarantined=len(refusals)),
        )

    async def load(self, rows: Sequence[Row], table: str = "matches", sweep: Sweep | None = None) -> Counts:
        """Commit rows of one table; return what became of them."""
        return await self.commit(msgspec.structs.replace(self.write({table: rows}), sweep=sweep))

    async def commit(self, write: Write) -> Counts:
        """Commit a batch; return what became of it."""
        self.at, counts, _ = await self._store.commit(write)
        return counts


def table(key: str | Sequence[str], columns: dict[str, Any], version: str | None = None, **more: Any) -> Table:
    """Read a table as config.yaml has it."""
    return Table.model_validate({"key": key, "columns": columns, "version": version, **more})


def store_of(
    url: str,
    tables: dict[str, Table],
    *,
    deletable: Collection[str] = (),
    partial: Collection[str] = (),
    **settings: Any,
) -> Store:
    """Open a store with two connections."""
    return Store(Database.model_validate({"pool": 2, **settings}), tables, url, deletable, partial)


async def rows_of(url: str, query: str) -> list[tuple[Any, ...]]:
    """Run a query on a connection of its own."""
    connection = await asyncpg.connect(url)
    try:
        return [tuple(row) for row in await connection.fetch(query)]
    finally:
        await connection.close()
