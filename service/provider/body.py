"""The body of an answer: decompressed as it comes in, with a bound on what little may unfold to."""

from collections.abc import AsyncGenerator
from contextlib import ExitStack

import aiohttp

from service.errors import SourceLost, SourceRefused
from service.provider.answers import plain
from service.provider.unpack import FAULTS, Layer, Sniff, layer, unfold

READ = 64 << 10
"""Bytes asked of the socket at a time."""
EXPANSION = 250
"""The most bytes that one byte may unfold to in the long run; real data stays below 100, a bomb comes to 1,000."""


class Body:
    """Gives one body, once.

    Args:
        response: whose body has not been read yet.
        max_bytes: what may unfold from however little, and the most bytes of a zip archive.
    """

    def __init__(self, response: aiohttp.ClientResponse, max_bytes: int) -> None:
        self._response = response
        self._max_bytes = max_bytes
        self._sniff: Sniff | None = None
        self._sent = self._unfolded = 0

    @property
    def name(self) -> str:
        """The name of what is read, such as ``results.csv``: the last part of the path, or the file in the archive."""
        inner = self._sniff.name if self._sniff is not None else ""
        return inner or self._response.url.name.removesuffix(".gz").removesuffix(".zst")

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """Give the decompressed bytes, in pieces of at most 256 KiB.

        Raises:
            SourceLost: the bytes are not compressed as they claim to be, or end early.
            SourceRefused: they unfold to too much, or to what we cannot read.
        """
        where = plain(self._response.url)
        with ExitStack() as stack:
            try:
                self._sniff = Sniff(self._max_bytes, stack)
                layers: list[Layer] = [*_layers(self._response), self._sniff]
                async for data in self._response.content.iter_chunked(READ):
                    self._sent += len(data)
                    for piece in unfold(layers, data):
                        self._count(piece)
                        yield piece
                for piece in unfold(layers, None) if self._sent else ():
                    self._count(piece)
                    yield piece
            except FAULTS as error:
                raise SourceLost(f"{where}: the body does not decompress: {error}") from error
            except SourceRefused as refused:
                raise SourceRefused(f"{where}: {refused.reason}") from None

    def _count(self, piece: bytes) -> None:
        self._unfolded += len(piece)
        if self._unfolded > self._max_bytes and self._unfolded > self._sent * EXPANSION:
            raise SourceRefused(
                f"the body unfolds to more than {EXPANSION} times what was sent, and to more than max_body"
                f" ({self._max_bytes} bytes)"
            )


def start(response: aiohttp.ClientResponse, data: bytes) -> bytes:
    """Decompress the first bytes of an answer as far as they go."""
    found = bytearray()
    try:
        for piece in unfold(_layers(response), data):
            found += piece
            if len(found) >= READ:
                break
    except (*FAULTS, SourceRefused):
        pass
    return bytes(found)


def _layers(response: aiohttp.ClientResponse) -> list[Layer]:
    """Undo the codings in the opposite order of that in which they were applied (RFC 9110, section 8.4)."""
    codings = ",".join(response.headers.getall("Content-Encoding", ())).split(",")
    return [found for found in map(layer, reversed(codings)) if found is not None]
