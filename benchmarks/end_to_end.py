"""From a WebSocket to upserted rows: Headrace beside the limit of the same server and a good script by hand.

One run interleaves all contestants several times on one PostgreSQL (fsync on) and prints medians. The limit runs twice
(A/A), so that the noise can be seen. Rows are counted in Postgres. Every message is about 1.4 KB of JSON with a key of
its own; 12 columns are mapped.

    python benchmarks/end_to_end.py [--messages 100000] [--rounds 3]
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import statistics
import struct
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from multiprocessing.synchronize import Event
from pathlib import Path

import asyncpg
import psutil
from websockets.asyncio.server import ServerConnection, serve

from tests.postgres import Cluster, free_port

ROOT = Path(__file__).parent.parent
BATCH = 5000
COLUMNS = (
    "provider", "match_id", "kickoff", "home", "away", "status", "home_score", "away_score", "odds_home", "odds_away",
    "minute", "updated_at",
)  # fmt: skip
EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
START = datetime(2026, 1, 1, tzinfo=UTC)

CREATE = """create table if not exists matches (provider text, match_id text, kickoff timestamptz not null,
 home text not null, away text not null, status text not null, home_score bigint, away_score bigint,
 odds_home double precision, odds_away double precision, minute bigint, updated_at timestamptz not null,
 primary key (provider, match_id))"""
STAGE = "create temp table stage (like matches) on commit drop"
UPSERT = (
    f"insert into matches select {', '.join(COLUMNS)} from stage order by provider, match_id"
    " on conflict (provider, match_id) do update set "
    + ", ".join(f"{name} = excluded.{name}" for name in COLUMNS[2:])
    + " where excluded.updated_at >= matches.updated_at"
)

CONFIG = """
database: {{url: "{database}"}}
buffer: {{kind: {buffer}, path: {folder}/spool}}
http: {{port: {port}}}
log: {{level: warning}}
tables:
  matches:
    key: [provider, match_id]
    version: updated_at
    columns:
      provider: text
      match_id: text
      kickoff: timestamp
      home: {{type: text, max_length: 120}}
      away: {{type: text, max_length: 120}}
      status: {{type: text, values: [scheduled, live, finished]}}
      home_score: {{type: integer, min: 0, max: 200, null: true}}
      away_score: {{type: integer, min: 0, max: 200, null: true}}
      odds_home: {{type: float, null: true}}
      odds_away: {{type: float, null: true}}
      minute: {{type: integer, null: true}}
      updated_at: timestamp
providers:
  bench:
    url: ws://127.0.0.1:{sender}
    feeds:
      live:
        kind: websocket
        subscribe: [go]
        into: matches
        map:
          provider: {{const: bench}}
          match_id: match.id
          kickoff: match.utcDate
          home: match.home.name
          away: match.away.name
          status: {{from: match.status, values: {{TIMED: scheduled, IN_PLAY: live, FINISHED: finished}}}}
          home_score: match.score.home
          away_score: match.score.away
          odds_home: match.odds.home
          odds_away: match.odds.away
          minute: match.minute
          updated_at: ts
