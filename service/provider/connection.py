"""A WebSocket connection of the library that reads the frames of a busy feed many at a time.

The library parses frame by frame through generators and hands each to a queue of its own, about 8 us a message. Nearly
all frames of a feed are whole, unmasked and small; those are cut out here, about 0.5 us each. Everything else (the
handshake, control frames, fragments, compressed frames, faults, closing) is the library's, which is given whole frames.
"""

import asyncio
import time
from struct import Struct
from typing import Any

from websockets.asyncio.client import ClientConnection
from websockets.frames import DATA_OPCODES, Frame
from websockets.protocol import Event, State

from service.provider.wire import sent

READ = 256 << 10
"""The most bytes read at once."""
HIGH_BYTES = 1 << 20
"""Bytes of messages that may wait here before the socket is no longer read."""

_WHOLE = frozenset({0x81, 0x82})
"""First byte of a text or binary message in one frame, uncompressed (RFC 6455, section 5.2)."""
_SHORT = Struct(">H").unpack_from
_LONG = Struct(">Q").unpack_from


class Connection(ClientConnection, asyncio.BufferedProtocol):
    """A client connection; ``messages`` takes the place of ``recv``.

    Attributes:
        heard_at: monotonic time at which the last bytes arrived, those of pings and pongs included.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._buffer = memoryview(bytearray(READ))
        self._rest = b""
        self._parts: list[bytes] = []
        self._arrived: list[bytes] = []
        self._held = 0
        self._paused = False
        self._ready = asyncio.Event()
        self._lost = False
        self._answered = False
        self.heard_at = time.monotonic()

    async def messages(self) -> list[bytes]:
        """Wait for messages and give all that have arrived, in order.

        Raises:
            ConnectionClosed: the connection is closed, and all that came before was given.
        """
        await self._ready.wait()
        if not self._arrived:
            raise self.protocol.close_exc
        arrived, self._arrived = self._arrived, []
        self._held = 0
        if not self._lost:
            self._ready.clear()
            self._resume()
        return arrived

    async def say(self, text: str) -> None:
        """Send a text.

        Raises:
            ConnectionClosed: the connection is closed.
        """
        await self.send(text)
        sent(text)

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close, reading on, so that the provider's part of the closing handshake arrives."""
        self._resume()
        await super().close(code, reason)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002  all of it, however much is expected
        """Give the loop what it reads into: else it makes 256 KiB anew for each read, and over TLS for each 16 KiB."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Take what was read."""
        self.data_received(bytes(self._buffer[:nbytes]))

    def data_received(self, data: bytes) -> None:
        """Cut out the plain messages; give the library the rest, one whole frame after another."""
        self.heard_at = time.monotonic()
        data = self._rest + data if self._rest else bytes(data)
        offset = self._cut(data, 0 if self._answered else self._shake_hands(data))
        self._rest = data[offset:]
        if self._arrived:
            self._ready.set()
            if self._held > HIGH_BYTES and not self._paused:
                self._paused = True
                self.transport.pause_reading()

    def eof_received(self) -> None:
        """Let the library judge what is cut off."""
        self._pass_on(self._rest)
        self._rest = b""
        super().eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """Let ``messages`` end."""
        super().connection_lost(exc)
        # The library's cycles keep a dead connection until the collector comes by; it does not see how large this is.
        self._buffer = memoryview(b"")
        self._lost = True
        self._ready.set()

    def process_event(self, event: Event) -> None:
        """Put the fragments of a message together."""
        if not isinstance(event, Frame) or event.opcode not in DATA_OPCODES:
            super().process_event(event)
            return
        self._parts.append(bytes(event.data))
        if event.fin:
            self._keep(b"".join(self._parts))
            self._parts = []

    def _shake_hands(self, data: bytes) -> int:
        """Give the library the head of the answer to the handshake once it is whole; say how much that was."""
        end = data.find(b"\r\n\r\n") + 4
        if end < 4:
            if len(data) < HIGH_BYTES:
                return 0
            end = len(data)
        self._answered = True
        self._pass_on(data[:end])
        return end

    def _cut(self, data: bytes, offset: int) -> int:
        """Take whole frames from ``offset`` on; say where the first one begins that is not whole."""
        if self.protocol.state is State.CONNECTING:
            if self._answered:  # no handshake: what follows is the body of a refusal
                self._pass_on(data[offset:])
                return len(data)
            return offset
        size, largest = len(data), self.protocol.max_message_size or len(data)
        keep, is_plain, kept = self._arrived.append, self.protocol.current_size is None, 0
        while offset + 2 <= size:
            first, length = data[offset], data[offset + 1]
            start = offset + (2 if length < 126 else 4 if length == 126 else 10)
            if start > size:
                break
            if length == 126:
                (length,) = _SHORT(data, offset + 2)
            elif length == 127:
                (length,) = _LONG(data, offset + 2)
            elif length > 127:  # masked, which a server may not: the library says so
                start, length = size, 0
            end = start + length
            if end > size and length <= largest:
                break
            if is_plain and first in _WHOLE and length <= largest and start < size:
                keep(data[start:end])
                kept += length
            else:
                self._pass_on(data[offset:end])
                is_plain = self.protocol.current_size is None  # else between the fragments of a message
            offset = min(end, size)
        self._held += kept
        return offset

    def _keep(self, message: bytes) -> None:
        self._arrived.append(message)
        self._held += len(message)

    def _pass_on(self, data: bytes) -> None:
        if data:
            super().data_received(data)

    def _resume(self) -> None:
        if self._paused:
            self._paused = False
            self.transport.resume_reading()
