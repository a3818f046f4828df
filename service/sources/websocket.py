"""WebSocket: subscribes, keeps the connection alive, and hands on every frame as it arrived."""

import asyncio
import logging
import re
import time
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple, NoReturn, Self, cast

import orjson
from multidict import CIMultiDict
from pydantic import Field, model_validator
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI
from websockets.typing import Subprotocol
from yarl import URL

from service.auth import Request
from service.config.connectors import Settings
from service.config.units import Duration, Size
from service.errors import SourceLost, SourceRefused, TokenRefused
from service.model import Message
from service.provider import Provider
from service.provider.answers import failure, plain
from service.provider.connection import Connection
from service.sources import Link, Source

CLOSE_TIMEOUT = 0.5
"""Seconds that a provider has for its part of the closing handshake: under backpressure it is never read."""

_wire = logging.getLogger("headrace.wire")
_wire.setLevel(logging.INFO)  # at debug the library logs every frame and header, keys included


class Acknowledge(Settings):
    """How the provider confirms a subscription."""

    match: dict[str, Any] = Field(min_length=1)
    """What a confirming message contains."""
    timeout: Duration = Field(default=10.0, gt=0)
    """The longest that it may take, for all subscriptions together."""


class Heartbeat(Settings):
    """Messages that keep a connection alive."""

    every: Duration | None = Field(default=None, gt=0)
    """How often `send` is sent."""
    send: Any = None
    """What we send: text, or a value that is sent as JSON."""
    expect: dict[str, Any] | None = Field(default=None, min_length=1)
    """What the provider's heartbeats, or its answers to ours, contain; they are not records."""

    @model_validator(mode="after")
    def _both(self) -> Self:
        if (self.every is None) != (self.send is None):
            raise ValueError("a heartbeat that we send needs both `every` and `send`")
        return self


