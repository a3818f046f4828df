"""What a good programmer writes in an afternoon: websockets, orjson, a queue of records, COPY and an upsert.

The benchmark's rival; it keeps everything in memory, promises nothing, and stops at the first bad record.
"""

import asyncio
import sys
from datetime import datetime
from typing import Any

import asyncpg
import orjson
from websockets.asyncio.client import connect

COLUMNS = (
    "provider", "match_id", "kickoff", "home", "away", "status", "home_score", "away_score", "odds_home", "odds_away",
    "minute", "updated_at",
)  # fmt: skip
STATUS = {"TIMED": "scheduled", "IN_PLAY": "live", "FINISHED": "finished"}
UPSERT = (
    f"insert into matches select {', '.join(COLUMNS)} from stage order by provider, match_id"
    " on conflict (provider, match_id) do update set "
    + ", ".join(f"{name} = excluded.{name}" for name in COLUMNS[2:])
    + " where excluded.updated_at >= matches.updated_at"
)


def row(frame: bytes) -> tuple[Any, ...]:
    """Map one message."""
    message = orjson.loads(frame)
    match = message["match"]
    return (
        "bench", match["id"], datetime.fromisoformat(match["utcDate"]), match["home"]["name"].strip(),
        match["away"]["name"].strip(), STATUS[match["status"]], match["score"]["home"], match["score"]["away"],
        match["odds"]["home"], match["odds"]["away"], match["minute"], datetime.fromisoformat(message["ts"]),
    )  # fmt: skip


async def load(url: str, queue: "asyncio.Queue[tuple[Any, ...]]") -> None:
    """Write what the queue holds, at most 5,000 rows at a time."""
    connection = await asyncpg.connect(url)
    while True:
        rows = {(first := await queue.get())[1]: first}
        while len(rows) < 5000 and not queue.empty():
            one = queue.get_nowait()
            rows[one[1]] = one
        async with connection.transaction():
            await connection.execute("create temp table stage (like matches) on commit drop")
            await connection.copy_records_to_table("stage", records=rows.values(), columns=COLUMNS)
            await connection.execute(UPSERT)


async def main(url: str, port: str) -> None:
    """Receive and load until killed."""
    queue: asyncio.Queue[tuple[Any, ...]] = asyncio.Queue(10_000)
    async with asyncio.TaskGroup() as group:
        group.create_task(load(url, queue))
        async with connect(f"ws://127.0.0.1:{port}/0", compression=None, ping_interval=None) as connection:
            await connection.send("go")
            while True:
                await queue.put(row(await connection.recv(decode=False)))


asyncio.run(main(*sys.argv[1:]))
