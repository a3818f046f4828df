"""One feed's messages on the disk."""

import asyncio
from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from pathlib import Path

import structlog

from service.buffer.codec import measure
from service.buffer.files import Disk
from service.buffer.lane import BoundedLane
from service.buffer.reader import Damage, Piece, Reader
from service.buffer.recent import Recent
from service.buffer.recovery import Recovered, keep_copy
from service.buffer.room import Room
from service.buffer.segment import Segment
from service.buffer.writer import Writer
from service.model import Group, Message

log = structlog.get_logger()
_INLINE_BYTES = 256 << 10
"""Reads up to this size are done at once: they were written a moment ago and lie in the page cache."""
_FIRST_RETRY = 0.1
_LAST_RETRY = 5.0


class SpoolLane(BoundedLane):
    """Append-only segments in a folder; what is forgotten is deleted segment by segment.

    Sizes are bytes of entries that are not forgotten, as exactly as is known: within a group that was handed out, and
    before the first read after a start, they are counted from its beginning. On the disk lie in addition the forgotten
    part of the oldest segment, and the newest segment, which stays to keep the numbering and the last position.

    Attributes:
        damaged: number of messages that could not be read back.
    """

    def __init__(
        self, feed: str, lane: bytes, found: Recovered, room: Room, disk: Disk, writer: Writer, recent: Recent
    ) -> None:
        super().__init__(feed, lane.hex(), room, found.last_sequence, found.last_position)
        self.damaged = 0
        self._disk = disk
        self._writer = writer
        self._recent = recent
        self._reader = Reader(disk.files, self._report)
        self._segments = found.segments
        self._end = found.segments[-1].end if found.segments else 0
        self._floor = 0
        self._marks: deque[tuple[int, int]] = deque()  # handed out: last sequence number, bytes of the lane up to there
        room.join(feed, self._end)

    def release(self) -> None:
        """Close the files."""
        self._writer.close()
        self._reader.close()

    async def _keep(self, messages: Sequence[Message]) -> None:
        metas, size = measure(messages)
        await self._room.take(self.feed, size)
        before = self.last_sequence
        try:
            await self._write(messages, metas)
        finally:
            if self.last_sequence == before:
                self._room.give(self.feed, size)

    async def _write(self, messages: Sequence[Message], metas: Sequence[bytes]) -> None:
        """Write a group, as often as it takes: a disk that refuses is backpressure, not a loss."""
        first, position, base = self.last_sequence + 1, self.last_position, self._end
        delay = _FIRST_RETRY
        while True:
            interrupted, written = await self._disk.finish(
                lambda: self._writer.write(first, messages, metas, position, base)
            )
            error = written.exception()
            if error is None:
                self._extend(*written.result(), Group(first, list(messages), sum(len(m.body) for m in messages)))
                self._kept(messages)
                self._disk.accepted(self.feed)
            elif isinstance(error, OSError):
                self._disk.refused(self.feed, error)
            else:
                raise error
            if interrupted is not None:
                raise interrupted
            if error is None:
                return
            await self._pause(delay)
            delay = min(2 * delay, _LAST_RETRY)

    async def _pause(self, seconds: float) -> None:
        """Wait before the next attempt; room that another lane gives back may be room on the disk."""
        with self._room.held_up(self.feed):
            try:
                async with asyncio.timeout(seconds):
                    await self._room.freed()
            except TimeoutError:
                return

    def _extend(self, segment: Segment, tail: tuple[int, int], group: Group) -> None:
        segment.tail = tail
        if not self._segments or self._segments[-1] is not segment:
            if self._segments:
                self._segments[-1].next = segment
            self._segments.append(segment)
        self._end = segment.end
        self._recent.add(Piece(group, segment, self._end))

    async def _fetch(self, after: int, max_bytes: int) -> Group | None:
        sequential = self._reader.stands_at(after)
        ahead = self._end - (self._marks[-1][1] if self._marks else self._floor)
        if sequential and (piece := self._recent.take(after, max_bytes)):
            self._reader.move(piece)
        elif sequential and min(ahead, max_bytes) <= _INLINE_BYTES:
            piece = self._reader.fetch(self._segments, after, max_bytes)
        else:
            segments = list(self._segments)
            piece = await self._disk.run(lambda: self._reader.fetch(segments, after, max_bytes))
        if piece is None:
            return None
        while self._marks and self._marks[-1][0] >= piece.group.first:
            self._marks.pop()
        if not sequential:
            self._mark_start(piece.segment, piece.group, piece.end)
        self._marks.append((piece.group.last, piece.end))
        return piece.group

    def _mark_start(self, segment: Segment, group: Group, end: int) -> None:
        """After a search: what lies before the group is known exactly now."""
        _, size = measure(group.messages)
        self._marks.append((group.first - 1, max(segment.base, end - size)))
        self._settle(self._forgotten)

    async def _drop(self, through: int) -> None:
        self._settle(through)
        # The newest segment that begins at or below the next message, and all after it, are still needed.
        keep = bisect_right(self._segments, through + 1, key=lambda segment: segment.first) - 1
        if keep > 0:
            gone = [segment.path for segment in self._segments[:keep]]
            del self._segments[:keep]
            await self._disk.run(lambda: self._delete(gone))

    def _settle(self, through: int) -> None:
        """Give back the room of everything that is known to lie at or below ``through``."""
        floor = self._floor
        while self._marks and self._marks[0][0] <= through:
            floor = max(floor, self._marks.popleft()[1])
        keep = bisect_right(self._segments, through + 1, key=lambda segment: segment.first) - 1
        if through >= self.last_sequence:
            floor = self._end
        elif keep > 0:
            floor = max(floor, self._segments[keep].base)
        self._room.give(self.feed, floor - self._floor)
        self._floor = floor

    def _delete(self, paths: Sequence[Path]) -> None:
        for path in paths:
            try:
                self._disk.files.unlink(path)
            except OSError as error:
                log.warning(
                    "a loaded segment could not be deleted; it is replayed at worst", path=str(path), error=str(error)
                )

    def _report(self, damage: Damage) -> None:
        self.damaged += damage.last - damage.first + 1
        log.error(
            "stored messages are damaged and were skipped",
            feed=self.feed,
            segment=str(damage.path),
            offset=damage.offset,
            first_sequence=damage.first,
            last_sequence=damage.last,
            kept=str(keep_copy(damage)),
        )

    def _held(self) -> int:
        return self._end - self._floor

    def _oldest(self) -> int:
        return self._segments[0].first if self._segments else self.last_sequence + 1
