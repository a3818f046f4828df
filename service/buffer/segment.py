"""A segment: one append-only file of a lane, and the header that says where it belongs."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from struct import Struct
from zlib import crc32

import msgspec

from service.buffer.files import Files
from service.model import Position

SEGMENT_NAMES = "[0-9]" * 20 + ".seg"
"""The names of segments, as a glob pattern."""
_MAGIC = b"HRSPOOL1"
_HEADER = Struct("<8s16sQI")
_CRC = Struct("<I")


@dataclass(slots=True, eq=False)
class Segment:
    """One file of a lane.

    Attributes:
        path: named after the first sequence number, so that names sort as numbers do.
        first: sequence number of the first entry.
        start: offset of the first entry in the file.
        base: bytes of entries in all earlier segments of the lane.
        tail: offset after the last safe entry and the sequence number that follows it. One tuple, because a thread
            that reads must never see one of them without the other.
        next: the segment that follows, or None for the newest.
    """

    path: Path
    first: int
    start: int
    base: int
    tail: tuple[int, int]
    next: "Segment | None" = field(default=None, repr=False)

    @property
    def end(self) -> int:
        """Bytes of entries in this and all earlier segments."""
        return self.base + self.tail[0] - self.start


@dataclass(frozen=True, slots=True)
class Header:
    """The beginning of a segment.

    Attributes:
        lane: identity of the lane, 16 bytes.
        first: sequence number of the first entry.
        position: the newest that was known before the first entry; it outlives the segments that held it.
        size: bytes of the header; offset of the first entry.
    """

    lane: bytes
    first: int
    position: Position | None
    size: int


def segment_path(folder: Path, first: int) -> Path:
    """Give the file of the segment that begins with a sequence number."""
    return folder / f"{first:020d}.seg"


def encode_header(lane: bytes, first: int, position: Position | None) -> bytes:
    """Give the header of a segment: magic, lane, first sequence number, position as JSON, checksum."""
    known = msgspec.json.encode(position)
    header = _HEADER.pack(_MAGIC, lane, first, len(known)) + known
    return header + _CRC.pack(crc32(header))


def read_header(files: Files, path: Path) -> Header | None:
    """Read the header of a segment; None when it is cut or damaged."""
    descriptor = files.open(path)
    try:
        fixed = files.read(descriptor, _HEADER.size, 0)
        if len(fixed) < _HEADER.size:
            return None
        magic, lane, first, length = _HEADER.unpack(fixed)
        rest = files.read(descriptor, length + _CRC.size, _HEADER.size) if length < 1 << 24 else b""
    finally:
        os.close(descriptor)
    if magic != _MAGIC or len(rest) < length + _CRC.size:
        return None
    if _CRC.unpack_from(rest, length)[0] != crc32(fixed + rest[:length]):
        return None
    return Header(lane, first, msgspec.json.decode(rest[:length]), _HEADER.size + length + _CRC.size)
