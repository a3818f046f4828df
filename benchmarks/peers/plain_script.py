"""What many a script does: one message, one upsert, one transaction."""

import asyncio
import json
import sys

import asyncpg
from websockets.asyncio.client import connect

from benchmarks.peers.mapping import COLUMNS, row

_PLACES = ", ".join(f"${place}" for place in range(1, len(COLUMNS) + 1))
UPSERT = (
    f"insert into matches values ({_PLACES}) on conflict (provider, match_id) do update set "
    + ", ".join(f"{name} = excluded.{name}" for name in COLUMNS[2:])
    + " where excluded.updated_at >= matches.updated_at"
)


async def main(url: str, port: str) -> None:
    """Receive and write until killed."""
    database = await asyncpg.connect(url)
    async with connect(f"ws://127.0.0.1:{port}/0", compression=None, ping_interval=None) as connection:
        await connection.send("go")
        async for frame in connection:
            await database.execute(UPSERT, *row(json.loads(frame)))


asyncio.run(main(*sys.argv[1:]))
