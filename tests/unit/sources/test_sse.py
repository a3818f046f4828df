import asyncio
import zlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiohttp import web
from pydantic import ValidationError

from service.errors import SourceLost, SourceRefused
from service.model import Position
from service.provider import Provider
from tests.collector import Collector, configured, running
from tests.site import Asked, Site

SSE = "text/event-stream"


def streamed(*chunks: bytes, status: int = 200, media: str = SSE) -> Callable[[Asked], web.StreamResponse]:
    """Answer with the chunks, and end."""
    return lambda _asked: web.Response(body=b"".join(chunks), status=status, content_type=media)


async def heard(site: Site, feed: dict[str, Any] | None = None, position: Position | None = None) -> Collector:
    """Listen until the stream ends, and give what was handed on."""
    source, settings = configured({"kind": "sse", "path": "/events", **(feed or {})}, url=site.url)
    async with Provider("test", settings) as provider:
        link = Collector(provider, position)
        with pytest.raises(SourceLost, match="ended the stream") as lost:
            await source.run(link)
        assert lost.value.retry_after is None
        return link


async def test_an_event_is_a_message_with_its_name_and_id_for_the_map() -> None:
    stream = b'event: goal\nid: 7\ndata: {"n":\ndata: 1}\n\ndata: {}\n\n'
    async with Site(streamed(stream)) as site:
        link = await heard(site)
    assert link.bodies == [b'{"n":\n1}', b"{}"]
    assert [message.meta for message in link.messages] == [
        {"params": {"event": "goal", "id": "7"}},
        {"params": {"event": "message", "id": "7"}},
    ]
    assert [message.position for message in link.messages] == [{"id": "7"}, {"id": "7"}]
    assert (site.asked[0].path, site.asked[0].headers["Accept"]) == ("/events", SSE)
    assert "Last-Event-ID" not in site.asked[0].headers


async def test_it_resumes_from_the_last_event_id() -> None:
    async with Site(streamed(b"data: {}\n\n")) as site:
        link = await heard(site, position={"id": "match/9 ü"})
    assert site.asked[0].headers["Last-Event-ID"].encode(errors="surrogateescape") == "match/9 ü".encode()
    assert link.position == {"id": "match/9 ü"}


async def test_an_id_that_was_taken_back_is_not_sent() -> None:
    async with Site(streamed(b"id\ndata: {}\n\n")) as site:
        link = await heard(site, position={"id": "4"})
        await heard(site, position=link.position)
    assert "Last-Event-ID" not in site.asked[1].headers


async def test_a_stream_without_ids_has_no_position() -> None:
    async with Site(streamed(b"data: {}\n\n")) as site:
        assert (await heard(site)).messages[0].position is None


async def test_only_the_wanted_events_are_messages_and_one_without_data_is_none() -> None:
    stream = b"data: 1\n\nevent: goal\ndata: 2\n\nevent: card\ndata: 3\n\nevent: goal\ndata:\n\n"
    async with Site(streamed(stream)) as site:
        assert (await heard(site, {"events": ["goal"]})).bodies == [b"2"]
        assert (await heard(site, {"events": ["goal", "message"]})).bodies == [b"1", b"2"]
        assert (await heard(site)).bodies == [b"1", b"2", b"3"]


async def test_what_the_end_cuts_off_is_no_message() -> None:
    async with Site(streamed(b"data: 1\n\ndata: 2\n")) as site:
        assert (await heard(site)).bodies == [b"1"]


async def test_the_wait_between_connections_is_the_providers() -> None:
    async with Site(streamed(b"retry: 4321000\n\n")) as site:
        source, settings = configured({"kind": "sse"}, url=site.url)
        async with Provider("test", settings) as provider:
            with pytest.raises(SourceLost) as lost:
                await source.run(Collector(provider))
    assert lost.value.retry_after == 4321


