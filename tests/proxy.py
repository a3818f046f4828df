"""A TCP proxy on loopback that can cut, reset, stall, refuse and delay what passes through it."""

import asyncio
import contextlib
import socket
import struct
from asyncio import StreamReader, StreamWriter

_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER with no time to linger: closing then sends RST in place of FIN."""


class Proxy:
    """Passes connections on to one address; an async context manager that listens while it is entered.

    Attributes:
        host, port: where it listens; the port stays the same when it refuses and accepts again.
        delay: seconds that each piece of data is held up.
        piece: bytes that are passed on at once, towards us.
        closes: whether connections are accepted and closed at once.
        accepted: how many connections were opened through it so far.
        passed: bytes that came from the address it leads to.
    """

    def __init__(self, host: str, port: int, *, delay: float = 0.0) -> None:
        self.host = "127.0.0.1"
        self.port = 0
        self.delay = delay
        self.piece = 1 << 16
        self.closes = False
        self.accepted = 0
        self.passed = 0
        self._target = (host, port)
        self._server: asyncio.Server | None = None
        self._writers: set[StreamWriter] = set()
        self._frozen: set[StreamWriter] = set()
        self._flow = asyncio.Event()
        self._flow.set()
        self._idle = asyncio.Event()
        self._idle.set()

    async def __aenter__(self) -> "Proxy":
        await self.accept()
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.refuse()
        self.cut()
        self.resume()
        await self.idle()

    @property
    def address(self) -> str:
        """``host:port``, to be put into a URL."""
        return f"{self.host}:{self.port}"

    async def accept(self) -> None:
        """Listen, again after ``refuse``."""
        self._server = await asyncio.start_server(self._serve, self.host, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    def refuse(self) -> None:
        """Refuse new connections; those that are open stay."""
        if self._server is not None:
            self._server.close()
            self._server = None

    def stall(self) -> None:
        """Keep connections open and accept new ones, but pass nothing on."""
        self._flow.clear()

    def resume(self) -> None:
        """Pass on again, and what was held up as well."""
        self._flow.set()

    def freeze(self) -> None:
        """Leave every open connection half-open: nothing passes, and nobody is told. New ones are not touched."""
        self._frozen |= self._writers

    def cut(self) -> None:
        """Close every open connection (FIN)."""
        for writer in self._writers:
            writer.transport.abort()

    def reset(self) -> None:
        """Reset every open connection (RST)."""
        for writer in self._writers:
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            writer.transport.abort()

    async def idle(self) -> None:
        """Wait until no connection is open."""
        await self._idle.wait()

    async def _serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        self.accepted += 1
        if self.closes:
            writer.transport.abort()
            return
        self._idle.clear()
        self._writers.add(writer)
        try:
            with contextlib.suppress(OSError):
                await self._join(reader, writer)
        finally:
            self._writers.discard(writer)
            writer.transport.abort()
            if not self._writers:
                self._idle.set()

    async def _join(self, reader: StreamReader, writer: StreamWriter) -> None:
        beyond_reader, beyond_writer = await asyncio.open_connection(*self._target)
        self._writers.add(beyond_writer)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump(reader, beyond_writer, inward=False))
                group.create_task(self._pump(beyond_reader, writer, inward=True))
        finally:
            self._writers.discard(beyond_writer)
            beyond_writer.transport.abort()

    async def _pump(self, reader: StreamReader, writer: StreamWriter, *, inward: bool) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(self.piece if inward else 1 << 16):
                await self._flow.wait()
                if writer in self._frozen:
                    continue
                if self.delay:
                    await asyncio.sleep(self.delay)
                writer.write(data)
                await writer.drain()
                if inward:
                    self.passed += len(data)
        await self._flow.wait()
        writer.transport.close()  # the other side is told once all is written
