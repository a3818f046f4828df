"""Looks into a lane of a spool, beside the daemon that owns it: nothing is locked, cut or written."""

import os
from collections.abc import Iterator
from pathlib import Path

from service.buffer.files import Files
from service.buffer.reader import READ_AHEAD, Reader
from service.buffer.segment import SEGMENT_NAMES, Segment, read_header
from service.model import Group

_NO_LIMIT = 1 << 63


class _ReadOnly(Files):
    def open(self, path: Path) -> int:
        """Open a file for reading."""
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


def peek(path: Path, feed: str) -> Iterator[tuple[str, Group]]:
    """Give the messages of a feed that still lie in a spool, each group with the identity of its lane.

    Those that are loaded lie there, too, until their segment is deleted. What is damaged, or is being written just now,
    is passed by; what the daemon deletes meanwhile is loaded.

    Args:
        path: folder of the spool; it need not be there.
        feed: ``provider.feed``.

    Raises:
        OSError: a file cannot be read.
    """
    files = _ReadOnly()
    segments = sorted((path / feed).glob(SEGMENT_NAMES))
    ends = [int(following.stem) for following in segments[1:]]
    for each, limit in zip(segments, [*ends, _NO_LIMIT], strict=False):
        reader = Reader(files, lambda _: None)
        try:
            header = read_header(files, each)
            if header is None:
                continue
            after = header.first - 1
            found = Segment(each, header.first, header.size, 0, (each.stat().st_size, limit))
            while piece := reader.fetch([found], after, READ_AHEAD):
                yield header.lane.hex(), piece.group
                after = piece.group.last
        except FileNotFoundError:
            continue
        finally:
            reader.close()