@pytest.mark.parametrize(
    ("status", "media", "said"),
    [(204, SSE, "not to come again"), (200, "text/html", "text/html, not with text/event-stream"), (206, SSE, "206")],
)
async def test_what_is_no_event_stream_is_refused(status: int, media: str, said: str) -> None:
    async with Site(streamed(b"data: 1\n\n", status=status, media=media)) as site:
        source, settings = configured({"kind": "sse", "params": {"key": "hunter2"}}, url=site.url)
        async with Provider("test", settings) as provider:
            link = Collector(provider)
            with pytest.raises(SourceRefused, match=said) as refused:
                await source.run(link)
    assert "hunter2" not in refused.value.reason
    assert link.messages == []


async def test_an_event_that_is_too_large_is_refused_and_those_before_it_are_kept() -> None:
    async with Site(streamed(b"data: 1\n\n", b"data: " + b"x" * 5000)) as site:
        source, settings = configured({"kind": "sse", "max_message": "4KB"}, url=site.url)
        async with Provider("test", settings) as provider:
            link = Collector(provider)
            with pytest.raises(SourceRefused, match=r"max_message \(4000 bytes\)"):
                await source.run(link)
    assert link.bodies == [b"1"]


async def test_comments_keep_a_stream_alive() -> None:
    async def chatter(asked: Asked) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": SSE})
        await response.prepare(asked.request)
        for _ in range(4):
            await response.write(b": still here\n\n")
            await asyncio.sleep(0.15)
        await response.write(b"data: 1\n\n")
        await asyncio.sleep(60)
        return response

    async with Site(chatter) as site:
        source, settings = configured({"kind": "sse", "idle_timeout": "400ms"}, url=site.url, timeout="100ms")
        async with Provider("test", settings) as provider:
            link = Collector(provider)
            async with running(source, link) as run:
                with pytest.raises(SourceLost, match=r"silent for 0\.4 s"):
                    await run.end()
    assert link.bodies == [b"1"]
    assert link.lives >= 4


async def test_a_compressed_stream_is_read_as_it_comes() -> None:
    async def compressed(asked: Asked) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": SSE, "Content-Encoding": "gzip"})
        await response.prepare(asked.request)
        packer = zlib.compressobj(wbits=31)
        await response.write(packer.compress(b"data: 1\n\n") + packer.flush(zlib.Z_SYNC_FLUSH))
        await asyncio.sleep(60)
        return response

    async with Site(compressed) as site:
        source, settings = configured({"kind": "sse"}, url=site.url)
        async with Provider("test", settings) as provider:
            link = Collector(provider)
            async with running(source, link):
                await link.until(lambda: link.bodies == [b"1"])


@pytest.fixture
async def elsewhere() -> AsyncIterator[Site]:
    async with Site(streamed(b"data: 1\n\n")) as site:
        yield site


async def test_a_redirect_to_another_origin_takes_the_event_id_along_but_no_credential(elsewhere: Site) -> None:
    auth = {"kind": "header", "name": "X-Key", "value": "hunter2"}
    async with Site(lambda _asked: web.Response(status=307, headers={"Location": elsewhere.url})) as site:
        source, settings = configured({"kind": "sse", "headers": {"X-Team": "t"}}, url=site.url, auth=auth)
        async with Provider("test", settings) as provider:
            with pytest.raises(SourceLost, match="ended the stream"):
                await source.run(Collector(provider, {"id": "5"}))
    assert site.asked[0].headers["X-Key"] == "hunter2"
    (asked,) = elsewhere.asked
    assert (asked.headers["Last-Event-ID"], asked.headers["Accept"]) == ("5", SSE)
    assert not {"X-Key", "X-Team"} & set(asked.headers)


def test_an_address_is_either_below_the_providers_or_its_own() -> None:
    with pytest.raises(ValidationError, match="either a `path`"):
        configured({"kind": "sse", "path": "/a", "url": "https://x.example/b"})