class WebSocket(Source):
    """Listens to one connection for as long as it lasts."""

    kind: Literal["websocket"] = "websocket"
    url: str | None = Field(default=None, pattern=r"^wss?://")
    """The address; by default the provider's."""
    headers: dict[str, str] = Field(default={})
    """Further headers of the handshake."""
    subprotocols: tuple[str, ...] = ()
    """Subprotocols offered, the most wanted first."""
    subscribe: tuple[Any, ...] = ()
    """What is sent after connecting: texts, or values that are sent as JSON."""
    acknowledge: Acknowledge | None = None
    """How each subscription is confirmed."""
    refuse: dict[str, Any] | None = Field(default=None, min_length=1)
    """What a message contains that refuses a subscription."""
    heartbeat: Heartbeat | None = None
    """Heartbeats of the application, in either direction."""
    idle_timeout: Duration = Field(default=60.0, gt=0)
    """The longest silence before the connection is given up; any message counts, a heartbeat too."""
    max_message: Size = Field(default=4 << 20, ge=1)
    """The most bytes of one message."""
    compression: bool = False
    """Whether to offer permessage-deflate."""

    async def run(self, link: Link) -> None:
        """Connect, subscribe and listen; see Source."""
        url = URL(self.url) if self.url is not None else link.provider.address("")
        connection = await self._open(url, link.provider)
        try:
            for item in self.subscribe:
                await connection.send(_text(item))
            await self._listen(connection, link, url)
        except ConnectionClosed as closed:
            raise self._ended(closed, url, link.provider) from closed
        finally:
            await connection.close()

    async def _open(self, url: URL, provider: Provider) -> Connection:
        """Shake hands, at the provider's pace; with a new token if the first is refused."""
        request = Request("GET", url, CIMultiDict(self.headers))
        try:
            return await self._shake_hands(request, provider)
        except TokenRefused:
            if not provider.renew(request):
                raise
        return await self._shake_hands(Request("GET", url, CIMultiDict(self.headers)), provider)

    async def _shake_hands(self, request: Request, provider: Provider) -> Connection:
        url = request.url  # without what the credentials add to it
        await provider.admit(request, self.weight)
        try:
            connection = await _Connect(
                str(request.url),
                additional_headers=list(request.headers.items()),
                subprotocols=[Subprotocol(name) for name in self.subprotocols] or None,
                compression="deflate" if self.compression else None,
                max_size=self.max_message,
                proxy=None,
                open_timeout=provider.timeout,
                ping_timeout=None,  # a pong may wait behind what we cannot take yet: our watchdog decides
                close_timeout=CLOSE_TIMEOUT,
                create_connection=Connection,
                logger=_wire,
            )
        except InvalidStatus as refused:
            answer = refused.response
            what, headers = f"handshake with {plain(url)}", CIMultiDict(answer.headers.raw_items())
            fault = provider.fault(what, url, answer.status_code, headers, bytes(answer.body or b""))
            raise fault or SourceRefused(f"{what}: {answer.status_code} in place of 101") from refused
        except (InvalidURI, ValueError) as error:
            raise SourceRefused(f"{plain(url)} is no address that can be asked") from error
        except (InvalidHandshake, OSError, EOFError) as error:
            raise SourceLost(f"{plain(url)}: {provider.said(failure(error))}") from error
        return cast("Connection", connection)

    async def _listen(self, connection: Connection, link: Link, url: URL) -> NoReturn:
        """Receive until the connection ends, beating meanwhile, also while receiving waits for room."""
        async with asyncio.TaskGroup() as group:
            beating = group.create_task(self._beat(connection), name=f"{link.feed} heartbeat")
            try:
                await self._receive(connection, link, url)
            except (ConnectionClosed, SourceLost, SourceRefused) as end:
                ended = end  # raised outside: the task group would wrap it
            finally:
                beating.cancel()
        raise ended

    async def _beat(self, connection: Connection) -> None:
        heartbeat = self.heartbeat
        if heartbeat is None or heartbeat.every is None:
            return
        text = _text(heartbeat.send)
        try:
            while True:
                await asyncio.sleep(heartbeat.every)
                await connection.send(text)
        except ConnectionClosed:
            return  # the receiver says why

    async def _receive(self, connection: Connection, link: Link, url: URL) -> NoReturn:
        rules = list(self._rules())
        missing = len(self.subscribe) if self.acknowledge is not None else 0
        due = time.monotonic() + self.acknowledge.timeout if self.acknowledge is not None else 0.0
        while True:
            left = max(0.0, due - time.monotonic()) if missing > 0 else self.idle_timeout
            frames = await self._frames(connection, min(left, self.idle_timeout))
            if frames is None:
                what = f"{missing} subscriptions not acknowledged" if missing > 0 else "silent"
                raise SourceLost(f"{plain(url)}: {what} for {self._patience(missing):g} s")
            now = time.time()
            refused: bytes | None = None
            data = frames
            if rules:
                data = []
                for frame in frames:
                    role = _role(frame, rules)
                    if role is None:
                        data.append(frame)
                    elif role == "acknowledge":
                        missing -= 1
                    elif role == "refuse":
                        refused = frame
            link.alive()
            if data:
                # The watchdog does not run while this waits: it is we who are slow then, not the provider.
                await link.emit([Message(frame, now) for frame in data])
            if refused is not None:
                said = link.provider.said(refused)
                raise SourceRefused(f"{plain(url)}: subscription refused: {said}")

    def _patience(self, missing: int) -> float:
        if missing > 0 and self.acknowledge is not None:
            return min(self.acknowledge.timeout, self.idle_timeout)
        return self.idle_timeout

    async def _frames(self, connection: Connection, left: float) -> list[bytes] | None:
        """Wait for messages; None when none comes in time."""
        try:
            async with asyncio.timeout(left):
                return await connection.messages()
        except TimeoutError:
            return None

    def _rules(self) -> Iterator["_Rule"]:
        if self.acknowledge is not None:
            yield _rule("acknowledge", self.acknowledge.match)
        if self.heartbeat is not None and self.heartbeat.expect is not None:
            yield _rule("heartbeat", self.heartbeat.expect)
        if self.refuse is not None:
            yield _rule("refuse", self.refuse)

    def _ended(self, closed: ConnectionClosed, url: URL, provider: Provider) -> SourceLost | SourceRefused:
        sent, received = closed.sent, closed.rcvd
        if sent is not None and sent.code == 1009 and not closed.rcvd_then_sent:
            # The same message would come again after every reconnect.
            limit = f"max_message ({self.max_message} bytes)"
            return SourceRefused(f"{plain(url)}: a message is larger than {limit}")
        end = received or sent
        if end is None:
            return SourceLost(f"{plain(url)}: connection lost")
        return SourceLost(f"{plain(url)}: closed with {end.code} {provider.said(end.reason)}".rstrip())


class _Connect(connect):
    """Connects without following redirects: the library would take our headers along to another origin."""

    def process_redirect(self, exc: Exception) -> Exception:
        """Let a redirect be an answer like any other."""
        return exc


class _Rule(NamedTuple):
    """What tells a message of the protocol from data: quickly, by texts that it must hold, then for certain."""

    role: str
    match: dict[str, Any]
    needles: tuple[bytes, ...]


def _rule(role: str, match: dict[str, Any]) -> _Rule:
    # The longest first: it is the least likely to be in other messages too.
    return _Rule(role, match, tuple(sorted(_needles(match), key=len, reverse=True)))


def _needles(value: Any) -> Iterator[bytes]:
    """Give the texts within a value that every encoder writes alike: those without anything to escape."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _needles(name)
            yield from _needles(inner)
    elif isinstance(value, str) and re.fullmatch(r"[\w .:+-]+", value, re.ASCII):
        yield b'"%b"' % value.encode()


def _role(frame: bytes, rules: list[_Rule]) -> str | None:
    """Give the role of a message of the protocol; None for data."""
    for rule in rules:
        for needle in rule.needles:
            if needle not in frame:
                break
        else:
            if _holds(_decoded(frame), rule.match):
                return rule.role
    return None


def _decoded(frame: bytes) -> Any:
    try:
        return orjson.loads(frame)
    except orjson.JSONDecodeError:
        return None


def _holds(value: Any, match: Any) -> bool:
    """Whether a value holds all that is to match: of an object each name given, of anything else the same."""
    if isinstance(match, dict):
        return isinstance(value, dict) and all(
            name in value and _holds(value[name], inner) for name, inner in match.items()
        )
    return bool(value == match)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()
