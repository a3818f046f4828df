"""What a good programmer writes in an afternoon: websockets, orjson, a queue of records, COPY and an upsert.

It keeps everything in memory, promises nothing, and stops at the first bad record.
"""

import asyncio
import sys
from typing import Any

import asyncpg
import orjson
from websockets.asyncio.client import connect

from benchmarks.peers.mapping import COLUMNS, STAGE, UPSERT, row


async def load(url: str, queue: "asyncio.Queue[tuple[Any, ...]]") -> None:
    """Write what the queue holds, at most 5,000 rows at a time."""
    connection = await asyncpg.connect(url)
    while True:
        rows = {(first := await queue.get())[1]: first}
        while len(rows) < 5000 and not queue.empty():
            one = queue.get_nowait()
            rows[one[1]] = one
        async with connection.transaction():
            await connection.execute(STAGE)
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
                await queue.put(row(orjson.loads(await connection.recv(decode=False))))


asyncio.run(main(*sys.argv[1:]))
