"""Reads a lane's segments in order, and skips what is damaged without passing over it in silence."""

import os
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from service.buffer.codec import OVERHEAD, decode, entry_size, resync
from service.buffer.files import Files
from service.buffer.segment import Segment
from service.model import Group, Message

READ_AHEAD = 1 << 20
"""The most bytes read from a file at a time, unless one entry is larger."""


@dataclass(frozen=True, slots=True)
class Damage:
    """Messages that can no longer be read.

    Attributes:
        path: the segment.
        offset: where in it the damage begins.
        first: sequence number of the first message lost.
        last: sequence number of the last message lost.
    """

    path: Path
    offset: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Piece:
    """What was read.

    Attributes:
        group: the messages.
        segment: where they lie.
        end: bytes of entries in the lane up to and including the last of them.
    """

    group: Group
    segment: Segment
    end: int


class Reader:
    """A place in the segments of a lane. Reading on from it costs one read call; going elsewhere costs a search.

    It may run in a thread, once at a time.

    Args:
        files: the file operations.
        report: told of messages that cannot be read and that were asked for.
    """

    def __init__(self, files: Files, report: Callable[[Damage], None]) -> None:
        self._files = files
        self._report = report
        self._segment: Segment | None = None
        self._descriptor = -1
        self._offset = 0
        self._expected = 0

    def stands_at(self, after: int) -> bool:
        """Whether the next entry here is the one that follows ``after``."""
        return self._segment is not None and self._expected == after + 1

    def fetch(self, segments: Sequence[Segment], after: int, max_bytes: int) -> Piece | None:
        """Give messages that follow ``after``: consecutive, of one segment, about ``max_bytes`` at most.

        Args:
            segments: all of the lane, oldest first.
            after: sequence number to read on from.
            max_bytes: as many whole entries as fit in it, at least one.

        Returns:
            None when nothing sound follows.
        """
        if not self.stands_at(after):
            if not segments:
                return None
            index = bisect_right(segments, after + 1, key=lambda segment: segment.first) - 1
            self._enter(segments[max(0, index)])
        while (segment := self._segment) is not None:
            following = segment.next  # before the tail, which is final once there is a next segment
            end, limit = segment.tail
            if self._expected < limit:
                first = self._expected
                searching = first <= after
                wanted = READ_AHEAD if searching else min(max_bytes, READ_AHEAD)
                messages = self._entries(wanted, end, min(limit, after + 1) if searching else limit)
                if not messages:
                    self._skip_damage(segment, after, end, limit)
                elif not searching:
                    size = sum(len(message.body) for message in messages)
                    return Piece(Group(first, messages, size), segment, segment.base + self._offset - segment.start)
            elif following is None:
                return None
            else:
                self._lose(segment, end, after, following.first)
                self._enter(following)
        return None

    def move(self, piece: Piece) -> None:
        """Go to the end of a piece that was had without reading."""
        self._enter(piece.segment)
        self._offset = piece.segment.start + piece.end - piece.segment.base
        self._expected = piece.group.last + 1

    def close(self) -> None:
        """Close the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        self._segment = None

    def _enter(self, segment: Segment) -> None:
        if self._segment is not segment:
            self.close()
            self._descriptor = self._files.open(segment.path)
            self._segment = segment
        self._offset, self._expected = segment.start, segment.first

    def _entries(self, wanted: int, end: int, limit: int) -> list[Message]:
        """Read entries and move past them; none when the next one is damaged."""
        room = end - self._offset
        chunk = self._files.read(self._descriptor, min(max(wanted, OVERHEAD), room), self._offset)
        messages, used = decode(chunk, self._expected, limit)
        if not messages and len(chunk) < (needed := entry_size(chunk)) <= room:
            chunk = self._files.read(self._descriptor, needed, self._offset)
            messages, used = decode(chunk, self._expected, limit)
        self._offset += used
        self._expected += len(messages)
        return messages

    def _skip_damage(self, segment: Segment, after: int, end: int, limit: int) -> None:
        rest = self._files.read(self._descriptor, max(0, end - self._offset), self._offset)
        found = resync(rest, self._expected, limit)
        damaged_at = self._offset
        skipped, sequence = found or (len(rest), limit)
        self._offset += skipped
        self._lose(segment, damaged_at, after, sequence)
        self._expected = sequence

    def _lose(self, segment: Segment, offset: int, after: int, until: int) -> None:
        first = max(self._expected, after + 1)
        if first < until:
            self._report(Damage(segment.path, offset, first, until - 1))
