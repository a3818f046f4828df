"""An exchange with order books: deltas by socket, snapshots by REST that lag behind, and all that can go wrong."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any

import orjson
from aiohttp import web
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from tests.site import Asked, Site

SYMBOLS = ("A", "B", "C")
PRICES = 150
"""So many that most levels are never told of again: what is wrong once stays wrong."""

NO_LEVEL = {"side": "bid", "price": -1, "q": 0}
"""Begins each snapshot, so that an empty one says of which symbol it is, too."""


def levels(messages: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Make records of the levels of a delta or a snapshot: a `transform` of the configuration."""
    for message in messages:
        if "U" not in message:
            yield {**NO_LEVEL, "s": message["s"], "u": message["u"]}
        yield from ({**level, "s": message["s"], "u": message["u"]} for level in message["levels"])


class Books:
    """Order books of a few symbols. Each change of a book has the next number of its symbol.

    Attributes:
        port: of the socket.
        books: the levels that there are, by symbol, side and price.
        numbers: the number of each symbol's last change.
        lag: by how many versions of its book a snapshot is behind.
        site: the REST side.
    """

    def __init__(self, seed: int) -> None:
        self.port = 0
        self.books: dict[tuple[str, str, int], int] = {}
        self.numbers = dict.fromkeys(SYMBOLS, 0)
        self.lag = 0
        self.site = Site(self._answer)
        self._luck = random.Random(seed)
        self._past: dict[str, list[bytes]] = {symbol: [] for symbol in SYMBOLS}
        self._connections: set[ServerConnection] = set()
        for symbol in SYMBOLS:
            self.delta(symbol)

    def delta(self, symbol: str) -> bytes:
        """Change a book; give the message that says so."""
        first, changes = self.numbers[symbol] + 1, {}
        for _ in range(self._luck.randint(1, 4)):
            self.numbers[symbol] += 1
            side, price = self._luck.choice(("bid", "ask")), self._luck.randrange(PRICES)
            quantity = self._luck.choice((0, 0, 1, 2, 3))
            changes[side, price] = quantity
            if quantity:
                self.books[symbol, side, price] = quantity
            else:
                self.books.pop((symbol, side, price), None)
        self._past[symbol].append(self._snapshot(symbol))
        told = [{"side": side, "price": price, "q": quantity} for (side, price), quantity in changes.items()]
        return orjson.dumps({"s": symbol, "U": first, "u": self.numbers[symbol], "levels": told})

    def empty(self, symbol: str) -> bytes:
        """Take all levels of a book away, of which nobody is told; give the message that follows."""
        self.books = {key: quantity for key, quantity in self.books.items() if key[0] != symbol}
        self.numbers[symbol] += 2
        self._past[symbol].append(self._snapshot(symbol))
        number = self.numbers[symbol]
        return orjson.dumps({"s": symbol, "U": number, "u": number, "levels": []})

    def rows(self) -> list[tuple[str, str, int, int]]:
        """Give what the table must hold."""
        return sorted((*key, quantity) for key, quantity in self.books.items())

    @property
    def audience(self) -> int:
        """How many listen."""
        return len(self._connections)

    async def send(self, messages: Iterable[bytes]) -> None:
        """Send messages to all who listen."""
        for connection in tuple(self._connections):
            with contextlib.suppress(ConnectionClosed):
                for message in messages:
                    await connection.send(message, text=True)

    def cut(self) -> None:
        """Cut all connections."""
        for connection in self._connections:
            connection.transport.abort()

    def _snapshot(self, symbol: str) -> bytes:
        held = [
            {"side": side, "price": price, "q": quantity}
            for (of, side, price), quantity in self.books.items()
            if of == symbol
        ]
        return orjson.dumps({"s": symbol, "u": self.numbers[symbol], "levels": held})

    async def _answer(self, asked: Asked) -> web.StreamResponse:
        past = self._past[asked.query["symbol"]]
        behind = past[max(0, len(past) - 1 - self.lag)]
        self.lag = max(0, self.lag - 5)
        await asyncio.sleep(self._luck.choice((0.0, 0.1)))  # books change meanwhile
        return web.Response(body=behind, content_type="application/json")

    async def _talk(self, connection: ServerConnection) -> None:
        self._connections.add(connection)
        await connection.send(b'{"hello":true}', text=True)
        await connection.wait_closed()
        self._connections.discard(connection)

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator["Books"]:
        """Listen while the block lasts."""
        async with serve(self._talk, "127.0.0.1", 0, compression=None, close_timeout=0.1) as server, self.site:
            self.port = next(iter(server.sockets)).getsockname()[1]
            yield self

    async def heard(self) -> None:
        """Wait until somebody listens."""
        async with asyncio.timeout(30):
            while not self.audience:
                await asyncio.sleep(0.01)
