"""Reads recordings: those of ``headrace record``, and captures of cryptofeed; plain, or compressed."""

import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec

from service.errors import FormatError
from service.model import Message
from service.recording.capture import captured, is_capture
from service.recording.event import VERSION, Event, Header

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

READ = 256 << 10
MAX_BLOCK = 256 << 20
"""Bytes that a block may unfold to, and the most of a line: what we write is far below, and a bomb ends here."""

_HEADER = b'{"recording":'
_ZSTD, _GZIP = b"\x28\xb5\x2f\xfd", b"\x1f\x8b"
_decode_header = msgspec.json.Decoder(Header).decode
_decode_event = msgspec.json.Decoder(Event).decode


class Recording:
    """A recording that is read, once, from its beginning to its end.

    Args:
        path: of the file.

    Attributes:
        header: its first line; None for a capture, which has none.
        read: bytes of the file that were read.
        torn: bytes at its end that a crash left incomplete; they are left out.

    Raises:
        OSError: it cannot be read.
        FormatError: it is no recording, or one of a later release.
    """

    def __init__(self, path: Path) -> None:
        self.header: Header | None = None
        self.read = 0
        self.torn = 0
        self._path = path
        self._lines = self._lined()
        first = next(self._lines, b"")
        if first.startswith(_HEADER):
            self.header = self._header(first)
        elif is_capture(first):
            self._lines = _before(first, self._lines)
        else:
            raise FormatError(f"{path} is no recording: neither of `headrace record` nor a capture of cryptofeed")

    def events(self) -> Iterator[Event]:
        """Give the events, in order.

        Raises:
            FormatError: the file is damaged; what lies before the damage has been given.
        """
        if self.header is None:
            yield from captured(self._lines)
            return
        for line in self._lines:
            if line.startswith(_HEADER):  # that of another recording, which was put behind this one
                self._header(line)
                continue
            try:
                yield _decode_event(line)
            except msgspec.DecodeError as error:
                raise FormatError(f"{self._path}: damaged before byte {self.read}: {error}") from None

    def messages(self) -> Iterator[Message]:
        """Give the data that arrived, in order; see events."""
        for event in self.events():
            if event.kind == "message":
                yield event.message()

    def groups(self, size: int) -> Iterator[list[Message]]:
        """Give the data that arrived, so many messages at a time; see events."""
        group: list[Message] = []
        try:
            for message in self.messages():
                group.append(message)
                if len(group) == size:
                    yield group
                    group = []
        except FormatError:
            yield group
            raise
        yield group

    def _header(self, line: bytes) -> Header:
        try:
            header = _decode_header(line)
        except msgspec.DecodeError as error:
            raise FormatError(f"{self._path}: the header of the recording is damaged: {error}") from None
        if header.recording > VERSION:
            raise FormatError(
                f"{self._path} has version {header.recording} of the lines of recordings, and this release of Headrace"
                f" knows {VERSION}: read it with Headrace {header.headrace} or later"
            )
        return header

    def _lined(self) -> Iterator[bytes]:
        """Give lines; of a block nothing before all of it is there and sound."""
        with self._path.open("rb") as file:
            start = file.read(4)
            file.seek(0)
            rest = b""
            blocks = self._unfolded(file) if start == _ZSTD else self._inflated(file, is_gzip=start[:2] == _GZIP)
            for block in blocks:
                *lines, rest = (rest + block).split(b"\n")
                yield from lines
                if len(rest) > MAX_BLOCK:
                    raise FormatError(f"{self._path}: a line is longer than {MAX_BLOCK >> 20} MiB")
            if rest:
                yield rest

    def _unfolded(self, file: BinaryIO) -> Iterator[bytes]:
        data = b""
        while data or (data := self._more(file)):
            frame, block, size, began = zstd.ZstdDecompressor(), list[bytes](), 0, self.read - len(data)
            try:
                while True:
                    block.append(frame.decompress(data, READ))
                    size += len(block[-1])
                    if size > MAX_BLOCK:
                        raise FormatError(f"{self._path}: a block unfolds to more than {MAX_BLOCK >> 20} MiB")
                    if frame.eof:
                        data = frame.unused_data
                        break
                    data = self._more(file) if frame.needs_input else b""
                    if frame.needs_input and not data:
                        self.torn = self.read - began
                        return
            except zstd.ZstdError as error:
                raise FormatError(f"{self._path}: damaged from byte {began} on: {error}") from None
            yield b"".join(block)

    def _inflated(self, file: BinaryIO, *, is_gzip: bool) -> Iterator[bytes]:
        if not is_gzip:
            while data := self._more(file):
                yield data
            return
        stream, data = zlib.decompressobj(31), b""
        try:
            while data := data or self._more(file):
                if stream.eof:
                    stream = zlib.decompressobj(31)
                yield stream.decompress(data, READ)
                data = stream.unused_data if stream.eof else stream.unconsumed_tail
        except zlib.error as error:
            raise FormatError(f"{self._path}: damaged before byte {self.read}: {error}") from None
        self.torn = 0 if stream.eof else self.read

    def _more(self, file: BinaryIO) -> bytes:
        data = file.read(READ)
        self.read += len(data)
        return data


def is_recording(path: Path) -> bool:
    """Whether a file begins as a recording does.

    Raises:
        OSError: it cannot be read.
    """
    try:
        Recording(path)
    except FormatError:
        return False
    return True


def messages(path: Path) -> Iterator[Message]:
    """Give the data of a recording, in order.

    Raises:
        OSError: it cannot be read.
        FormatError: it is no recording, or is damaged; what lies before the damage has been given.
    """
    return Recording(path).messages()


def _before(first: bytes, lines: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from lines
