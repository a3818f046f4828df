"""Messages that a provider compresses itself, each for its own."""

import zlib
from typing import Literal, TypeAlias

from service.errors import SourceRefused

Packing: TypeAlias = Literal["gzip", "zlib", "deflate"]

_WINDOWS: dict[Packing, int] = {"gzip": 31, "zlib": 15, "deflate": -15}
"""What zlib calls them (RFC 1952, RFC 1950, RFC 1951)."""


class Unfold:
    """Undoes the compression of one message after the other.

    Args:
        packing: how messages are compressed.
        most: bytes that a message may have afterwards.
    """

    def __init__(self, packing: Packing, most: int) -> None:
        self._window = _WINDOWS[packing]
        self._most = most

    def __call__(self, body: bytes) -> bytes:
        """Give what a message was before; a message that is not compressed, such as a heartbeat, as it is.

        Raises:
            SourceRefused: it is larger than a message may be.
        """
        stream = zlib.decompressobj(self._window)
        try:
            whole = stream.decompress(body, self._most + 1)
        except zlib.error:
            return body
        if len(whole) > self._most:
            raise SourceRefused(f"a message is larger than max_message ({self._most} bytes) once it is unfolded")
        return whole if stream.eof and not stream.unused_data else body
