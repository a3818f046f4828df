"""Writes recordings: a block of events at a time, whole or not at all."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from service.recording.event import Event, Header

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_OPTIONS: dict[int, int] = {zstd.CompressionParameter.compression_level: 3, zstd.CompressionParameter.checksum_flag: 1}
_encode = msgspec.json.Encoder().encode


class Writer:
    """A recording that is being written; a context manager.

    Args:
        path: of a file that does not exist; its owner alone may read it.
        header: its first line.

    Attributes:
        size: bytes that were written.

    Raises:
        FileExistsError: it does: nothing that was recorded is ever overwritten.
        OSError: it cannot be written.
    """

    def __init__(self, path: Path, header: Header) -> None:
        self.size = 0
        # What a provider sends may be nobody else's business.
        self._file = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb", buffering=0)
        self._add([_encode(header)])

    def write(self, events: Sequence[Event]) -> None:
        """Add events as one block.

        Raises:
            OSError: they cannot be written; what was written before can be read.
        """
        self._add([_encode(event) for event in events])

    def _add(self, lines: Sequence[bytes]) -> None:
        block = memoryview(zstd.compress(b"\n".join(lines) + b"\n", options=_OPTIONS))
        self.size += len(block)
        while block:
            block = block[self._file.write(block) :]

    def __enter__(self) -> "Writer":
        return self

    def __exit__(self, *exc: object) -> None:
        """Have what was written on disk."""
        with self._file:
            os.fsync(self._file.fileno())
