"""How long a record takes, from the moment it is due to be sent until its row is committed, and until others see it.

Each record carries the moment when it was due, and PostgreSQL keeps the moment of each commit
(``track_commit_timestamp``), so every record is measured, none averaged away, and a sender that is held up does not
hide delays. PostgreSQL notes that moment just before it flushes the log; when a row is visible is therefore sampled
too, by a session that asks for some keys every 2 ms. The daemon's own histogram (receipt to commit of each batch's
oldest message) stands beside them, as the bound of the bucket.

    python -m benchmarks.latency [--quick]
"""

import asyncio
import re
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from tempfile import mkdtemp

import aiohttp
import asyncpg

from benchmarks.parts.contest import Place, cpu, running
from benchmarks.parts.database import Database
from benchmarks.parts.frames import frames
from benchmarks.parts.headrace import headrace
from benchmarks.parts.providers import Sockets
from benchmarks.parts.report import Section
from benchmarks.parts.script import main
from benchmarks.parts.work import START, Work
from tests.postgres import free_port

COLUMNS = [
    "records/s",
    "committed p50",
    "p99",
    "max",
    "visible p50",
    "p99",
    "own histogram p50",
    "p99",
    "CPU of a core",
]
RATES = (100, 1_000, 10_000)
WARM_UP = timedelta(seconds=2)
"""What is sent first is left out: the daemon connects, PostgreSQL plans."""
SAMPLES = 50
"""Records a second that are watched from outside."""
LOOK = 0.002
COMMITTED = """
SELECT percentile_cont(ARRAY[0.5, 0.99, 1]) WITHIN GROUP (
 ORDER BY extract(epoch FROM pg_xact_commit_timestamp(xmin) - updated_at))
FROM matches WHERE updated_at > (SELECT min(updated_at) FROM matches WHERE updated_at > $1) + $2
"""


class Watch:
    """Sees some rows appear, from a session of its own."""

    def __init__(self, connection: "asyncpg.Connection[asyncpg.Record]", keys: list[str]) -> None:
        self._connection = connection
        self._keys = keys
        self._seen: list[tuple[float, float]] = []

    async def run(self) -> None:
        """Ask for the next keys, in the order in which they are sent, until all were seen."""
        query = "SELECT match_id, updated_at FROM matches WHERE provider = 'bench' AND match_id = ANY($1)"
        waiting = dict.fromkeys(self._keys)
        while waiting:
            found = await self._connection.fetch(query, list(waiting)[:20])
            now = time.time()
            for key, version in found:
                if version > START:
                    self._seen.append((version.timestamp(), now))
                    del waiting[key]
            await asyncio.sleep(LOOK)

    def quantile(self, part: float) -> float:
        """Give a quantile of the seconds until rows were seen, after the warm-up."""
        first = min(sent for sent, _ in self._seen)
        delays = sorted(seen - sent for sent, seen in self._seen if sent > first + WARM_UP.total_seconds())
        return delays[min(len(delays) - 1, int(part * len(delays)))]


async def bounds(port: int) -> list[str]:
    """Give the bounds of the daemon's own histogram that hold a half and 99 of 100 batches."""
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/metrics") as answer:
        text = await answer.text()
    found = re.findall(r'headrace_end_to_end_seconds_bucket\{[^}]*le="([^"]+)"\} (\S+)', text)
    total = float(found[-1][1])
    return [next(bound for bound, count in found if float(count) >= part * total) for part in (0.5, 0.99)]


async def one(rate: int, seconds: int, base: Database) -> list[str]:
    """Measure one rate."""
    work, port = Work(rate * seconds), free_port()
    provider = Sockets([*frames(work)], rate, stamped=True)
    await base.fresh(work)
    place = Place(base.url, provider.port, Path(mkdtemp(dir=base.folder)))
    connection = await asyncpg.connect(base.url)
    watch = Watch(connection, [work.key(number) for number in range(0, work.messages, max(1, rate // SAMPLES))])
    with provider:
        async with running(headrace(work, port=port), place, base) as process:
            async with asyncio.timeout(30):
                while not provider.started:
                    await asyncio.sleep(LOOK)
            mine, began = cpu(process.pid), time.perf_counter()
            async with asyncio.timeout(seconds * 3 + 30):
                await watch.run()
                while (
                    await connection.fetchval("SELECT count(*) FROM matches WHERE updated_at > $1", START)
                    < work.messages
                ):
                    await asyncio.sleep(0.2)
            used = (cpu(process.pid) - mine) / (time.perf_counter() - began)
            own = await bounds(port)
    committed = await connection.fetchval(COMMITTED, START, WARM_UP)
    await connection.close()
    visible = [watch.quantile(part) for part in (0.5, 0.99)]
    figures = [f"{1000 * value:.1f} ms" for value in (*committed, *visible)]
    return [f"{rate:,}", *figures, *(f"≤ {1000 * float(bound):.0f} ms" for bound in own), f"{used:.2f}"]


async def measure(base: Database, quick: bool) -> AsyncIterator[Section]:  # noqa: FBT001  as script.Measure has it
    """Measure every rate."""
    seconds = 8 if quick else 22
    rows = [await one(rate, seconds, base) for rate in RATES]
    yield Section(
        name="latency",
        columns=COLUMNS,
        rows=rows,
        about=f"Headrace with the spool, {seconds} s at each rate, the first {WARM_UP.seconds} s left out; 1,400 B,"
        f" {Work(1).live:,} live keys.",
    )


if __name__ == "__main__":
    main(measure, __doc__)
