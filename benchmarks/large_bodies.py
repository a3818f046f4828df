"""Long bodies through the real daemon: how much memory it takes at its peak, and whether every row is there.

A local server makes each body as it is asked for: CSV, a JSON array in a document, NDJSON, XML. A daemon polls it into
a real PostgreSQL, and once more, when the body is as it was; rows and written records are counted, and the high-water
mark of the resident memory of the daemon is read. The spool is given 256 MiB, less than what is sent: the provider has
to be slowed.

    python -m benchmarks.large_bodies [--megabytes 1000] [--only csv json ndjson xml]
"""

import argparse
import asyncio
import contextlib
import os
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import aiohttp
import asyncpg
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.daemon import Daemon
from tests.postgres import Cluster

MEGABYTE = 1_000_000
BOUND = 200 << 20
"""Bytes of memory that the daemon may take."""
PATIENCE = 900.0
"""Seconds after which a poll that does not end is given up."""
BLOCK = 1000
"""Records that are made at a time."""

CONFIG = """
database: {{url: "{database}"}}
buffer: {{path: "{folder}/spool", max_bytes: 256MiB}}
http: {{host: 127.0.0.1, port: "${{HEADRACE_PORT}}", token: "${{HEADRACE_TOKEN}}"}}
log: {{level: warning}}
tables:
  readings:
    key: sensor
    columns:
      sensor: integer
      at: timestamp
      place: text
      value: decimal
      note: text
providers:
  bench:
    url: {url}
    feeds:
      long: {{kind: rest, path: /{kind}, every: 7d, {records} into: readings, map: {{{map}}}}}
"""

NOTE = "measured by the station at the weir, checked twice, and written down with care; " * 4


class Body(NamedTuple):
    """How one kind of body is made: what it begins and ends with, a record, and what is between two."""

    kind: str
    type: str
    start: str
    record: Callable[[int], str]
    between: str
    end: str
    records: str
    share: float


def fields(number: int) -> tuple[int, str, str, str]:
    """Give the fields of one record: sensor, moment, place, value."""
    moment = f"2026-01-01T{number // 3600 % 24:02}:{number // 60 % 60:02}:{number % 60:02}Z"
    return number, moment, f"Weir {number % 997}", f"{number % 1000}.{number % 100:02}"


def csv_record(number: int) -> str:
    sensor, moment, place, value = fields(number)
    return f'{sensor},{moment},"{place}, ""upper""",{value},"{NOTE}"'


def json_record(number: int) -> str:
    sensor, moment, place, value = fields(number)
    return f'{{"sensor":{sensor},"at":"{moment}","place":"{place}","value":{value},"note":"{NOTE}"}}'


def xml_record(number: int) -> str:
    sensor, moment, place, value = fields(number)
    return f'<r id="{sensor}"><at>{moment}</at><place>{place}</place><value>{value}</value><note>{NOTE}</note></r>'


BODIES = [
    Body("csv", "text/csv", "sensor,at,place,value,note\n", csv_record, "\n", "\n", "", 1.0),
    Body("json", "application/json", '{"data":{"list":[', json_record, ",", "]}}", "records: data.list,", 1.0),
    Body("ndjson", "application/x-ndjson", "", json_record, "\n", "\n", "", 1.0),
    Body("xml", "application/xml", "<feed><rs>", xml_record, "\n", "</rs></feed>", "records: feed/rs/r,", 0.5),
]


