"""The limit of a server: rows encoded beforehand, sent by COPY, and the very statements of Headrace's upsert."""

import time
from collections.abc import AsyncIterator

import asyncpg

from benchmarks.parts.contest import Run
from benchmarks.parts.database import Database, onlooker
from benchmarks.parts.encode import encoded
from benchmarks.parts.work import Work
from service.store.tables import DIALECT
from service.store.upsert import Upsert

BATCH = 5000


class _Statements(Upsert):
    """The texts that an Upsert sends."""

    def merge(self) -> str:
        """Give the INSERT: the guard by version, the comparison of contents, the counting."""
        return str(self._merge.compile(dialect=DIALECT))

    def stale(self) -> str:
        """Give the count of rows that lost to newer ones, which is asked when not all were written."""
        assert self._stale is not None
        return str(self._stale.compile(dialect=DIALECT))

    @property
    def stage(self) -> str:
        """Name of the temporary table."""
        return str(self._stage.name)


async def limit(work: Work, base: Database) -> Run:
    """Measure one run; nothing else works meanwhile, not even a sender."""
    statements = _Statements(work.target, work.table, 0)
    batches = [(len(rows), encoded(rows)) for rows in work.batches(BATCH)]
    connection = await asyncpg.connect(base.url, statement_cache_size=0)
    mine, its, started = time.process_time(), base.cpu(), time.perf_counter()
    for rows, data in batches:
        async with connection.transaction():
            await connection.execute(statements.stage_sql)
            await connection.copy_to_table(
                statements.stage, schema_name="pg_temp", source=_once(data), columns=work.names, format="binary"
            )
            written = await connection.fetchrow(statements.merge())
            if sum(written or ()) < rows:
                await connection.fetchval(statements.stale())
    seconds = time.perf_counter() - started
    run = Run(seconds, work.messages, time.process_time() - mine, base.cpu() - its)
    await connection.close()
    async with onlooker(base.url, work) as eye:
        assert await eye.complete(), "the limit did not write what it should have"
    return run


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data
