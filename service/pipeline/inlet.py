"""The inlet: a queue bounded in bytes between a source and its lane, which groups what it appends."""

import asyncio
import time
from collections.abc import Sequence

from service.model import OVERHEAD, Lane, Message, footprint
from service.pipeline.conflate import Conflation
from service.pipeline.gaps import META as GAP

GROUPS = 8
"""With conflation, only this part of the bound is appended at once: what is being appended cannot be conflated."""


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

    Args:
        lane: what messages are appended to.
        max_bytes: the most that may wait.
        conflation: of what waits when this is full, drops what is superfluous; the source waits only if that is not
            enough.

    Attributes:
        conflated: number of messages that were dropped in this way; others stand for them in the ledger.
        messages: number of messages that became safe in the buffer, that is: were received; ours about gaps are none.
        bytes_received: bytes of their bodies.
        paused_seconds: how long sources have waited here.
    """

    def __init__(self, lane: Lane, max_bytes: int, conflation: Conflation | None = None) -> None:
        self._lane = lane
        self._max_bytes = max_bytes
        self._conflation = conflation
        self._gone = 0
        self._settled = 0
        self.conflated = 0
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
        if not messages:
            return
        size = footprint(messages)
        full = bool(self._held) and self._held + size > self._max_bytes
        try:
            if full and self._conflation is None:
                await self._room(self._max_bytes - size)
        finally:
            self._waiting.extend(messages)
            self._held += size
            self._accepted += len(messages)
        if full and self._conflation is not None:
            await self._conflate(self._conflation)
        async with self._changed:
            self._changed.notify_all()

    async def _conflate(self, conflation: Conflation) -> None:
        """Drop what is superfluous; wait if that makes little room, so that not every message is followed by this."""
        waiting, self._waiting = self._waiting, []
        kept = waiting
        try:
            kept = await conflation.fold(waiting)
        finally:
            self._waiting = [*kept, *self._waiting]
            self._held -= footprint(waiting) - footprint(kept)
            self._gone += len(waiting) - len(kept)
            self.conflated += len(waiting) - len(kept)
        async with self._changed:
            self._changed.notify_all()
        if self._held > self._max_bytes * 3 // 4:
            await self._room(self._max_bytes * 3 // 4)

    async def _room(self, most: int) -> None:
        """Wait until no more than so many bytes are held, or none."""
        pause = object()
        self._pauses[pause] = time.monotonic()
        try:
            async with self._changed:
                await self._changed.wait_for(lambda: not self._held or self._held <= most)
        finally:
            self._paused_before += time.monotonic() - self._pauses.pop(pause)

    def rate(self) -> float:
        """Messages received a second, over the last while."""
        return self._speed.read(self.messages)

    async def settled(self) -> None:
        """Wait until all that was put so far is safe in the buffer."""
        target = self._accepted
        async with self._changed:
            await self._changed.wait_for(lambda: self._settled >= target)

    async def run(self) -> None:
        """Append group after group to the lane, until closed and empty."""
        while True:
            async with self._changed:
                await self._changed.wait_for(lambda: self._waiting or self._closed)
            if not self._waiting:
                return
            group = self._next_group()
            await self._lane.append(group)
            size = footprint(group)
            self._held -= size
            self.messages += len(group) - len([... for message in group if message.meta and GAP in message.meta])
            self._settled += len(group)
            if not self._waiting:
                self._settled += self._gone
                self._gone = 0
            self.bytes_received += size - OVERHEAD * len(group)
            async with self._changed:
                self._changed.notify_all()

    def _next_group(self) -> list[Message]:
        group, self._waiting = self._waiting, []
        if self._conflation is not None:
            size = number = 0
            while number < len(group) and size < self._max_bytes // GROUPS:
                size += len(group[number].body) + OVERHEAD
                number += 1
            group, self._waiting = group[:number], group[number:]
        return group

    async def __aenter__(self) -> "Inlet":
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Take nothing more; ``run`` ends when the rest is appended."""
        self._closed = True
        async with self._changed:
            self._changed.notify_all()
