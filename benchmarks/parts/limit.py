"""The limit of a server: rows encoded beforehand, sent by COPY, and then whatever Headrace's own upsert does."""

import time
from collections.abc import AsyncIterator, Sequence

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from benchmarks.parts.contest import Run
from benchmarks.parts.database import Database, onlooker
from benchmarks.parts.encode import encoded
from benchmarks.parts.work import Work
from service.model import Row
from service.store.engine import open_engine, transaction
from service.store.upsert import Upsert, driver_of

BATCH = 5000


class _Encoded(Upsert):
    """The upsert, but for the COPY, which sends what was encoded before the clock started.

    Attributes:
        data: the next batch; None once it was sent.
    """

    data: bytes | None = None

    async def _copy(self, connection: AsyncConnection, rows: Sequence[Row], into: str | None = None) -> None:  # noqa: ARG002  they are in data
        data, self.data = self.data, None
        assert data is not None

        async def once() -> AsyncIterator[bytes]:
            yield data

        driver = await driver_of(connection)
        await driver.copy_to_table(
            self._stage.name, schema_name="pg_temp", source=once(), columns=self._names, format="binary"
        )


async def limit(work: Work, base: Database) -> Run:
    """Measure one run; nothing else works meanwhile, not even a sender."""
    upsert = _Encoded(work.target, work.table, 0)
    batches = [(rows, encoded(rows)) for rows in work.batches(BATCH)]
    engine = open_engine(base.url, 1)
    async with transaction(engine) as connection:
        await connection.execute(text("SELECT 1"))  # the session is open before the clock starts
    mine, its, started = time.process_time(), base.cpu(), time.perf_counter()
    for rows, upsert.data in batches:
        async with transaction(engine) as connection:
            await connection.execute(text(upsert.stage_sql))
            await upsert.stage(connection, rows)
            await upsert.merge(connection, rows)
        assert upsert.data is None, "the rows were encoded a second time: this is not the limit"
    seconds = time.perf_counter() - started
    run = Run(seconds, work.messages, time.process_time() - mine, base.cpu() - its)
    await engine.dispose()
    async with onlooker(base.url, work) as eye:
        assert await eye.complete(), "the limit did not write what it should have"
    return run