class Sender:
    """Serves bodies of a given length, as fast as they are taken; counts what it sent."""

    def __init__(self, size: float) -> None:
        self._size = size
        self.records = 0
        self.bytes = 0
        self.answered = 0
        """Bodies that were sent whole."""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Send a body, block by block."""
        body = next(body for body in BODIES if body.kind == request.match_info["kind"])
        response = web.StreamResponse(headers={"Content-Type": body.type})
        await response.prepare(request)
        self.records = self.bytes = 0
        for block in self._blocks(body):
            self.bytes += len(block)
            await response.write(block)
        await response.write_eof()
        self.answered += 1
        return response

    def _blocks(self, body: Body) -> Iterator[bytes]:
        yield body.start.encode()
        while self.bytes < self._size * body.share:
            block = [body.record(number) for number in range(self.records, self.records + BLOCK)]
            lead = body.between if self.records else ""
            self.records += BLOCK
            yield (lead + body.between.join(block)).encode()
        yield body.end.encode()

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """Give the address that it serves at."""
        app = web.Application()
        app.router.add_get("/{kind}", self.answer)
        server = TestServer(app)
        await server.start_server()
        try:
            yield f"http://127.0.0.1:{server.port}"
        finally:
            await server.close()


async def load(body: Body, sender: Sender, url: str, database: str, folder: Path) -> str:
    """Load one body; give a line of the table."""
    names = {name: name for name in ("sensor", "at", "place", "value", "note")}
    mapped = ", ".join(f'{column}: "{path}"' for column, path in names.items())
    if body.kind == "xml":
        mapped = mapped.replace('"sensor"', '"@id"')
    config = folder / "config.yaml"
    text = CONFIG.format(database=database, folder=folder, url=url, kind=body.kind, records=body.records, map=mapped)
    config.write_text(text)
    connection = await asyncpg.connect(database)
    started, answered = time.perf_counter(), sender.answered
    async with Daemon(folder, {"HEADRACE_TOKEN": "bench"}, config) as daemon:
        spooled = await _until(daemon, lambda ledger: sender.answered > answered and _settled(ledger) == sender.records)
        seconds = time.perf_counter() - started
        first = _high_water(daemon)
        again = time.perf_counter()
        next_poll = (await daemon.status())["feeds"]["bench.long"]["next_poll_at"]
        await _poll(daemon)
        async with asyncio.timeout(PATIENCE):
            while (await daemon.status())["feeds"]["bench.long"]["next_poll_at"] in {None, next_poll}:
                await asyncio.sleep(0.25)
        again = time.perf_counter() - again
        received = (await daemon.status())["ledger"]["received"]
        rows = await connection.fetchval("select count(*) from readings")
        refused = await connection.fetchval("select count(*) from headrace.quarantine")
        second = _high_water(daemon)
        await daemon.stop()
    await connection.close()
    is_whole = rows == received == sender.records and refused == 0 and sender.answered == answered + 2
    return (
        f"| {body.kind} | {sender.bytes / MEGABYTE:,.0f} MB | {sender.records:,} | {rows:,} | {refused} |"
        f" {seconds:.0f} s | {spooled / MEGABYTE:,.0f} MB | {first / (1 << 20):.0f} MiB | {again:.0f} s |"
        f" {received - rows:,} | {second / (1 << 20):.0f} MiB | {'ok' if is_whole and second < BOUND else 'MISSED'} |"
    )


async def _until(daemon: Daemon, condition: Callable[[dict[str, int]], bool]) -> int:
    """Wait until the ledger fulfils a condition; give the most bytes that the spool held meanwhile."""
    spooled = 0
    async with asyncio.timeout(PATIENCE):
        while True:
            status = await daemon.status()
            spooled = max(spooled, status.get("buffer", {}).get("bytes", 0))
            if condition(status.get("ledger", {})):
                return int(spooled)
            await asyncio.sleep(0.25)


def _settled(ledger: dict[str, int]) -> int | None:
    return ledger["received"] if ledger.get("in_flight") == 0 else None


async def _poll(daemon: Daemon) -> None:
    async with (
        aiohttp.ClientSession(headers=daemon.headers) as session,
        session.post(f"{daemon.url}/feeds/bench.long/poll") as response,
    ):
        response.raise_for_status()


def _high_water(daemon: Daemon) -> int:
    """Read the most memory that the daemon ever had resident (Linux)."""
    assert daemon.process is not None
    status = Path(f"/proc/{daemon.process.pid}/status").read_text(encoding="utf-8")
    return next(int(line.split()[1]) << 10 for line in status.splitlines() if line.startswith("VmHWM"))


async def main(megabytes: float, only: list[str]) -> None:
    print("| body | sent | records | rows | refused | time | spool at most | peak | again | read again | peak | |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |")
    sender = Sender(megabytes * MEGABYTE)
    async with sender.serving() as url:
        for body in BODIES:
            if body.kind in only:
                with tempfile.TemporaryDirectory() as folder:
                    cluster = Cluster(Path(folder) / "postgres", {"max_wal_size": "1GB"})
                    cluster.make()
                    cluster.start()
                    try:
                        print(await load(body, sender, url, cluster.url(), Path(folder)), flush=True)
                    finally:
                        cluster.remove()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--megabytes", type=float, default=1000)
    parser.add_argument("--only", nargs="*", default=[body.kind for body in BODIES])
    given = parser.parse_args()
    os.environ.setdefault("PYTHONPATH", str(Path(__file__).parent.parent))
    asyncio.run(main(given.megabytes, given.only))
