"""Receives by aiohttp's client, as text."""

import asyncio

import aiohttp

from benchmarks.peers.stopwatch import GO, MESSAGES, TLS, URL, Stopwatch


async def main() -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(URL, ssl=TLS if TLS is not None else True, max_msg_size=0) as connection,
    ):
        await connection.send_str(GO)
        size = len((await connection.receive()).data)
        watch = Stopwatch()
        for _ in range(MESSAGES - 1):
            size += len((await connection.receive()).data)
        watch.stop(size)


asyncio.run(main())
