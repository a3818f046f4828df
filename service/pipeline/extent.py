"""How much a backfill has to do, and how much of it is done."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from service.model import Position
from service.sources.file import STDIN, find
from service.spans import read_moment


class Extent(Protocol):
    """How much there is to do.

    Attributes:
        total: in bytes or in seconds; None where nobody knows.
    """

    total: float | None

    def done(self, standing: Position | None) -> float:
        """Give how much is done once a feed stands there."""


class FileExtent:
    """The bytes of files.

    Args:
        path: as in File.

    Raises:
        SourceRefused: there is no such file.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._before: dict[str, int] = {}
        size = 0
        for found in find(path):
            self._before[found] = size
            size += Path(found).stat().st_size if found != STDIN else 0
        self.total: float | None = size if path != STDIN else None

    def done(self, standing: Position | None) -> float:
        """Give the bytes of what was read; see Extent."""
        if standing is None or standing["of"] != self._path:
            return 0
        return self._before.get(standing["file"], 0) + float(standing["read"])


class SpanExtent:
    """The seconds of a range.

    Args:
        since: where it begins.
        until: where it ends; None for now.
    """

    def __init__(self, since: datetime, until: datetime | None) -> None:
        self._since = since
        self.total: float | None = ((until or datetime.now(UTC)) - since).total_seconds()

    def done(self, standing: Position | None) -> float:
        """Give the seconds that were asked for; see Extent."""
        return (read_moment(standing["since"]) - self._since).total_seconds() if standing is not None else 0
