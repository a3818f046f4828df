"""A provider of matches: the rows by REST, as they began, and what changes of them by WebSocket, field by field."""

import contextlib
import random
from collections.abc import AsyncIterator
from typing import Any

import orjson
from aiohttp import web
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from tests.site import Asked

FIELDS = ("home", "away", "minute", "note")


class Ticker:
    """Tells who connects every change so far, in an order of its own, and then each change. REST never has them.

    Attributes:
        port: where it listens.
        listed: what REST answers, by id.
        changes: every change so far: id, version and the fields that changed.
        sent: how many frames it sent.
    """

    def __init__(self, matches: int) -> None:
        self.port = 0
        self.listed = {f"m{n:03}": {"id": f"m{n:03}", "v": 1, "name": f"match {n}", "home": 0, "away": 0, "minute": 0}
                       for n in range(matches)}  # fmt: skip
        self.changes: list[dict[str, Any]] = []
        self.sent = 0
        self._random = random.Random(7)
        self._version = 1
        self._audience: set[ServerConnection] = set()

    def answer(self, _asked: Asked) -> web.Response:
        """Answer a request for all rows."""
        return web.json_response(list(self.listed.values()))

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator["Ticker"]:
        """Listen while the block lasts."""
        async with serve(self._talk, "127.0.0.1", 0, compression=None, close_timeout=0.1) as server:
            self.port = next(iter(server.sockets)).getsockname()[1]
            yield self

    async def change(self, count: int, *ids: str) -> None:
        """Change so many fields, of any match or of these, and tell it."""
        names = ids or tuple(self.listed)
        for _ in range(count):
            self._version += 1
            changed: dict[str, Any] = {name: self._random.randrange(90) for name in self._random.sample(FIELDS[:3], 2)}
            if self._random.random() < 0.3:
                changed = {"note": self._random.choice([None, "goal", "card"])}
            self.changes.append({"id": self._random.choice(names), "v": self._version, **changed})
        for connection in tuple(self._audience):
            await self._tell(connection, self.changes[-count:])

    def rows(self) -> list[dict[str, Any]]:
        """Give what the table must hold: of each field the newest value."""
        found = {}
        for name, first in self.listed.items():
            row = {"note": None, **first}
            for change in self.changes:  # in the order of their versions
                row |= change if change["id"] == name else {}
            found[name] = row
        return [found[name] for name in sorted(found)]

    async def _tell(self, connection: ServerConnection, changes: list[dict[str, Any]]) -> None:
        shuffled = list(changes)
        self._random.shuffle(shuffled)
        with contextlib.suppress(ConnectionClosed):
            for start in range(0, len(shuffled), 5):
                await connection.send(orjson.dumps(shuffled[start : start + 5]), text=True)
                self.sent += 1

    async def _talk(self, connection: ServerConnection) -> None:
        self._audience.add(connection)
        await self._tell(connection, self.changes)
        try:
            await connection.wait_closed()
        finally:
            self._audience.discard(connection)
