"""The simulated WebSocket provider: subscribe, a snapshot of live matches, then every event as it happens."""

import asyncio
import contextlib
import random
import secrets
from collections.abc import Iterator
from http import HTTPStatus
from itertools import islice
from typing import Any

import orjson
from websockets.asyncio.server import ServerConnection, broadcast
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.protocol import State

from service.demo.faults import Faults
from service.demo.league import Event, League
from service.demo.oracle import Change

_SLICE = 100
"""The most events written at once: about 30 KB, what one connection may have waiting."""
_SLICES_PER_SECOND = 100


class Live:
    """Publishes the events of a league to its subscribers.

    Every event goes to every connection that is subscribed when it is published, in order. There is no queue for
    each client: the publisher waits for the slowest, so memory is bounded and nothing is dropped but by chance.

    Args:
        league: whose state the events change.
        events: what to publish, in order.
        faults: how often connections are cut, and changes dropped.
        seed: chooses when.
        token: wanted in the header X-Auth-Token or in the subscribe message.
        audience: publishing waits while there are fewer subscribers than this.

    Attributes:
        finished: set once every event was handed to the sockets of the subscribers.
        connections: how many connections were opened so far.
    """

    def __init__(
        self, league: League, events: Iterator[Event], faults: Faults, *, seed: int, token: str, audience: int
    ) -> None:
        self.finished = asyncio.Event()
        self.connections = 0
        self._league = league
        self._events = events
        self._faults = faults
        self._luck = random.Random(f"{seed} disconnect")
        self._chance = random.Random(f"{seed} drop")
        self._token = token
        self._audience = audience
        self._open: set[ServerConnection] = set()
        self._subscribers: set[ServerConnection] = set()
        self._audible = asyncio.Event()
        self._turn = asyncio.Lock()  # a snapshot and the events after it must not interleave
        self._listen()

    def admit(self, connection: ServerConnection, request: Request) -> Response | None:
        """Refuse a handshake with another path (404) or a wrong token (401)."""
        if request.path.partition("?")[0] != "/live":
            return connection.respond(HTTPStatus.NOT_FOUND, "the live feed is at /live\n")
        token = request.headers.get("X-Auth-Token")
        if token is not None and not self._proves(token):
            return connection.respond(HTTPStatus.UNAUTHORIZED, "X-Auth-Token is wrong\n")
        return None

    async def serve(self, connection: ServerConnection) -> None:
        """Answer one client until it leaves."""
        self.connections += 1
        self._open.add(connection)
        try:
            with contextlib.suppress(ConnectionClosed):
                async for text in connection:
                    await self._answer(connection, text)
        finally:
            self._open.discard(connection)
            self._subscribers.discard(connection)
            self._listen()

    async def publish(self, speed: float) -> None:
        """Publish all events.

        Args:
            speed: events a second on average: after a stall it catches up; 0 is as fast as the sockets take them.
        """
        loop = asyncio.get_running_loop()
        size = min(_SLICE, max(1, int(speed / _SLICES_PER_SECOND))) if speed else _SLICE
        due = loop.time()
        while True:
            if not self._audible.is_set():
                await self._audible.wait()
                due = loop.time()
            async with self._turn:
                events = list(islice(self._events, size))
                if not events:
                    break
                await self._send(events)
            due = due + len(events) / speed if speed else 0.0
            await asyncio.sleep(max(0.0, due - loop.time()))
        self.finished.set()

    async def beat(self, every: float) -> None:
        """Send a heartbeat to all subscribers every so many seconds."""
        while True:
            await asyncio.sleep(every)
            # No waiting here: a few bytes behind what a slow client has not read yet do no harm.
            broadcast(self._subscribers, '{"type":"heartbeat"}')

    def cut(self) -> None:
        """Cut every connection now, without a closing handshake, as a failing network does."""
        for connection in self._open:
            connection.transport.abort()

    async def _send(self, events: list[Event]) -> None:
        for event in events:
            self._league.publish(event.entry)
        # Frames are made beforehand and written together: 0.1 us each, where connection.send() takes 10. In a
        # benchmark the provider must not take the processor from the daemon. Compression has to be off for it.
        wire = b"".join([event.frame for event in events if not self._is_dropped(event)])
        for connection in tuple(self._subscribers):
            if connection.state is State.OPEN and not connection.transport.is_closing():
                connection.transport.write(wire)
                with contextlib.suppress(OSError):  # it left while we waited for it
                    await connection.drain()
        if any(self._luck.random() < self._faults.disconnect for _ in events):
            self.cut()

    def _is_dropped(self, event: Event) -> bool:
        return isinstance(event.entry, Change) and self._chance.random() < self._faults.drop

    async def _answer(self, connection: ServerConnection, text: str | bytes) -> None:
        try:
            message = orjson.loads(text)
            operation = message["op"]
        except (orjson.JSONDecodeError, KeyError, TypeError):
            return await _say(connection, type="error", message='send a JSON object with "op"')
        if operation == "ping":
            return await _say(connection, type="pong")
        if operation != "subscribe":
            return await _say(connection, type="error", message="op must be ping or subscribe")
        if message.get("channel") != "scores":
            return await _say(connection, type="error", message="the only channel is scores")
        header = connection.request.headers.get("X-Auth-Token") if connection.request else None
        if header is None and not self._proves(message.get("token")):
            await _say(connection, type="error", message="token is missing or wrong")
            return await connection.close(1008, "unauthorised")
        return await self._subscribe(connection)

    async def _subscribe(self, connection: ServerConnection) -> None:
        async with self._turn:
            await _say(connection, type="subscribed", channel="scores")
            for body in self._league.snapshot():
                await connection.send(body, text=True)
            self._subscribers.add(connection)
        self._listen()

    def _proves(self, token: object) -> bool:
        return isinstance(token, str) and secrets.compare_digest(token.encode(), self._token.encode())

    def _listen(self) -> None:
        """Note whether there are subscribers enough to publish."""
        if len(self._subscribers) >= self._audience:
            self._audible.set()
        else:
            self._audible.clear()


async def _say(connection: ServerConnection, **message: Any) -> None:
    await connection.send(orjson.dumps(message), text=True)
