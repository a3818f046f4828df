"""The segments of one lane on disk: appended at the end, read in order, deleted from the front."""

import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import structlog

from service.buffer.disk import Disk
from service.buffer.segment import HEADER, MAGIC, Entry, Rot, decode, encode, needed, scan
from service.model import Group, Message, Position

log = structlog.get_logger()

CHUNK = 256 << 10


class LaneFiles:
    """Blocking file work of one lane; the lane calls it from a thread. One writer and one reader.

    Attributes:
        id: the lane's identity, from the segments' headers.
        last: sequence number of the newest message, 0 when there never was one.
        position: of the newest message that had one.
        damaged: stretches found that are not what was written.
    """

    def __init__(self, folder: Path, segment_bytes: int, disk: Disk) -> None:
        self.folder = folder
        self.id = os.urandom(16).hex()
        self.last = 0
        self.position: Position | None = None
        self.damaged = 0
        self.sizes: list[tuple[int, int]] = []
        self._segment_bytes = segment_bytes
        self._disk = disk
        self._firsts: list[int] = []
        self._descriptor = -1
        self._end = 0
        self._busy = threading.Lock()
        self._reading: tuple[int, int, int] | None = None

    def path(self, first: int) -> Path:
        """Give the file of the segment that begins with sequence number ``first``."""
        return self.folder / f"{first:020d}.seg"

    def open(self) -> None:
        """Find what an earlier run left: cut a torn tail, name what is rotten."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for path in sorted(self.folder.glob("*.seg")):
            header = path.read_bytes()[: HEADER.size] if path.stat().st_size >= HEADER.size else b""
            if not header.startswith(MAGIC):
                path.rename(path.with_suffix(f".torn-{time.time_ns()}"))
                continue
            self.id = HEADER.unpack(header)[1].hex()
            self._firsts.append(int(path.stem))
        for first in self._firsts:
            self._examine(first, newest=first == self._firsts[-1])
        if self._firsts:
            path = self.path(self._firsts[-1])
            self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)
            self._end = path.stat().st_size

    def _examine(self, first: int, *, newest: bool) -> None:
        path = self.path(first)
        end = path.stat().st_size
        self.last = max(self.last, first - 1)
        for found in scan(path):
            if isinstance(found, Entry):
                self.last = found.sequence
                self.sizes.append((found.sequence, found.end - found.start))
                if found.message.position is not None:
                    self.position = found.message.position
            elif newest and found.end == end:
                self._cut(path, found)
            else:
                self.damaged += 1
                log.error(
                    "buffer damaged", file=str(path), from_byte=found.start, to_byte=found.end, after_sequence=self.last
                )

    def _cut(self, path: Path, tail: Rot) -> None:
        """Cut what a crash left half written, and keep the piece aside."""
        data = path.read_bytes()
        aside = path.with_suffix(f".torn-{time.time_ns()}")
        aside.write_bytes(data[tail.start :])
        os.truncate(path, tail.start)
        log.warning("buffer tail cut", file=str(path), bytes=tail.end - tail.start, kept_in=aside.name)

    def append(self, messages: Sequence[Message]) -> list[int]:
        """Write messages at the end and sync; return the size of each entry.

        Raises:
            OSError: nothing of it counts as written.
        """
        with self._busy:
            return self._append(messages)

    def _append(self, messages: Sequence[Message]) -> list[int]:
        entries = encode(self.last + 1, messages)
        data = b"".join(entries)
        if self._descriptor < 0 or self._end + len(data) > self._segment_bytes:
            self._begin(self.last + 1)
        try:
            self._disk.write(self._descriptor, data)
        except OSError:
            os.ftruncate(self._descriptor, self._end)
            raise
        try:
            self._disk.sync(self._descriptor)
        except OSError:
            # After a failed sync the kernel may have dropped the pages: this file is not to be trusted with the group.
            os.ftruncate(self._descriptor, self._end)
            os.close(self._descriptor)
            self._descriptor = -1
            raise
        self._end += len(data)
        self.last += len(messages)
        self.position = next((m.position for m in reversed(messages) if m.position is not None), self.position)
        sizes = [len(entry) for entry in entries]
        self.sizes += zip(range(self.last - len(messages) + 1, self.last + 1), sizes, strict=True)
        return sizes

    def _begin(self, first: int) -> None:
        """Begin a new segment."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.path(first)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
        try:
            header = HEADER.pack(MAGIC, bytes.fromhex(self.id), first)
            self._disk.write(descriptor, header)
            self._disk.sync(descriptor)
            self._disk.sync_folder(self.folder)
        except OSError:
            os.close(descriptor)
            path.unlink(missing_ok=True)
            raise
        if self._descriptor >= 0:
            os.close(self._descriptor)
        if first not in self._firsts:
            self._firsts.append(first)
        self._descriptor, self._end = descriptor, len(header)

    def read(self, after: int, through: int, max_bytes: int) -> Group | None:
        """Give the messages that follow ``after``, at least one unless there is none, and none above ``through``.

        What lies above is written but not synced yet: its position must not be committed before it is.
        """
        if self._reading is None or self._reading[2] != after + 1:
            self._reading = self._seek(after + 1)
        first, offset, expected = self._reading
        messages: list[Message] = []
        size = 0
        while not messages:
            data = self._chunk(self.path(first), offset, max(CHUNK, max_bytes))
            for entry in decode(data, offset):
                if entry.sequence > through or (messages and (size >= max_bytes or entry.sequence != expected)):
                    break
                offset = entry.end
                if entry.sequence < after + 1:
                    continue
                expected = entry.sequence + 1
                messages.append(entry.message)
                size += entry.end - entry.start
            if not messages and expected > through:
                return None
            if not messages:
                following = self._following(first, offset)
                if following is None:
                    return None
                first, offset = following
        self._reading = (first, offset, expected)
        return Group(expected - len(messages), messages, size)

    def _seek(self, sequence: int) -> tuple[int, int, int]:
        before = [first for first in self._firsts if first <= sequence]
        first = before[-1] if before else self._firsts[0]
        return first, HEADER.size, sequence

    def _chunk(self, path: Path, offset: int, size: int) -> bytes:
        with path.open("rb") as file:
            file.seek(offset)
            data = file.read(size)
            if (whole := needed(data)) > len(data):
                file.seek(offset)
                data = file.read(whole)
            return data

    def _following(self, first: int, offset: int) -> tuple[int, int] | None:
        """Give where to read on when nothing sound lies at the place: behind the rot, or in the next segment."""
        for found in scan(self.path(first)):
            if isinstance(found, Entry) and found.start >= offset and found.start != offset:
                return first, found.start
        later = [other for other in self._firsts if other > first]
        return (later[0], HEADER.size) if later else None

    def forget(self, through: int) -> None:
        """Delete the segments that hold nothing above ``through``; the newest stays, as the lane's memory."""
        while len(self._firsts) > 1 and self._firsts[1] <= through + 1:
            self.path(self._firsts.pop(0)).unlink(missing_ok=True)

    def close(self) -> None:
        """Close the file, after a write that is under way."""
        with self._busy:
            if self._descriptor >= 0:
                os.close(self._descriptor)
                self._descriptor = -1
