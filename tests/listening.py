"""A WebSocket server on loopback that says what a test tells it to, and a source that listens to it."""

import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import orjson
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from service.provider import Provider
from service.sources import Source
from tests.collector import Collector, configured

Talk = Callable[[ServerConnection], Awaitable[None]]
Handshake = Callable[[ServerConnection, Request], Response | None]


@contextlib.asynccontextmanager
async def listening(
    talk: Talk,
    feed: dict[str, Any] | None = None,
    handshake: Handshake | None = None,
    subprotocols: list[Any] | None = None,
    **settings: Any,
) -> AsyncIterator[tuple[Source, Collector]]:
    """Serve, and give a source that is configured for it with its link."""
    async with serve(
        talk, "127.0.0.1", 0, process_request=handshake, subprotocols=subprotocols, close_timeout=0.1, max_size=None
    ) as server:
        url = f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}/live"
        source, configuration = configured({"kind": "websocket", **(feed or {})}, **{"url": url, **settings})
        async with Provider("test", configuration) as provider:
            yield source, Collector(provider)


async def quiet(connection: ServerConnection) -> None:
    """Say nothing."""
    await connection.wait_closed()


def says(*messages: Any) -> Talk:
    """Say some messages, as JSON unless they are text or bytes, and then nothing."""

    async def talk(connection: ServerConnection) -> None:
        await say(connection, *messages)
        await connection.wait_closed()

    return talk


async def say(connection: ServerConnection, *messages: Any) -> None:
    """Say messages, as JSON unless they are text or bytes."""
    for message in messages:
        await connection.send(message if isinstance(message, str | bytes) else orjson.dumps(message).decode())


async def hear(connection: ServerConnection) -> Any:
    """Give what the client says next, decoded if it is JSON."""
    text = await connection.recv()
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text
