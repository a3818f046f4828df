"""A process that appends to a spool until it is killed; a line says what was acknowledged and what may be forgotten."""

import asyncio
import sys
from pathlib import Path

from service.buffer.spool import Spool
from service.model import Message

FEED = "acme.scores"


def body(sequence: int) -> bytes:
    """Give the bytes of the message with this number: 20 to 2000 of them."""
    return f"{sequence} ".encode() * (sequence % 250 + 5)


async def main(path: Path) -> None:
    async with Spool(path, 8 << 20, [FEED]) as spool:
        lane = await spool.lane(FEED)
        while True:
            first = lane.last_sequence + 1
            numbers = range(first, first + first % 120 + 1)
            await lane.append([Message(body(n), float(n), {"sequence": n}, {"even": n % 2 == 0}) for n in numbers])
            forget = max(0, lane.last_sequence // 1000 - 1) * 1000
            print(lane.last_sequence, forget, flush=True)  # noqa: T201  the parent reads it
            await lane.forget(forget)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
