"""Receives by Headrace's own source, up to where the pipeline begins: a link that only counts.

With the variant `pause` the link takes its time, so that reading from the socket is paused and resumed.
"""

import asyncio
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, cast

from benchmarks.peers.stopwatch import GO, MESSAGES, TLS, URL, VARIANT, Stopwatch
from service.config.foreach import ForEach, Value
from service.config.settings import Provider as Settings
from service.model import Message, Position
from service.provider import Provider
from service.sources import Receiver, Source, Tracked


class Link:
    """Counts; see Link of the sources."""

    feed = "bench.feed"
    position: Position | None = None
    full = False

    def __init__(self, provider: Provider) -> None:
        self.provider = provider
        self.notes: dict[str, Any] = {}
        self._left, self._size = MESSAGES, 0
        self._watch: Stopwatch | None = None
        self.done = asyncio.Event()

    async def emit(self, messages: Sequence[Message]) -> None:
        """Count messages."""
        if self._watch is None:
            self._watch = Stopwatch()
        for message in messages:
            self._size += len(message.body)
        self._left -= len(messages)
        if not self._left:
            self._watch.stop(self._size)
            self.done.set()
        if VARIANT == "pause":
            await asyncio.sleep(0.01)

    async def rows(self, each: ForEach) -> list[dict[str, Value]]:  # noqa: ARG002
        """There are none."""
        return []

    async def settled(self) -> None:
        """Nothing is kept."""

    def listen(self, receiver: Receiver) -> AbstractContextManager[None]:  # noqa: ARG002
        """Nobody posts."""
        return nullcontext()

    def alive(self, ago: float = 0.0) -> None:
        """Nobody asks."""

    def missed(self, ago: float) -> None:
        """Nobody asks."""

    def follow(self, subscriptions: Tracked | None) -> None:
        """Nobody looks."""

    async def wait_until(self, moment: float) -> None:
        """Nothing is polled."""


async def main() -> None:
    feed = {"kind": "websocket", "subscribe": [GO], "into": "t", "map": {}}
    tls = {"tls": {"ca": Path(sys.argv[5])}} if TLS is not None else {}
    settings = Settings.model_validate({"url": URL, "feeds": {"feed": feed}, **tls})
    async with Provider("bench", settings) as provider, asyncio.TaskGroup() as group:
        link = Link(provider)
        receiving = group.create_task(cast("Source", settings.feeds["feed"]).run(link))
        await link.done.wait()
        receiving.cancel()


asyncio.run(main())
