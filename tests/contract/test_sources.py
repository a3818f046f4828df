"""What every source promises the pipeline, on real sockets, whatever its protocol."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from http import HTTPStatus
from pathlib import Path
from typing import Any, Protocol

import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from pydantic import ValidationError
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from service.errors import SourceLost, SourceRefused
from service.provider import Provider
from service.sources import Delivery
from tests.collector import Collector, configured, running
from tests.proxy import Proxy

COUNT = 20


def body(number: int) -> bytes:
    return orjson.dumps({"records": [{"n": number}], "next": number + 1 if number + 1 < COUNT else None})


class Script(Protocol):
    """A provider that has COUNT messages to give."""

    port: int
    scheme: str
    feed: dict[str, Any]
    hold: asyncio.Event
    """Set: it gives all; cleared: it gives the first five, and then keeps the connection open in silence."""
    refusal: tuple[int, dict[str, str]] | None
    asked: int


class RestScript:
    scheme = "http"
    feed = {
        "kind": "rest",
        "path": "/pages",
        "every": "1h",
        "records": "records",
        "paginate": {"kind": "cursor", "next": "next", "param": "page"},
    }

    def __init__(self) -> None:
        self.port = 0
        self.hold = asyncio.Event()
        self.hold.set()
        self.refusal: tuple[int, dict[str, str]] | None = None
        self.asked = 0
        self.over = asyncio.Event()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked += 1
        if self.refusal is not None:
            status, headers = self.refusal
            return web.Response(status=status, headers=headers, text="no")
        number = int(request.query.get("page", "0"))
        if number >= 5:
            await self.hold.wait()
        return web.Response(body=body(number), content_type="application/json")

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        app = web.Application()
        app.router.add_get("/pages", self.answer)
        server = TestServer(app)
        await server.start_server()
        self.port = server.port or 0
        try:
            yield
        finally:
            self.hold.set()
            self.over.set()
            await server.close()


class WebSocketScript:
    scheme = "ws"
    feed = {"kind": "websocket", "subscribe": [{"op": "subscribe"}], "idle_timeout": "1h"}

    def __init__(self) -> None:
        self.port = 0
        self.hold = asyncio.Event()
        self.hold.set()
        self.refusal: tuple[int, dict[str, str]] | None = None
        self.asked = 0

    def handshake(self, connection: ServerConnection, _request: Request) -> Response | None:
        self.asked += 1
        if self.refusal is None:
            return None
        status, headers = self.refusal
        response = connection.respond(HTTPStatus(status), "no")
        response.headers.update(headers)
        return response

    async def talk(self, connection: ServerConnection) -> None:
        assert orjson.loads(await connection.recv()) == {"op": "subscribe"}
        for number in range(COUNT):
            if number >= 5:
                await self.hold.wait()
            await connection.send(body(number).decode())
        await connection.wait_closed()

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        async with serve(self.talk, "127.0.0.1", 0, process_request=self.handshake, close_timeout=0.1) as server:
            self.port = next(iter(server.sockets)).getsockname()[1]
            try:
                yield
            finally:
                self.hold.set()


class SseScript(RestScript):
    """It resumes from the event id, as REST resumes from the page."""

    feed = {"kind": "sse", "path": "/pages", "idle_timeout": "1h"}

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked += 1
        if self.refusal is not None:
            status, headers = self.refusal
            return web.Response(status=status, headers=headers, text="no")
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for number in range(int(request.headers.get("Last-Event-ID", "-1")) + 1, COUNT):
            if number >= 5:
                await self.hold.wait()
            await response.write(b"id: %d\ndata: %b\n\n" % (number, body(number)))
        await self.over.wait()
        return response


@pytest.fixture(params=[RestScript, WebSocketScript, SseScript], ids=["rest", "websocket", "sse"])
async def script(request: pytest.FixtureRequest) -> AsyncIterator[Script]:
    script: RestScript | WebSocketScript | SseScript = request.param()
    async with script.serving():
        yield script


@pytest.fixture
async def proxy(script: Script) -> AsyncIterator[Proxy]:
    async with Proxy("127.0.0.1", script.port) as proxy:
        yield proxy


@contextlib.asynccontextmanager
async def linked(script: Script, proxy: Proxy, **feed: Any) -> AsyncIterator[tuple[Any, Collector]]:
    url = f"{script.scheme}://{proxy.address}"
    source, settings = configured({**script.feed, **feed}, url=url, timeout="300ms")
    async with Provider("test", settings) as provider:
        yield source, Collector(provider)


async def test_every_message_is_handed_on_in_order(script: Script, proxy: Proxy) -> None:
    async with linked(script, proxy) as (source, link), running(source, link):
        before = time.time()
        await link.until(lambda: len(link.messages) == COUNT)
    assert link.bodies == [body(number) for number in range(COUNT)]
    assert all(before - 5 < message.received_at <= time.time() for message in link.messages)


@pytest.mark.parametrize("how", ["cut", "reset"])
async def test_a_connection_that_breaks_is_a_source_lost(script: Script, proxy: Proxy, how: str) -> None:
    script.hold.clear()
    async with linked(script, proxy) as (source, link), running(source, link) as run:
        await link.until(lambda: len(link.messages) == 5)
        proxy.refuse()
        getattr(proxy, how)()
        with pytest.raises(SourceLost):
            await run.end()


async def test_silence_is_a_source_lost(script: Script, proxy: Proxy) -> None:
    patience = {"idle_timeout": "300ms"} if "idle_timeout" in script.feed else {}
    async with linked(script, proxy, **patience) as (source, link), running(source, link) as run:
        script.hold.clear()
        await link.until(lambda: len(link.messages) == 5)
        proxy.stall()
        with pytest.raises(SourceLost):
            await run.end()
    assert len(link.messages) == 5


async def test_a_refused_connection_is_a_source_lost(script: Script, proxy: Proxy) -> None:
    proxy.refuse()
    async with linked(script, proxy) as (source, link):
        with pytest.raises(SourceLost, match=r"127\.0\.0\.1"):
            await source.run(link)


async def test_a_server_that_accepts_and_says_nothing_is_a_source_lost(script: Script, proxy: Proxy) -> None:
    proxy.stall()
    async with linked(script, proxy) as (source, link):
        with pytest.raises(SourceLost, match="in time"):
            await source.run(link)


@pytest.mark.parametrize("status", [429, 503])
async def test_the_wait_that_a_provider_asks_for_is_passed_on(script: Script, proxy: Proxy, status: int) -> None:
    script.refusal = (status, {"Retry-After": "4321"})
    async with linked(script, proxy) as (source, link):
        with pytest.raises(SourceLost) as lost:
            await source.run(link)
    assert lost.value.retry_after == 4321
    assert str(status) in lost.value.reason


@pytest.mark.parametrize("status", [401, 403, 404, 410])
async def test_a_refusal_is_told_with_its_status_and_words(script: Script, proxy: Proxy, status: int) -> None:
    script.refusal = (status, {})
    async with linked(script, proxy) as (source, link):
        with pytest.raises(SourceRefused, match=rf"{status}: no"):
            await source.run(link)
    assert script.asked == 1


async def test_a_redirect_without_an_address_is_a_refusal(script: Script, proxy: Proxy) -> None:
    script.refusal = (302, {})
    async with linked(script, proxy) as (source, link):
        with pytest.raises(SourceRefused, match="302"):
            await source.run(link)


@pytest.mark.parametrize("when", ["waiting", "held up"])
async def test_a_cancelled_source_ends_within_a_second_and_leaves_nothing(
    script: Script, proxy: Proxy, when: str
) -> None:
    before = asyncio.all_tasks()
    async with linked(script, proxy) as (source, link):
        if when == "held up":
            link.room.clear()
        async with running(source, link) as run:
            wanted = 1 if when == "held up" else COUNT
            await link.until(lambda: link.emitting >= wanted)
            cancelled = time.monotonic()
            await run.cancel()
            assert time.monotonic() - cancelled < 1
            assert run.error is None
    async with asyncio.timeout(5):
        await proxy.idle()
    left = {task.get_name() for task in asyncio.all_tasks() - before}
    assert not {name for name in left if "feed" in name}


async def test_a_lost_source_leaves_no_connection(script: Script, proxy: Proxy) -> None:
    script.refusal = (503, {})
    async with linked(script, proxy) as (source, link):
        with pytest.raises(SourceLost):
            await source.run(link)
    async with asyncio.timeout(5):
        await proxy.idle()


async def test_a_source_that_is_held_up_asks_for_no_more(script: Script, proxy: Proxy) -> None:
    patience = {"idle_timeout": "100ms"} if "idle_timeout" in script.feed else {}
    async with linked(script, proxy, **patience) as (source, link):
        link.room.clear()
        async with running(source, link) as run:
            await link.until(lambda: link.emitting > 0)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(run.ended.wait(), 0.4)  # four times the watchdog's patience
            assert script.asked == 1
            link.room.set()
            await link.until(lambda: len(link.messages) == COUNT)
    assert link.bodies == [body(number) for number in range(COUNT)]


def test_unknown_settings_are_refused(script: Script) -> None:
    with pytest.raises(ValidationError, match="extra"):
        configured({**script.feed, "colour": "red"}, url=f"{script.scheme}://127.0.0.1")


class WebhookScript:
    """A provider that posts."""

    def __init__(self, _folder: Path) -> None:
        self.feed: dict[str, Any] = {"kind": "webhook", "unverified": True}

    async def give(self, link: Collector) -> None:
        await link.until(lambda: link.receiver is not None)
        assert link.receiver is not None
        for number in range(COUNT):
            assert (await link.receiver(Delivery({}, {}, self._chunks(number)))).status == 202

    async def _chunks(self, number: int) -> AsyncIterator[bytes]:
        yield body(number)


class FileScript:
    """A folder of files."""

    def __init__(self, folder: Path) -> None:
        for number in range(COUNT):
            (folder / f"{number:03}.json").write_bytes(body(number))
        self.feed: dict[str, Any] = {"kind": "file", "path": f"{folder}/*.json", "every": "1h"}

    async def give(self, link: Collector) -> None:
        """They lie there."""


@pytest.fixture(params=[WebhookScript, FileScript], ids=["webhook", "file"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> WebhookScript | FileScript:
    script: WebhookScript | FileScript = request.param(tmp_path)
    return script


async def test_without_a_connection_too_all_is_handed_on_in_order(place: WebhookScript | FileScript) -> None:
    source, settings = configured(place.feed)
    async with Provider("test", settings) as provider, asyncio.TaskGroup() as group:
        link = Collector(provider)
        async with running(source, link):
            group.create_task(place.give(link))
            await link.until(lambda: len(link.messages) == COUNT)
    assert link.bodies == [body(number) for number in range(COUNT)]
    assert link.lives > 0


async def test_without_a_connection_too_it_ends_within_a_second_when_cancelled(
    place: WebhookScript | FileScript,
) -> None:
    before = asyncio.all_tasks()
    source, settings = configured(place.feed)
    async with Provider("test", settings) as provider:
        link = Collector(provider)
        async with running(source, link) as run:
            link.room.clear()
            await link.until(lambda: link.lives > 0)
            cancelled = time.monotonic()
            await run.cancel()
            assert time.monotonic() - cancelled < 1
            assert run.error is None
    assert asyncio.all_tasks() == before
    with pytest.raises(ValidationError, match="extra"):
        configured({**place.feed, "colour": "red"})
