"""Receives by the library `websockets`: as text, or as bytes."""

import asyncio

from websockets.asyncio.client import connect

from benchmarks.peers.stopwatch import GO, MESSAGES, TLS, URL, VARIANT, Stopwatch


async def main() -> None:
    decode = False if VARIANT == "bytes" else None
    async with connect(URL, ssl=TLS, compression=None, ping_interval=None, max_size=None) as connection:
        await connection.send(GO)
        size = len(await connection.recv(decode=decode))
        watch = Stopwatch()
        for _ in range(MESSAGES - 1):
            size += len(await connection.recv(decode=decode))
        watch.stop(size)
        connection.transport.abort()


asyncio.run(main())
