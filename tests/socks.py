"""A SOCKS5 proxy on loopback, for who has the password (RFC 1928, RFC 1929)."""

import asyncio
import contextlib
import ipaddress
from asyncio import StreamReader, StreamWriter

from tests.tunnel import Tunnel

_ADDRESS, _NAME = 1, 3


class Socks(Tunnel):
    """As Tunnel, in the other language."""

    async def _serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            if await self._admit(reader, writer):
                _, command, _, kind = await reader.readexactly(4)
                size = 4 if kind == _ADDRESS else (await reader.readexactly(1))[0]
                host = await reader.readexactly(size)
                name = str(ipaddress.ip_address(host)) if kind == _ADDRESS else host.decode()
                port = str(int.from_bytes(await reader.readexactly(2)))
                assert (command, kind in {_ADDRESS, _NAME}) == (1, True)
                self.targets.append(f"{name}:{port}")
                writer.write(b"\x05\x00\x00\x01" + bytes(6))
                await self._join(reader, writer, name, port)
        writer.close()

    async def _admit(self, reader: StreamReader, writer: StreamWriter) -> bool:
        """Ask for name and password, and say whether they are the right ones."""
        _, count = await reader.readexactly(2)
        await reader.readexactly(count)
        writer.write(b"\x05\x02")
        _, length = await reader.readexactly(2)
        user = await reader.readexactly(length)
        password = await reader.readexactly((await reader.readexactly(1))[0])
        is_known = (user.decode(), password.decode()) == self.who
        writer.write(b"\x01\x00" if is_known else b"\x01\x01")
        await writer.drain()
        return is_known
