"""The PostgreSQL that all contestants share, with a fresh copy of the preloaded table for each."""

import asyncio
import signal
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import psutil

from benchmarks.parts.guard import Guard
from benchmarks.parts.work import START, Work
from tests.postgres import Cluster

SETTINGS = {
    "max_connections": "50",
    "shared_buffers": "512MB",
    "max_wal_size": "8GB",
    "checkpoint_timeout": "30min",
    "autovacuum": "off",
    "track_commit_timestamp": "on",
}
"""fsync stays on. What PostgreSQL does by the clock (checkpoints, vacuum) is kept out of runs of a few seconds."""


class Database:
    """One cluster.

    Attributes:
        url: the database that contestants write to.
        folder: for files of contestants.
        guard: knows what to end if this process is killed.
    """

    def __init__(self, cluster: Cluster, folder: Path, guard: Guard) -> None:
        self.url = cluster.url("bench")
        self.folder = folder
        self.guard = guard
        self._cluster = cluster
        self._templates: dict[tuple[int, int], str] = {}

    async def fresh(self, work: Work) -> None:
        """Make the database anew, with the table and its live keys, all written to disk and read into memory."""
        kind = (work.live, work.columns)
        if kind not in self._templates:
            name = self._templates[kind] = f"template_{len(self._templates)}"
            await self._cluster.execute(f"CREATE DATABASE {name}")
            await self._cluster.execute(work.ddl(), work.preload(), "VACUUM ANALYZE matches", database=name)
        copy = f"CREATE DATABASE bench TEMPLATE {self._templates[kind]} STRATEGY file_copy"
        await self._cluster.execute("DROP DATABASE IF EXISTS bench WITH (FORCE)", copy)
        await self._cluster.execute("SELECT count(*) FROM matches", "CHECKPOINT", database="bench")

    async def forget(self, work: Work) -> None:
        """Drop the copy that ``fresh`` keeps of this work's table."""
        name = self._templates.pop((work.live, work.columns))
        await self._cluster.execute(f"DROP DATABASE {name}")

    async def execute(self, *statements: str) -> None:
        """Run statements in the contestants' database."""
        await self._cluster.execute(*statements, database="bench")

    def cpu(self) -> float:
        """Give the CPU seconds that PostgreSQL has taken, with those of sessions that have ended."""
        pid = int((self._cluster.data / "postmaster.pid").read_text().split()[0])
        postmaster = psutil.Process(pid)
        times = [process.cpu_times() for process in postmaster.children()]
        return sum(postmaster.cpu_times()[:4]) + sum(time.user + time.system for time in times)


class Onlooker:
    """Says from outside when the work is done: rows are counted in PostgreSQL."""

    def __init__(self, connection: "asyncpg.Connection[asyncpg.Record]", work: Work, table: str) -> None:
        self._connection = connection
        self._work = work
        # Peers choose types of their own: a timestamp without zone is UTC's, as the session is.
        self._seen = (
            f"SELECT updated_at::timestamptz = $2::timestamptz FROM {table} WHERE provider = 'bench' AND match_id = $1"
        )
        self._count = (
            f"SELECT count(*), coalesce(sum(extract(epoch FROM updated_at::timestamptz - $1) * 1000000), 0)::bigint"
            f" FROM {table} WHERE updated_at > $1::timestamptz"
        )

    async def done(self) -> bool:
        """Ask for the last message's row, which is cheap, and once it is there count all of them."""
        key, version = self._work.last
        return bool(await self._connection.fetchval(self._seen, key, version)) and await self.complete()

    async def complete(self) -> bool:
        """Count rows and add up versions: each message's row must be there, and be the newest."""
        return tuple(await self._connection.fetchrow(self._count, START) or ()) == self._work.outcome


@asynccontextmanager
async def onlooker(url: str, work: Work, table: str = "matches") -> AsyncIterator[Onlooker]:
    """Open a session that looks on."""
    connection = await asyncpg.connect(url, server_settings={"timezone": "UTC"})
    try:
        yield Onlooker(connection, work, table)
    finally:
        await connection.close()


@asynccontextmanager
async def database() -> AsyncIterator[Database]:
    """Run a cluster of the benchmark's own; nothing of it is left, even if this process is killed."""
    # SIGTERM becomes what Ctrl-C is: the blocks are left in order.
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    loop.add_signal_handler(signal.SIGTERM, task.cancel)
    with tempfile.TemporaryDirectory(prefix="headrace-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        cluster = Cluster(folder / "postgres", SETTINGS)
        with Guard(folder, cluster.data) as guard:
            cluster.make()
            cluster.start()
            try:
                await cluster.execute("ALTER SYSTEM SET timezone = 'UTC'", "SELECT pg_reload_conf()")
                yield Database(cluster, folder, guard)
            finally:
                cluster.remove()
