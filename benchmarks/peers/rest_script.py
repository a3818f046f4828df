"""A good script for REST: aiohttp, orjson, COPY and an upsert, a page after the other; no position, no checks."""

import asyncio
import sys
from typing import Any

import aiohttp
import asyncpg
import orjson
from yarl import URL

from benchmarks.peers.mapping import COLUMNS, STAGE, UPSERT, row

BATCH = 5000


async def load(connection: "asyncpg.Connection[Any]", rows: dict[str, tuple[Any, ...]]) -> None:
    """Write rows, and forget them."""
    async with connection.transaction():
        await connection.execute(STAGE)
        await connection.copy_records_to_table("stage", records=rows.values(), columns=COLUMNS)
        await connection.execute(UPSERT)
    rows.clear()


async def main(url: str, address: str) -> None:
    """Go through all pages once, then wait."""
    connection = await asyncpg.connect(url)
    rows: dict[str, tuple[Any, ...]] = {}
    following: URL | None = URL(address)
    async with aiohttp.ClientSession() as session:
        while following is not None:
            async with session.get(following) as answer:
                document = orjson.loads(await answer.read())
                link = answer.links.get("next")
            rows.update({message["match"]["id"]: row(message) for message in document["matches"]})
            if len(rows) >= BATCH:
                await load(connection, rows)
            following = URL(str(link["url"])) if link is not None else None
    await load(connection, rows)
    await asyncio.Future()  # until ended: the benchmark reads its CPU first


asyncio.run(main(*sys.argv[1:]))
