"""The room of a buffer, and how its lanes share it."""

import asyncio
import contextlib
from collections.abc import Iterable, Iterator

from service.model import LaneStat


class Room:
    """Shares ``max_bytes`` among lanes.

    Half of it is divided into equal shares, one for each lane and for nobody else; the other half is common. So one
    parked feed cannot stop the others, and together they never hold more than ``max_bytes``. One exception keeps
    a group larger than its share from waiting for ever: a lane that is empty takes any group.

    Args:
        max_bytes: the most that the lanes hold together.
        feeds: the lanes known in advance; others join when they first come.

    Attributes:
        waiting: the feeds whose messages wait for room now.
    """

    def __init__(self, max_bytes: int, feeds: Iterable[str]) -> None:
        self.max_bytes = max_bytes
        self.waiting: set[str] = set()
        self._used = dict.fromkeys(feeds, 0)
        self._freed = asyncio.Event()

    def join(self, feed: str, held: int) -> None:
        """Count the bytes that a lane holds when it is opened."""
        self._used[feed] = held

    def stat(self, messages: int) -> LaneStat:
        """Say how full the whole is, whose lanes hold so many messages."""
        return LaneStat(self.used(), self.max_bytes, messages, bool(self.waiting))

    def used(self) -> int:
        """Bytes that all lanes hold."""
        return sum(self._used.values())

    def most(self) -> int:
        """Bytes that one lane may hold while the others keep to their shares."""
        return self.max_bytes - self._share() * (len(self._used) - 1)

    async def take(self, feed: str, size: int) -> None:
        """Take room for a group; wait while there is none. Cancelled, it has taken nothing."""
        if not self._fits(feed, size):
            with self.held_up(feed):
                while not self._fits(feed, size):
                    await self.freed()
        self._used[feed] += size

    def give(self, feed: str, size: int) -> None:
        """Give room back."""
        if size:
            self._used[feed] -= size
            self._freed.set()

    async def freed(self) -> None:
        """Wait until a lane gives room back."""
        self._freed.clear()
        await self._freed.wait()

    @contextlib.contextmanager
    def held_up(self, feed: str) -> Iterator[None]:
        """Show the feed as waiting within the block."""
        self.waiting.add(feed)
        try:
            yield
        finally:
            self.waiting.discard(feed)

    def _share(self) -> int:
        return self.max_bytes // 2 // max(1, len(self._used))

    def _fits(self, feed: str, size: int) -> bool:
        share = self._share()
        used = self._used[feed]
        if used == 0 or used + size <= share:
            return True
        beyond = sum(max(0, other - share) for other in self._used.values()) - max(0, used - share)
        return beyond + used + size - share <= self.max_bytes - share * len(self._used)
