"""Appends groups of messages to the newest segment of a lane, durably or not at all."""

import contextlib
import errno
import os
from collections.abc import Sequence
from pathlib import Path

import structlog

from service.buffer.codec import encode
from service.buffer.files import Files
from service.buffer.segment import Segment, encode_header, segment_path
from service.model import Message, Position

log = structlog.get_logger()
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT}


class Writer:
    """Writes a lane's segments; runs in a thread, once at a time.

    Args:
        files: the file operations.
        folder: of the lane.
        lane: its identity.
        segment_bytes: size at which a segment is followed by a new one.
        newest: the segment to go on with, or None to begin a new one.
    """

    def __init__(self, files: Files, folder: Path, lane: bytes, segment_bytes: int, newest: Segment | None) -> None:
        self._files = files
        self._folder = folder
        self._lane = lane
        self._segment_bytes = segment_bytes
        self._segment = newest
        self._descriptor = -1

    def write(
        self, first: int, messages: Sequence[Message], metas: Sequence[bytes], position: Position | None, base: int
    ) -> tuple[Segment, tuple[int, int]]:
        """Write a group and wait until it is on the disk.

        Args:
            first: sequence number of the first message.
            messages: the group.
            metas: their encoded meta.
            position: the newest that was known before the group.
            base: bytes of entries that the lane has.

        Returns:
            The segment that the group is in, and its new tail.

        Raises:
            OSError: the disk does not take it; nothing of the group is left, and it may be tried again.
        """
        data = encode(first, messages, metas)
        following = first + len(messages)
        segment = self._segment
        if segment is not None and segment.tail[0] < self._segment_bytes and segment.tail[1] == first:
            end = segment.tail[0]
            if self._append(segment, data, end):
                return segment, (end + len(data), following)
        return self._begin(first, following, data, position, base)

    def close(self) -> None:
        """Close the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _append(self, segment: Segment, data: bytes, end: int) -> bool:
        """Write to the newest segment; False when it must not be written any more."""
        try:
            if self._descriptor < 0:
                self._descriptor = self._files.open(segment.path)
            self._files.write(self._descriptor, data, end)
        except OSError as error:
            self._cut_back(end, abandon=error.errno not in _NO_ROOM)
            raise
        try:
            self._files.sync(self._descriptor)
        except OSError as error:
            # The kernel may have dropped the pages and will report success next time: nothing but a new file is safe.
            log.warning(
                "a flush failed; the group is written again to a new file", path=str(segment.path), error=str(error)
            )
            self._cut_back(end, abandon=True)
            return False
        return True

    def _cut_back(self, end: int, *, abandon: bool) -> None:
        """Take a failed group out of the file; where that fails too, never write to the file again."""
        if self._descriptor >= 0:
            try:
                self._files.truncate(self._descriptor, end)
            except OSError:
                abandon = True
        if abandon:
            self.close()
            self._segment = None

    def _begin(
        self, first: int, following: int, data: bytes, position: Position | None, base: int
    ) -> tuple[Segment, tuple[int, int]]:
        """Begin a new segment with the group."""
        path = segment_path(self._folder, first)
        header = encode_header(self._lane, first, position)
        descriptor = self._files.create(path)
        try:
            self._files.write(descriptor, header + data, 0)
            self._files.sync(descriptor)
            self._files.sync_folder(self._folder)
        except OSError:
            os.close(descriptor)
            with contextlib.suppress(OSError):
                self._files.unlink(path)
            raise
        self.close()
        self._descriptor = descriptor
        tail = (len(header) + len(data), following)
        self._segment = Segment(path, first, len(header), base, tail)
        return self._segment, tail
