"""Memory under ten times the load that the database takes.

PostgreSQL is slowed by a session that holds the table locked and lets one batch of 5,000 rows through at a time, a
tenth of what the provider offers. The daemon has to fill its buffer, then slow the provider; its memory has to stay
flat.

    python -m benchmarks.overload [--quick]
"""

import asyncio
import statistics
import time
from collections.abc import AsyncIterator
from pathlib import Path
from tempfile import mkdtemp

import asyncpg
import psutil

from benchmarks.parts.contest import Place, running
from benchmarks.parts.database import Database
from benchmarks.parts.frames import frames
from benchmarks.parts.headrace import headrace
from benchmarks.parts.providers import Sockets
from benchmarks.parts.report import Section
from benchmarks.parts.script import main
from benchmarks.parts.work import Work

COLUMNS = [
    "buffer", "offered/s", "taken/s", "committed/s", "offered : committed", "memory, 2nd third", "last third", "most",
]  # fmt: skip
BUFFERS = {"memory": "32MiB", "spool": "128MiB"}
BATCH = 5_000
FACTOR = 10
RATE = 20_000
EVERY = 0.25


async def obstruct(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    """Lock the table, let go, and stand in the queue again: whoever waited gets one transaction through."""
    while True:
        async with connection.transaction():
            await connection.execute("LOCK TABLE matches IN EXCLUSIVE MODE")
            await asyncio.sleep(BATCH * FACTOR / RATE)


async def one(buffer: str, seconds: int, base: Database) -> list[str]:
    """Measure one kind of buffer."""
    work = Work(BATCH * FACTOR)
    # The same frames again and again, each time with a new version.
    provider = Sockets([frames(work)[0] * (RATE * seconds // work.messages + 1)], RATE, stamped=True)
    await base.fresh(work)
    place = Place(base.url, provider.port, Path(mkdtemp(dir=base.folder)))
    locker, eye = await asyncpg.connect(base.url), await asyncpg.connect(base.url)
    memory: list[float] = []
    with provider:
        async with running(headrace(work, buffer=buffer, max_bytes=BUFFERS[buffer]), place, base) as process:
            async with asyncio.timeout(30):
                while not provider.started:
                    await asyncio.sleep(EVERY)
            async with asyncio.TaskGroup() as group:
                obstruction = group.create_task(obstruct(locker))
                began, daemon = time.monotonic(), psutil.Process(process.pid)
                while time.monotonic() - began < seconds:
                    memory.append(daemon.memory_info().rss / 2**20)
                    await asyncio.sleep(EVERY)
                taken = provider.sent.value / seconds
                committed = (await eye.fetchval("SELECT sum(received) FROM headrace.positions") or 0) / seconds
                obstruction.cancel()
    await locker.close()
    await eye.close()
    third = len(memory) // 3
    ratio = f"{RATE / float(committed):.1f}" if committed else "nothing committed"
    levels = (statistics.median(memory[third : 2 * third]), statistics.median(memory[-third:]), max(memory))
    return [
        f"{buffer}, {BUFFERS[buffer]}", f"{RATE:,}", f"{taken:,.0f}", f"{committed:,.0f}", ratio,
        *(f"{level:.0f} MiB" for level in levels),
    ]  # fmt: skip


async def measure(base: Database, quick: bool) -> AsyncIterator[Section]:  # noqa: FBT001  as script.Measure has it
    """Measure both buffers."""
    seconds = 24 if quick else 120
    yield Section(
        name="overload",
        columns=COLUMNS,
        rows=[await one(buffer, seconds, base) for buffer in BUFFERS],
        about=f"{seconds} s of 1,400 B messages. Memory is the resident set of the daemon: the median of the second and"
        " of the last third of the time, and the most. What is taken includes what fills the buffer and the sockets.",
    )


if __name__ == "__main__":
    main(measure, __doc__)
