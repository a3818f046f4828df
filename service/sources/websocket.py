"""WebSocket: subscribes, keeps the connection alive, and hands on every frame as it arrived."""

import asyncio
import time
from collections.abc import Iterator
from typing import Any, Literal, cast

import orjson
from pydantic import Field
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI
from websockets.typing import Subprotocol
from yarl import URL

from service.auth import Request
from service.config.connectors import Settings
from service.config.units import Duration, Size
from service.errors import SourceLost, SourceRefused
from service.model import Message
from service.provider import plain, retry_after
from service.sources import Link, Source

GROUP = 500
"""Frames handed on together at most."""
QUEUED = 64
"""Frames that the library holds before it stops reading the socket."""


class Acknowledge(Settings):
    """How the provider confirms a subscription."""

    match: dict[str, Any]
    """What a confirming message contains."""
    timeout: Duration = 10.0
    """The longest that it may take, for all subscriptions together."""


class Heartbeat(Settings):
    """Messages that keep a connection alive."""

    every: Duration | None = None
    """How often `send` is sent."""
    send: Any = None
    """What we send: text, or a value that is sent as JSON."""
    expect: dict[str, Any] | None = None
    """What the provider's heartbeats contain; they are not records."""


class WebSocket(Source):
    """Listens to one connection for as long as it lasts."""

    kind: Literal["websocket"] = "websocket"
    url: str | None = Field(None, pattern=r"^wss?://")
    """The address; by default the provider's."""
    headers: dict[str, str] = {}
    """Further headers of the handshake."""
    subprotocols: tuple[str, ...] = ()
    """Subprotocols offered, the most wanted first."""
    subscribe: tuple[Any, ...] = ()
    """What is sent after connecting: texts, or values that are sent as JSON."""
    acknowledge: Acknowledge | None = None
    """How each subscription is confirmed."""
    refuse: dict[str, Any] | None = None
    """What a message contains that refuses a subscription."""
    heartbeat: Heartbeat | None = None
    """Heartbeats of the application, in either direction."""
    idle_timeout: Duration = Field(60.0, gt=0)
    """The longest silence before the connection is given up."""
    max_message: Size = Field(4 << 20, ge=1)
    """The most bytes of one message."""
    compression: bool = False
    """Whether to offer permessage-deflate."""

    async def run(self, link: Link) -> None:
        """Connect, subscribe and listen; see Source."""
        request = self._request(link)
        try:
            async with connect(
                str(request.url),
                additional_headers=dict(request.headers),
                subprotocols=[Subprotocol(name) for name in self.subprotocols] or None,
                compression="deflate" if self.compression else None,
                max_size=self.max_message,
                max_queue=QUEUED,
                open_timeout=link.provider.timeout,
                ping_timeout=None,  # our own watchdog decides: a pong may wait behind what we cannot take yet
                close_timeout=1,
                process_exception=_fatal,
            ) as connection:
                await self._subscribe(connection)
                await self._listen(connection, link)
        except ConnectionClosed as closed:
            raise self._closed(closed, request.url) from closed
        except InvalidStatus as refused:
            raise _refused(refused, request.url) from refused
        except (InvalidHandshake, InvalidURI, OSError, TimeoutError, EOFError) as error:
            said = (
                "no answer in time" if isinstance(error, TimeoutError) else str(error) or type(error).__name__
            )
            raise SourceLost(f"{plain(request.url)}: {said}") from error

    def _request(self, link: Link) -> Request:
        address = URL(self.url) if self.url is not None else link.provider.url
        if address is None:
            raise SourceRefused("no address: set `url` on the feed or on its provider")
        request = Request("GET", address)
        request.headers.update(self.headers)
        link.provider.authorize(request)
        return request

    async def _subscribe(self, connection: ClientConnection) -> None:
        for item in self.subscribe:
            await connection.send(_text(item))

    async def _listen(self, connection: ClientConnection, link: Link) -> None:
        """Receive until the connection ends, beating where that is asked for."""
        async with asyncio.TaskGroup() as group:
            beating = group.create_task(self._beat(connection), name=f"{link.feed} heartbeat")
            try:
                await self._receive(connection, link)
            finally:
                beating.cancel()

    async def _beat(self, connection: ClientConnection) -> None:
        if self.heartbeat is None or self.heartbeat.every is None or self.heartbeat.send is None:
            return
        text = _text(self.heartbeat.send)
        try:
            while True:
                await asyncio.sleep(self.heartbeat.every)
                await connection.send(text)
        except ConnectionClosed:
            return  # the receiver says why

    async def _receive(self, connection: ClientConnection, link: Link) -> None:
        missing = len(self.subscribe) if self.acknowledge is not None else 0
        due = time.monotonic() + self.acknowledge.timeout if self.acknowledge is not None else 0.0
        while True:
            left = (
                self.idle_timeout
                if missing <= 0
                else min(self.idle_timeout, max(0.0, due - time.monotonic()))
            )
            frames = await self._frames(connection, left, unconfirmed=missing > 0)
            link.alive()
            messages: list[Message] = []
            now = time.time()
            for frame in frames:
                control = self._control(frame)
                if control == "acknowledge":
                    missing -= 1
                elif control is None:
                    messages.append(Message(frame, now))
            # The watchdog does not run while this waits: it is we who are slow then, not the provider.
            await link.emit(messages)

    async def _frames(self, connection: ClientConnection, left: float, *, unconfirmed: bool) -> list[bytes]:
        """Wait for a frame; take what else has arrived along with it."""
        try:
            async with asyncio.timeout(left):
                frames = [cast("bytes", await connection.recv(decode=False))]
        except TimeoutError:
            what = "subscription not acknowledged" if unconfirmed else f"silent for {self.idle_timeout:g} s"
            raise SourceLost(what) from None
        frames.extend(_arrived(connection))
        return frames

    def _control(self, frame: bytes) -> str | None:
        """Say whether a frame belongs to the protocol rather than to the data."""
        for name, match in self._matches():
            if all(_literal(value) in frame for value in match.values()):
                try:
                    message = orjson.loads(frame)
                except orjson.JSONDecodeError:
                    return None
                if isinstance(message, dict) and match.items() <= message.items():
                    if name == "refuse":
                        raise SourceRefused(f"subscription refused: {frame[:200].decode(errors='replace')}")
                    return name
        return None

    def _matches(self) -> Iterator[tuple[str, dict[str, Any]]]:
        if self.acknowledge is not None:
            yield "acknowledge", self.acknowledge.match
        if self.heartbeat is not None and self.heartbeat.expect is not None:
            yield "heartbeat", self.heartbeat.expect
        if self.refuse is not None:
            yield "refuse", self.refuse

    def _closed(self, closed: ConnectionClosed, url: URL) -> SourceLost | SourceRefused:
        if closed.sent is not None and closed.sent.code == 1009 and not closed.rcvd_then_sent:
            # The same message would come again after every reconnect.
            return SourceRefused(
                f"{plain(url)}: a message is larger than max_message ({self.max_message} bytes)"
            )
        said = closed.rcvd or closed.sent
        reason = (
            f"closed with {said.code} {said.reason}".rstrip() if said is not None else "closed without a word"
        )
        return SourceLost(f"{plain(url)}: {reason}")


def _arrived(connection: ClientConnection) -> Iterator[bytes]:
    """Give the whole messages that the library has received already, without waiting for the loop.

    A coroutine that finds its result at hand ends at its first step; one that would wait is closed unharmed, since
    ``recv`` is documented to be safe to cancel.
    """
    for _ in range(GROUP):
        if not connection.recv_messages.frames.queue:
            return
        receiving = connection.recv(decode=False)
        try:
            receiving.send(None)
        except StopIteration as received:
            yield received.value
        else:
            receiving.close()
            return


def _literal(value: Any) -> bytes:
    return orjson.dumps(value)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _fatal(error: Exception) -> Exception:
    """Never let the library reconnect by itself."""
    return error


def _refused(refused: InvalidStatus, url: URL) -> SourceLost | SourceRefused:
    response = refused.response
    said = (response.body or b"")[:200].decode(errors="replace").strip()
    reason = f"{plain(url)}: handshake answered {response.status_code}" + (f": {said}" if said else "")
    if response.status_code in {408, 425, 429} or response.status_code >= 500:
        return SourceLost(reason, retry_after(response.headers))
    return SourceRefused(reason)
