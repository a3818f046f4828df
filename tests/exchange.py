"""A provider of prices that misbehaves as a test says: what it holds last is what the table must end as."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from http import HTTPStatus
from typing import Any

import orjson
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

KEYS = 50


class Exchange:
    """Publishes versions of KEYS prices. Who subscribes is told all of them as they are, and then each change.

    Attributes:
        port: where it listens.
        rows: what it holds, by id: version and price.
        asked: how many handshakes there were.
        opened: how many of them led to a connection.
        refusals: what the next handshakes are answered with: status and headers.
        acknowledges: whether subscriptions are confirmed.
        tells: whether who subscribes is told all prices as they are.
        mangle: what becomes of the frames of a slice of changes before they are sent.
    """

    def __init__(self) -> None:
        self.port = 0
        self.rows: dict[str, tuple[int, int]] = {}
        self.asked = 0
        self.opened = 0
        self.refusals: list[tuple[int, dict[str, str]]] = []
        self.acknowledges = True
        self.tells = True
        self.mangle: Callable[[list[bytes]], list[bytes]] = list
        self._version = 0
        self._sequence = 0
        self._epoch = 1
        self._subscribers: set[ServerConnection] = set()

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator["Exchange"]:
        """Listen while the block lasts."""
        async with serve(
            self._talk, "127.0.0.1", 0, process_request=self._admit, compression=None, close_timeout=0.1
        ) as server:
            self.port = next(iter(server.sockets)).getsockname()[1]
            yield self

    @property
    def audience(self) -> int:
        """How many connections are subscribed."""
        return len(self._subscribers)

    async def publish(self, count: int) -> None:
        """Change so many prices."""
        for start in range(0, count, 100):
            frames = [self._change() for _ in range(min(100, count - start))]
            for connection in tuple(self._subscribers):
                with contextlib.suppress(ConnectionClosed):
                    for frame in self.mangle(frames):
                        await connection.send(frame, text=True)
            await asyncio.sleep(0)

    def restart(self) -> None:
        """Number frames from the start again."""
        self._sequence = 0
        self._epoch += 1

    def prices(self) -> bytes:
        """Give all prices as they are, as a REST side would."""
        return orjson.dumps([{"id": key, "v": version, "p": price} for key, (version, price) in self.rows.items()])

    def _change(self) -> bytes:
        self._version += 1
        self._sequence += 1
        key = f"k{self._version * 7 % KEYS}"
        self.rows[key] = (self._version, self._version * 3)
        return self._frame(key)

    def _frame(self, key: str) -> bytes:
        version, price = self.rows[key]
        return orjson.dumps(
            {"type": "price", "id": key, "v": version, "p": price, "seq": self._sequence, "epoch": self._epoch}
        )

    def _admit(self, connection: ServerConnection, _request: Request) -> Response | None:
        self.asked += 1
        if not self.refusals:
            return None
        status, headers = self.refusals.pop(0)
        response = connection.respond(HTTPStatus(status), "no\n")
        response.headers.update(headers)
        return response

    async def _talk(self, connection: ServerConnection) -> None:
        self.opened += 1
        try:
            async for text in connection:
                message: Any = orjson.loads(text)
                if message["op"] == "subscribe" and self.acknowledges:
                    await connection.send(b'{"type":"subscribed"}', text=True)
                    for key in list(self.rows) if self.tells else ():
                        await connection.send(self._frame(key), text=True)
                    self._subscribers.add(connection)
        except ConnectionClosed:
            pass
        finally:
            self._subscribers.discard(connection)
