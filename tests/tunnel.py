"""An HTTP proxy on loopback that opens tunnels by CONNECT for who has the password (RFC 9110, section 9.3.6)."""

import asyncio
import base64
import contextlib
from asyncio import StreamReader, StreamWriter


class Tunnel:
    """An async context manager that listens while it is entered.

    Attributes:
        port: where it listens.
        who: whom it lets through: name and password.
        targets: where it was asked to lead, by those whom it let through.
    """

    def __init__(self, user: str, password: str) -> None:
        self.port = 0
        self.who = user, password
        self.targets: list[str] = []
        self._proof = base64.b64encode(f"{user}:{password}".encode()).decode()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> "Tunnel":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            if f"basic {self._proof}".lower() in head.lower() and head.startswith("CONNECT "):
                self.targets.append(head.split()[1])
                writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
                await self._join(reader, writer, *self.targets[-1].split(":"))
            else:
                writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
                await writer.drain()
        writer.close()

    async def _join(self, reader: StreamReader, writer: StreamWriter, host: str, port: str) -> None:
        beyond_reader, beyond_writer = await asyncio.open_connection(host, int(port))
        async with asyncio.TaskGroup() as group:
            group.create_task(self._pump(reader, beyond_writer))
            group.create_task(self._pump(beyond_reader, writer))

    async def _pump(self, reader: StreamReader, writer: StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 16):
                writer.write(data)
                await writer.drain()
        writer.close()
