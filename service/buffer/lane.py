"""What lanes of every kind have in common: numbering, one writer and one reader, waking each other."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Sequence

import structlog

from service.buffer.room import Room
from service.model import Group, LaneStat, Message, Position

log = structlog.get_logger()


class BoundedLane(ABC):
    """A lane that takes messages while there is room, and whose reader waits for them.

    Args:
        feed: ``provider.feed``.
        lane_id: identity of the numbering.
        room: what the lanes of the buffer share.
        last_sequence: number of the newest message that is already there.
        last_position: of the newest message that had one.
    """

    def __init__(
        self, feed: str, lane_id: str, room: Room, last_sequence: int = 0, last_position: Position | None = None
    ) -> None:
        self.feed = feed
        self.id = lane_id
        self.last_sequence = last_sequence
        self.last_position = last_position
        self._room = room
        self._forgotten = 0
        self._closed = False
        self._news = asyncio.Event()
        self._writing = asyncio.Lock()

    async def append(self, messages: Sequence[Message]) -> int:
        """Keep the messages, in order; return the last sequence number once they are safe.

        Waits while there is no room. Cancelled, it has kept either none of them or all: none while it waited,
        and ``last_sequence`` tells.
        """
        if messages:
            async with self._writing:
                await self._keep(messages)
        return self.last_sequence

    async def read(self, after: int, max_bytes: int) -> Group | None:
        """Return the messages that follow ``after``, at most about ``max_bytes`` (at least one message).

        Starts at the oldest that is kept when ``after`` lies below. Waits for a message; None once closed and read.
        """
        if after > self.last_sequence:
            await self.forget(after)
        after = max(after, self._forgotten)
        while True:
            newest = self.last_sequence
            if after < newest:
                if group := await self._fetch(after, max_bytes):
                    return group
                after = newest  # all that was left could not be read
            elif self._closed:
                return None
            else:
                self._news.clear()
                await self._news.wait()

    async def forget(self, through: int) -> None:
        """Drop everything up to and including ``through``.

        A number that the lane never gave (the disk lost what it had acknowledged, or an old copy of the folder was put
        back) moves the numbering on, so that no number is used twice.
        """
        if not self._forgotten and through < self._oldest() - 1:
            log.error(
                "the database ends before the buffer begins: it is an older copy; ask anew for what lies between",
                feed=self.feed,
                loaded=through,
                buffer_begins=self._oldest(),
            )
        if through > self._forgotten:
            self._forgotten = through
            await self._drop(through)
        if through > self.last_sequence:
            log.error(
                "the buffer ends before what is already loaded: its disk lost messages or its folder is an old copy",
                feed=self.feed,
                buffer_ends=self.last_sequence,
                loaded=through,
            )
            self.last_sequence = through

    def close(self) -> None:
        """No message will be appended any more; ``read`` ends when it has handed out the rest."""
        self._closed = True
        self._news.set()

    def reopen(self) -> None:
        """Take messages again after ``close``: the feed was restarted."""
        self._closed = False

    def stat(self) -> LaneStat:
        """Say how full the lane is; ``full`` means that messages wait for room."""
        return LaneStat(
            bytes=self._held(),
            max_bytes=self._room.most(),
            messages=self.last_sequence - max(self._forgotten, self._oldest() - 1),
            full=self.feed in self._room.waiting,
        )

    def _kept(self, messages: Sequence[Message]) -> None:
        """Number the messages, which are safe now, and wake the reader."""
        self.last_sequence += len(messages)
        self.last_position = next(
            (message.position for message in reversed(messages) if message.position is not None), self.last_position
        )
        self._news.set()

    @abstractmethod
    async def _keep(self, messages: Sequence[Message]) -> None:
        """Take room, make the messages safe, then call ``_kept``."""

    @abstractmethod
    async def _fetch(self, after: int, max_bytes: int) -> Group | None:
        """Give messages that follow ``after``; None when all that is left cannot be read."""

    @abstractmethod
    async def _drop(self, through: int) -> None:
        """Drop what is forgotten and give its room back."""

    @abstractmethod
    def _held(self) -> int:
        """Bytes that are not forgotten."""

    @abstractmethod
    def _oldest(self) -> int:
        """Sequence number of the oldest message that is stored."""
