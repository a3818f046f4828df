"""What tests of buffers share: messages to send, and ways to read and to wait."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, TypeVar

from service.model import Lane, Message

KIB = 1 << 10
MIB = 1 << 20
FEED = "acme.scores"
Result = TypeVar("Result")


def messages(count: int, size: int = 100, start: int = 0) -> list[Message]:
    """Give messages that can be told apart."""
    return [Message(f"{number}:".encode().ljust(size, b"."), 1.5 + number) for number in range(start, start + count)]


async def drain(lane: Lane, after: int = 0, max_bytes: int = 4 * KIB) -> list[tuple[int, Message]]:
    """Read all that there is, with numbers."""
    found: list[tuple[int, Message]] = []
    lane.close()
    async with asyncio.timeout(20):
        while group := await lane.read(after, max_bytes):
            assert group.first > after
            assert group.size == sum(len(message.body) for message in group.messages)
            found += enumerate(group.messages, group.first)
            after = group.last
    return found


@contextlib.asynccontextmanager
async def running(work: Coroutine[Any, Any, Result]) -> AsyncIterator[asyncio.Task[Result]]:
    """Run something beside the block; it is cancelled at the end if it still waits."""
    async with asyncio.TaskGroup() as group:
        task = group.create_task(work)
        yield task
        task.cancel()


async def until(condition: Callable[[], bool]) -> None:
    """Wait until the buffer's own figures, which announce nothing, say so."""
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0)
