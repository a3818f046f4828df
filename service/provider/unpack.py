"""Compressed bodies: undoes gzip, deflate, br, zstd, zip, bzip2 and xz as they come in, a bounded piece at a time."""

import bz2
import lzma
import re
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, Protocol

import brotli

from service.errors import SourceRefused

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

STEP = 256 << 10
"""Bytes that one step unfolds to at most, whatever a bomb would like."""

FAULTS = (zlib.error, brotli.error, zstd.ZstdError, lzma.LZMAError, zipfile.BadZipFile, EOFError)
"""What bytes raise that are not what they claim to be, or end early."""


class Layer(Protocol):
    """One compression, undone."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Take the next bytes; give what they unfold to, in pieces of at most STEP bytes."""

    def end(self) -> Iterator[bytes]:
        """Give the rest.

        Raises:
            EOFError: the compressed bytes ended early.
        """


class Inflate:
    """gzip (RFC 1952), which may have several members, and deflate with a zlib header (RFC 1950) or without."""

    def __init__(self, coding: str) -> None:
        self._gzip = coding == "gzip"
        self._wbits: int | None = 31 if self._gzip else None
        self._stream = zlib.decompressobj(31)

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Unfold; see Layer."""
        if self._wbits is None and data:
            # Servers send either; the low bits of a zlib header say "deflate" (RFC 1950, section 2.2).
            self._wbits = 15 if data[0] & 0x0F == 8 else -15
            self._stream = zlib.decompressobj(self._wbits)
        while data:
            if self._stream.eof:
                data = data.lstrip(b"\0")  # what pads a file
                if not (data and self._gzip):
                    return
                self._stream = zlib.decompressobj(31)
            yield self._stream.decompress(data, STEP)
            data = self._stream.unconsumed_tail or self._stream.unused_data

    def end(self) -> Iterator[bytes]:
        """Give the rest; see Layer."""
        if self._wbits is not None:
            yield self._stream.flush()
        if not self._stream.eof:
            raise EOFError("it ends early")


class Brotli:
    """br (RFC 7932). The library takes its limit for a hint and may give some times as much."""

    LIMIT = STEP // 4

    def __init__(self) -> None:
        self._stream = brotli.Decompressor()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Unfold; see Layer."""
        yield self._stream.process(data, output_buffer_limit=self.LIMIT)
        while not self._stream.can_accept_more_data():
            yield self._stream.process(b"", output_buffer_limit=self.LIMIT)

    def end(self) -> Iterator[bytes]:
        """Give the rest; see Layer."""
        while not self._stream.is_finished():
            piece = self._stream.process(b"", output_buffer_limit=self.LIMIT)
            if not (piece or self._stream.is_finished()):
                raise EOFError("it ends early")
            yield piece


class Frames:
    """zstd (RFC 8878), bzip2 and xz, whose decompressors work alike; a file may have several frames.

    Args:
        make: gives a new decompressor.
    """

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._stream = make()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Unfold; see Layer."""
        while data or not (self._stream.needs_input or self._stream.eof):
            if self._stream.eof:
                self._stream = self._make()
            try:
                yield self._stream.decompress(data, STEP)
            except OSError as error:  # that is how bz2 says it
                raise EOFError("it is damaged") from error
            data = self._stream.unused_data if self._stream.eof else b""

    def end(self) -> Iterator[bytes]:
        """Give the rest; see Layer."""
        if not self._stream.eof:
            raise EOFError("it ends early")
        yield b""


class Zip:
    """A zip archive of one file. What it holds is listed at its end, so it waits in a temporary file.

    Args:
        max_bytes: the most bytes of the archive.
        stack: closes the temporary file.
    """

    def __init__(self, max_bytes: int, stack: ExitStack) -> None:
        self._max_bytes = max_bytes
        self._file = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115  it is entered
        self.name = ""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Keep; see Layer."""
        if self._file.tell() + len(data) > self._max_bytes:
            raise SourceRefused(f"the zip archive is larger than max_body ({self._max_bytes} bytes)")
        self._file.write(data)
        return iter(())

    def end(self) -> Iterator[bytes]:
        """Unfold the one file of the archive; see Layer.

        Raises:
            SourceRefused: it holds no file, several, or an encrypted one.
        """
        with zipfile.ZipFile(self._file) as archive:
            files = [info for info in archive.infolist() if not info.is_dir() and not _is_litter(info.filename)]
            if len(files) != 1:
                names = ", ".join(repr(info.filename) for info in files[:5])
                raise SourceRefused(f"the zip archive holds {len(files)} files ({names}); it must hold one")
            if files[0].flag_bits & 1:
                raise SourceRefused("the zip archive is encrypted")
            self.name = files[0].filename
            with archive.open(files[0]) as file:
                while piece := file.read(STEP):
                    yield piece


class Sniff:
    """A body that may itself be a compressed file: its first bytes tell, whatever the headers say.

    Args:
        max_bytes: the most bytes of a zip archive.
        stack: closes what it opens.
    """

    def __init__(self, max_bytes: int, stack: ExitStack) -> None:
        self._max_bytes = max_bytes
        self._stack = stack
        self._start = b""
        self._layer: Layer | None = None
        self._plain = False

    @property
    def name(self) -> str:
        """The name of the file within a zip archive, once its first bytes are given."""
        return self._layer.name if isinstance(self._layer, Zip) else ""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Pass on or unfold; see Layer."""
        if self._layer is None and not self._plain:
            data = self._start = self._start + data
            if len(data) < 4:
                return
            self._layer = self._choose(data)
            self._plain = self._layer is None
            self._start = b""
        if self._layer is None:
            yield data
        else:
            yield from self._layer.feed(data)

    def end(self) -> Iterator[bytes]:
        """Give the rest; see Layer."""
        yield self._start
        if self._layer is not None:
            yield from self._layer.end()

    def _choose(self, start: bytes) -> Layer | None:
        match start[:4]:
            case b"PK\x03\x04":
                return Zip(self._max_bytes, self._stack)
            case b"\x28\xb5\x2f\xfd":
                return Frames(zstd.ZstdDecompressor)
            case b"\xfd7zX":
                return Frames(lzma.LZMADecompressor)
        if re.match(rb"BZh[1-9]", start):
            return Frames(bz2.BZ2Decompressor)
        return Inflate("gzip") if start.startswith(b"\x1f\x8b") else None


def layer(coding: str) -> Layer | None:
    """Undo one content coding (RFC 9110, section 8.4); None for ``identity``.

    Raises:
        SourceRefused: we do not know the coding, and did not ask for it.
    """
    match coding.strip().lower():
        case "gzip" | "x-gzip":
            return Inflate("gzip")
        case "deflate":
            return Inflate("deflate")
        case "br":
            return Brotli()
        case "zstd":
            return Frames(zstd.ZstdDecompressor)
        case "identity" | "":
            return None
    raise SourceRefused(f"the body is coded in {coding[:40]!r}, which we do not know: gzip, deflate, br and zstd")


def unfold(layers: list[Layer], data: bytes | None) -> Iterator[bytes]:
    """Lead bytes through layers, the outermost first; None ends them all."""
    if not layers:
        if data:
            yield data
        return
    first, *others = layers
    if data is not None:
        for piece in first.feed(data):
            yield from unfold(others, piece)
        return
    for piece in first.end():
        yield from unfold(others, piece)
    yield from unfold(others, None)


def _is_litter(name: str) -> bool:
    return name.startswith("__MACOSX/") or name.rpartition("/")[2].startswith(".")
