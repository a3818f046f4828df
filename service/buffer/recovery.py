"""What an earlier run left of a lane: finds its segments, and where the newest of them ends."""

import itertools
import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

from service.buffer.files import Files
from service.buffer.reader import READ_AHEAD, Damage, Reader
from service.buffer.segment import SEGMENT_NAMES, Segment, read_header
from service.model import Position

log = structlog.get_logger()
_NO_LIMIT = 1 << 63


@dataclass(frozen=True, slots=True)
class Recovered:
    """A lane as it was found.

    Attributes:
        segments: oldest first; all but the newest unread.
        lane: its identity, or None when there is no sound header.
        last_sequence: number of the newest message.
        last_position: of the newest message that had one.
        whole: whether the newest segment may be written on; else a new one must follow it.
    """

    segments: list[Segment]
    lane: bytes | None
    last_sequence: int
    last_position: Position | None
    whole: bool


def recover(files: Files, folder: Path) -> Recovered:
    """Find the segments of a lane and cut the torn tail that a crash may have left in the newest.

    Older segments were complete before the next one was begun: damage in them is found when they are read.
    """
    headers = {path: read_header(files, path) for path in sorted(folder.glob(SEGMENT_NAMES))}
    lane = next((header.lane for header in reversed(headers.values()) if header), None)
    segments: list[Segment] = []
    for path, header in headers.items():
        first, start = (header.first, header.size) if header else (int(path.stem), 0)
        segment = Segment(path, first, start, 0, (path.stat().st_size, _NO_LIMIT))
        if segments:
            segments[-1].tail = (segments[-1].tail[0], first)
        segments.append(segment)
    while segments:
        newest = segments[-1]
        position, cut = _scan(files, newest)
        header = headers[newest.path]
        if newest.tail[1] > newest.first:
            _join(segments)
            if position is None and header is not None:
                position = header.position
            return Recovered(segments, lane, newest.tail[1] - 1, position, whole=cut and header is not None)
        _set_aside(newest.path)
        segments.pop()
        if segments:
            segments[-1].tail = (segments[-1].tail[0], _NO_LIMIT)
    return Recovered([], lane, 0, None, whole=False)


def keep_copy(damage: Damage) -> Path | None:
    """Keep a copy of a damaged segment for people to look at; None when that fails."""
    copy = damage.path.with_name(damage.path.name + ".damaged")
    try:
        if not copy.exists():
            shutil.copyfile(damage.path, copy)
    except OSError:
        copy.unlink(missing_ok=True)
        return None
    return copy


def _join(segments: Sequence[Segment]) -> None:
    for segment, following in itertools.pairwise(segments):
        following.base = segment.end
        segment.next = following


def _scan(files: Files, segment: Segment) -> tuple[Position | None, bool]:
    """Find the end of the newest segment and set its tail; give its newest position, and whether it ends there now."""
    size = segment.tail[0]
    end, last, position = segment.start, segment.first - 1, None
    reader = Reader(files, lambda _: None)
    try:
        while piece := reader.fetch([segment], last, READ_AHEAD):
            end, last = segment.start + piece.end, piece.group.last
            position = next((m.position for m in reversed(piece.group.messages) if m.position is not None), position)
    finally:
        reader.close()
    segment.tail = (end, last + 1)
    return position, end == size or last < segment.first or _cut(files, segment.path, end, size)


def _cut(files: Files, path: Path, end: int, size: int) -> bool:
    """Cut a torn tail and keep the piece aside. A full disk may forbid it; then the file is left as it is."""
    aside = _aside(path)
    descriptor = files.open(path)
    try:
        aside.write_bytes(files.read(descriptor, size - end, end))
        files.truncate(descriptor, end)
        files.sync(descriptor)
    except OSError as error:
        aside.unlink(missing_ok=True)
        log.warning("a torn tail could not be cut; a new file follows it", segment=str(path), error=str(error))
        return False
    finally:
        os.close(descriptor)
    log.warning("cut a torn tail that a crash left", segment=str(path), bytes=size - end, kept=str(aside))
    return True


def _set_aside(path: Path) -> None:
    """Put a newest segment without a sound entry aside: a crash came while it was begun."""
    if path.stat().st_size == 0:
        path.unlink()
        return
    aside = _aside(path)
    path.rename(aside)
    log.warning("a segment without a sound message was put aside", segment=str(path), kept=str(aside))


def _aside(path: Path) -> Path:
    return path.with_name(f"{path.name}.torn-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}")