"""


def document(number: int) -> dict[str, object]:
    """Give one message of about 1.4 KB."""
    return {
        "type": "score",
        "ts": (START + timedelta(milliseconds=number)).isoformat(),
        "match": {
            "id": f"m{number:09d}",
            "utcDate": "2026-03-01T15:00:00Z",
            "home": {"id": number % 97, "name": f"Club {number % 97} United"},
            "away": {"id": number % 89, "name": f"Sporting {number % 89}"},
            "status": ("TIMED", "IN_PLAY", "FINISHED")[number % 3],
            "score": {"home": number % 7, "away": number % 5},
            "odds": {"home": 1.5 + number % 10 / 10, "away": 2.25},
            "minute": number % 90,
            "lineup": [{"n": n, "name": f"Player {n}", "position": "MID"} for n in range(20)],
        },
    }


def send(port: int, messages: int, up: Event, go: Event) -> None:
    """Serve all messages, as fast as the socket takes them, to whoever subscribes, once told to go."""
    bodies = (json.dumps(document(number), separators=(",", ":")).encode() for number in range(messages))
    frames = [b"\x81\x7e" + len(body).to_bytes(2, "big") + body for body in bodies]

    async def handle(connection: ServerConnection) -> None:
        await connection.recv()
        while not go.is_set():
            await asyncio.sleep(0.005)
        # Frames made beforehand (RFC 6455, section 5.2) go out as they are: the sender must not be the limit.
        for start in range(0, messages, 200):
            connection.transport.write(b"".join(frames[start : start + 200]))
            await connection.drain()
        await connection.wait_closed()

    async def main() -> None:
        async with serve(handle, "127.0.0.1", port, compression=None, ping_interval=None):
            up.set()
            await asyncio.Future()

    asyncio.run(main())


def row(number: int) -> tuple[object, ...]:
    """Give the row that a message becomes."""
    status = ("scheduled", "live", "finished")[number % 3]
    return (
        "bench", f"m{number:09d}", datetime(2026, 3, 1, 15, tzinfo=UTC), f"Club {number % 97} United",
        f"Sporting {number % 89}", status, number % 7, number % 5, 1.5 + number % 10 / 10, 2.25, number % 90,
        START + timedelta(milliseconds=number),
    )  # fmt: skip


def encoded(rows: list[tuple[object, ...]]) -> bytes:
    """Encode rows for a binary COPY (PostgreSQL, COPY, binary format)."""
    parts = [b"PGCOPY\n\xff\r\n\0" + bytes(8)]
    for values in rows:
        parts.append(struct.pack("!h", len(values)))
        for value in values:
            if isinstance(value, str):
                data = value.encode()
            elif isinstance(value, int):
                data = struct.pack("!q", value)
            elif isinstance(value, float):
                data = struct.pack("!d", value)
            else:
                assert isinstance(value, datetime)
                data = struct.pack("!q", (value - EPOCH) // timedelta(microseconds=1))
            parts.append(struct.pack("!i", len(data)) + data)
    return b"".join([*parts, b"\xff\xff"])


async def limit(url: str, messages: int) -> float:
    """COPY of rows encoded beforehand, and the same upsert: what this server can take."""
    batches = [encoded([row(n) for n in range(s, min(s + BATCH, messages))]) for s in range(0, messages, BATCH)]
    connection = await asyncpg.connect(url)
    started = time.perf_counter()
    for data in batches:
        async with connection.transaction():
            await connection.execute(STAGE)
            await connection.copy_to_table("stage", source=_once(data), format="binary")
            await connection.execute(UPSERT)
    seconds = time.perf_counter() - started
    await connection.close()
    return seconds


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def until_loaded(url: str, messages: int) -> None:
    """Wait until Postgres counts all rows."""
    connection = await asyncpg.connect(url)
    while await connection.fetchval("select count(*) from matches") < messages:
        await asyncio.sleep(0.02)
    await connection.close()


async def contest(
    command: list[str], folder: Path, url: str, messages: int, ready: Callable[[], Awaitable[None]]
) -> tuple[float, float]:
    """Run a process against the sender; give seconds from the first frame to the last row, and CPU us a record."""
    up, go = multiprocessing.Event(), multiprocessing.Event()
    sender = multiprocessing.Process(target=send, args=(int(os.environ["SENDER"]), messages, up, go), daemon=True)
    sender.start()
    await asyncio.to_thread(up.wait)
    process = await asyncio.create_subprocess_exec(*command, cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)})
    try:
        await ready()
        before = sum(psutil.Process(process.pid).cpu_times()[:2])
        started = time.perf_counter()
        go.set()
        await until_loaded(url, messages)
        seconds = time.perf_counter() - started
        cpu = sum(psutil.Process(process.pid).cpu_times()[:2]) - before
    finally:
        process.terminate()
        await process.wait()
        sender.terminate()
        sender.join()
    return seconds, cpu / messages * 1e6


async def headrace(url: str, messages: int, buffer: str) -> tuple[float, float]:
    """The daemon, as a process, with its configuration."""
    with tempfile.TemporaryDirectory() as name:
        folder, port = Path(name), free_port()
        text = CONFIG.format(database=url, buffer=buffer, folder=folder, port=port, sender=os.environ["SENDER"])
        (folder / "config.yaml").write_text(text)
        command = [sys.executable, "-m", "service", "run", "-c", "config.yaml"]
        return await contest(command, folder, url, messages, lambda: _listening(url))


async def script(url: str, messages: int) -> tuple[float, float]:
    """A good script of our own: websockets, orjson, a queue of records, COPY; in memory, without any promise."""
    command = [sys.executable, str(ROOT / "benchmarks" / "by_hand.py"), url, os.environ["SENDER"]]
    return await contest(command, ROOT, url, messages, lambda: _listening(url))


async def _listening(url: str) -> None:
    """Give a contestant time to connect: its database session exists, and a moment more for the socket."""
    connection = await asyncpg.connect(url)
    query = "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
    while not await connection.fetchval(query):
        await asyncio.sleep(0.05)
    await connection.close()
    await asyncio.sleep(1.5)


async def measure(messages: int, rounds: int) -> dict[str, list[tuple[float, float]]]:
    """Interleave the contestants."""
    results: dict[str, list[tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory() as name:
        cluster = Cluster(
            Path(name) / "postgres", {"max_connections": "20", "shared_buffers": "256MB", "max_wal_size": "4GB"}
        )
        cluster.make()
        cluster.start()
        url = cluster.url("bench")
        contestants: dict[str, Callable[[], Awaitable[tuple[float, float]]]] = {
            "limit": lambda: _limit(url, messages),
            "headrace, spool": lambda: headrace(url, messages, "spool"),
            "headrace, memory": lambda: headrace(url, messages, "memory"),
            "by hand": lambda: script(url, messages),
            "limit again (A/A)": lambda: _limit(url, messages),
        }
        try:
            for _ in range(rounds):
                for contestant, run in contestants.items():
                    await cluster.execute("drop database if exists bench with (force)", "create database bench")
                    await cluster.execute(CREATE, "checkpoint", database="bench")
                    results.setdefault(contestant, []).append(await run())
        finally:
            cluster.remove()
    return results


async def _limit(url: str, messages: int) -> tuple[float, float]:
    return await limit(url, messages), 0.0


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    os.environ["SENDER"] = str(free_port())
    results = asyncio.run(measure(arguments.messages, arguments.rounds))
    best = statistics.median(seconds for seconds, _ in results["limit"])
    print("| contestant | rows/s (min..max) | of the limit | CPU us/record |\n| --- | --- | --- | --- |")
    for contestant, runs in results.items():
        seconds = [run[0] for run in runs]
        median = statistics.median(seconds)
        slowest, fastest = arguments.messages / max(seconds), arguments.messages / min(seconds)
        rate = f"{arguments.messages / median:,.0f} ({slowest:,.0f}..{fastest:,.0f})"
        cpu = statistics.median(run[1] for run in runs)
        print(f"| {contestant} | {rate} | {best / median:.2f} | {f'{cpu:.1f}' if cpu else ''} |")


if __name__ == "__main__":
    main()
