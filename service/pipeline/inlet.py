"""The inlet: a queue bounded in bytes between a source and its lane, which groups what it appends."""

import asyncio
import time
from collections.abc import Sequence

from service.model import Lane, Message

OVERHEAD = 200
"""Bytes that a message costs in memory besides its body."""


class Speed:
    """How fast a counter rises: an average over the last ten seconds or so, from two marks."""

    WINDOW = 10.0

    def __init__(self) -> None:
        self._older = self._newer = (time.monotonic(), 0)

    def read(self, count: int) -> float:
        """Give counts per second."""
        now = time.monotonic()
        if now - self._newer[0] >= self.WINDOW:
            self._older, self._newer = self._newer, (now, count)
        since, before = self._older
        return (count - before) / (now - since) if now > since else 0.0


class Inlet:
    """Collects messages while the previous group is being made safe; full, it makes the source wait.

    Attributes:
        messages: number of messages that became safe in the buffer, that is: were received.
        bytes_received: bytes of their bodies.
        paused_seconds: how long sources have waited here.
    """

    def __init__(self, lane: Lane, max_bytes: int) -> None:
        self._lane = lane
        self._max_bytes = max_bytes
        self._waiting: list[Message] = []
        self._held = 0
        self._accepted = 0
        self._changed = asyncio.Condition()
        self._closed = False
        self._pauses: dict[object, float] = {}
        self._paused_before = 0.0
        self.messages = 0
        self.bytes_received = 0
        self._speed = Speed()

    @property
    def held(self) -> int:
        """Bytes that wait here or are being appended."""
        return self._held

    @property
    def capacity(self) -> int:
        """Bytes that may wait here before sources are made to wait."""
        return self._max_bytes

    @property
    def full(self) -> bool:
        """Whether messages wait for room, here or for the buffer's."""
        return bool(self._pauses) or self._lane.stat().full

    @property
    def paused_seconds(self) -> float:
        """Seconds that sources have waited for room, those that wait now included."""
        now = time.monotonic()
        return self._paused_before + sum(now - since for since in self._pauses.values())

    @property
    def paused_since(self) -> float | None:
        """Monotonic time since which a source waits for room, or None."""
        return min(self._pauses.values(), default=None)

    async def put(self, messages: Sequence[Message]) -> None:
        """Take messages in; wait while there is no room.

        Cancelled while it waits it takes them all the same, without waiting: what left the socket is never dropped,
        and the bound is exceeded by one group at most.
        """
        size = sum(len(message.body) + OVERHEAD for message in messages)
        try:
            if self._held and self._held + size > self._max_bytes:
                await self._room(size)
        finally:
            self._waiting.extend(messages)
            self._held += size
            self._accepted += len(messages)
        async with self._changed:
            self._changed.notify_all()

    async def _room(self, size: int) -> None:
        pause = object()
        self._pauses[pause] = time.monotonic()
        try:
            async with self._changed:
                await self._changed.wait_for(lambda: not self._held or self._held + size <= self._max_bytes)
        finally:
            self._paused_before += time.monotonic() - self._pauses.pop(pause)

    def rate(self) -> float:
        """Messages received a second, over the last while."""
        return self._speed.read(self.messages)

    async def settled(self) -> None:
        """Wait until all that was put so far is safe in the buffer."""
        target = self._accepted
        async with self._changed:
            await self._changed.wait_for(lambda: self.messages >= target)

    async def run(self) -> None:
        """Append group after group to the lane, until closed and empty."""
        while True:
            async with self._changed:
                await self._changed.wait_for(lambda: self._waiting or self._closed)
            if not self._waiting:
                return
            group, self._waiting = self._waiting, []
            await self._lane.append(group)
            size = sum(len(message.body) for message in group)
            self._held -= size + OVERHEAD * len(group)
            self.messages += len(group)
            self.bytes_received += size
            async with self._changed:
                self._changed.notify_all()

    async def __aenter__(self) -> "Inlet":
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Take nothing more; ``run`` ends when the rest is appended."""
        self._closed = True
        async with self._changed:
            self._changed.notify_all()
