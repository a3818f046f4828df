"""The memory buffer: fast, bounded, and gone with the process."""

import secrets
from collections.abc import Iterable, Sequence

from service.buffer.lane import BoundedLane
from service.buffer.room import Room
from service.model import Group, LaneStat, Message, footprint


class Memory:
    """Lanes in memory; each run numbers anew.

    Args:
        max_bytes: the most that all lanes hold; see Room for how they share it.
        feeds: the feeds that will ask for a lane.
    """

    durable = False

    def __init__(self, max_bytes: int, feeds: Iterable[str]) -> None:
        self._room = Room(max_bytes, feeds)
        self._lanes: dict[str, MemoryLane] = {}

    async def __aenter__(self) -> "Memory":
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Let go of all messages."""
        self._lanes.clear()

    async def lane(self, feed: str) -> "MemoryLane":
        """Give the lane of a feed, empty unless this run has filled it."""
        if feed not in self._lanes:
            self._room.join(feed, 0)
            self._lanes[feed] = MemoryLane(feed, secrets.token_hex(16), self._room)
        self._lanes[feed].reopen()
        return self._lanes[feed]

    def stat(self) -> LaneStat:
        """Say how full the buffer is; ``full`` means that the messages of a feed wait for room."""
        return self._room.stat(sum(lane.stat().messages for lane in self._lanes.values()))


class MemoryLane(BoundedLane):
    """One feed's messages in memory."""

    def __init__(self, feed: str, lane_id: str, room: Room) -> None:
        super().__init__(feed, lane_id, room)
        self._messages: list[Message] = []
        self._bytes = 0

    async def _keep(self, messages: Sequence[Message]) -> None:
        size = footprint(messages)
        await self._room.take(self.feed, size)
        self._bytes += size
        self._messages.extend(messages)
        self._kept(messages)

    async def _fetch(self, after: int, max_bytes: int) -> Group | None:
        start = stop = after + 1 - self._oldest()
        size = 0
        while stop < len(self._messages):
            size += len(self._messages[stop].body)
            if size > max_bytes and stop > start:
                size -= len(self._messages[stop].body)
                break
            stop += 1
        return Group(after + 1, self._messages[start:stop], size)

    async def _drop(self, through: int) -> None:
        count = through + 1 - self._oldest()
        size = footprint(self._messages[:count])
        del self._messages[:count]
        self._bytes -= size
        self._room.give(self.feed, size)

    def _held(self) -> int:
        return self._bytes

    def _oldest(self) -> int:
        return self.last_sequence - len(self._messages) + 1
