import asyncio
import contextlib
import gzip
import hmac
import time
import zlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from multidict import CIMultiDict
from pydantic import ValidationError

from service.provider import Provider
from service.sources import Answer, Delivery, Receiver
from service.sources import webhook as module
from tests.collector import Collector, configured, running

OPEN = {"kind": "webhook", "unverified": True}


async def chunked(body: bytes, size: int = 1000) -> AsyncIterator[bytes]:
    for start in range(0, len(body), size):
        yield body[start : start + size]


async def post(link: Collector, body: bytes, headers: dict[str, str] | None = None, **query: str) -> Answer:
    assert link.receiver is not None
    return await link.receiver(Delivery(CIMultiDict(headers or {}), query, chunked(body)))


class Unnoticed(Collector):
    """A link that fills up only after it was asked whether it is full."""

    safe = asyncio.Event()

    @property
    def full(self) -> bool:
        return False

    async def settled(self) -> None:
        await self.safe.wait()


@contextlib.asynccontextmanager
async def listening(feed: dict[str, Any] = OPEN, kind: type[Collector] = Collector) -> AsyncIterator[Collector]:
    source, settings = configured({"kind": "webhook", **feed})
    async with Provider("test", settings) as provider:
        link = kind(provider)
        async with running(source, link):
            await link.until(lambda: link.receiver is not None)
            yield link


async def test_a_delivery_is_a_message_with_the_headers_that_the_map_wants() -> None:
    async with listening({**OPEN, "params": {"event": "X-Event", "none": "X-None"}}) as link:
        before = time.time()
        headers = {"Content-Type": "application/json", "x-event": "goal", "X-Other": "x"}
        answer = await post(link, b'{"n": 1}', headers)
    assert answer.status == 202
    (message,) = link.messages
    assert (message.body, message.position) == (b'{"n": 1}', None)
    assert message.meta == {"content_type": "application/json", "params": {"event": "goal", "none": None}}
    assert before <= message.received_at <= time.time()


async def test_it_is_live_as_soon_as_it_listens_and_deaf_when_it_has_ended() -> None:
    async with listening() as link:
        receiver = link.receiver
        assert link.lives == 1
    assert link.receiver is None
    assert receiver is not None
    answer = await receiver(Delivery(CIMultiDict(), {}, chunked(b"{}")))
    assert (answer.status, link.messages) == (503, [])


async def test_it_answers_when_the_message_is_safe_and_not_before(monkeypatch: pytest.MonkeyPatch) -> None:
    async with listening(kind=Unnoticed) as link:
        async with asyncio.TaskGroup() as group:
            Unnoticed.safe.clear()
            posting = group.create_task(post(link, b"{}"))
            await link.until(lambda: len(link.messages) == 1)
            assert not posting.done()
            Unnoticed.safe.set()
        assert posting.result().status == 202
        Unnoticed.safe.clear()
        monkeypatch.setattr(module, "PATIENCE", 0.05)
        answer = await post(link, b"{}")
    assert (answer.status, answer.retry_after) == (429, 5)


async def test_without_room_the_sender_is_asked_to_come_again() -> None:
    async with listening() as link:
        link.room.clear()
        answer = await post(link, b"{}")
        assert (answer.status, answer.retry_after) == (429, 5)
        link.room.set()
        assert (await post(link, b"{}")).status == 202
    assert len(link.messages) == 1


async def test_what_all_senders_send_at_once_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HELD_BYTES", 1500)
    go = asyncio.Event()

    async def dripping() -> AsyncIterator[bytes]:
        yield b" " * 2000
        await go.wait()
        yield b"{}"

    async def slow(receiver: Receiver) -> Answer:
        return await receiver(Delivery(CIMultiDict(), {}, dripping()))

    async with listening() as link, asyncio.TaskGroup() as group:
        receiver = link.receiver
        assert receiver is not None
        first = group.create_task(slow(receiver))
        while (await post(link, b"{}")).status != 429:
            await asyncio.sleep(0)
        go.set()
        await link.until(lambda: b" " * 2000 + b"{}" in link.bodies)
        assert (await post(link, b"[]")).status == 202
    assert first.result().status == 202


@pytest.mark.parametrize(
    "headers", [{}, {"X-Token": "wrong"}, {"X-Sign": "00"}, {"X-Token": "hunter2", "X-Sign": "00"}]
)
async def test_all_strangers_get_the_same_answer(headers: dict[str, str]) -> None:
    feed = {
        "token": {"header": "X-Token", "value": "hunter2"},
        "signature": {"header": "X-Sign", "secret": "hunter3"},
    }
    async with listening(feed) as link:
        answer = await post(link, b"{}", headers)
    assert answer == Answer(401, "not verified")
    assert link.messages == []


async def test_a_stranger_without_the_token_is_not_listened_to() -> None:
    body = chunked(b"{}")
    async with listening({"token": {"query": "key", "value": "hunter2"}}) as link:
        assert link.receiver is not None
        answer = await link.receiver(Delivery(CIMultiDict(), {"key": "hunter1"}, body))
        assert answer.status == 401
        assert await anext(body) == b"{}"
        assert (await post(link, b"{}", key="hunter2")).status == 202


async def test_the_signature_is_that_of_the_bytes_that_were_sent() -> None:
    body = gzip.compress(b'{"n": 1}')
    headers = {"Content-Encoding": "gzip", "X-Sign": hmac.digest(b"hunter3", body, "sha256").hex()}
    async with listening({"signature": {"header": "X-Sign", "secret": "hunter3"}}) as link:
        assert (await post(link, body, headers)).status == 202
    assert link.bodies == [b'{"n": 1}']


@pytest.mark.parametrize(("size", "status"), [(4000, 202), (4001, 413)])
async def test_a_body_is_bounded(size: int, status: int) -> None:
    async with listening({**OPEN, "max_body": "4KB"}) as link:
        assert (await post(link, b"x" * size)).status == status


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
async def test_a_compressed_body_unfolds_within_its_bound(coding: str) -> None:
    compress = gzip.compress if coding == "gzip" else zlib.compress
    headers = {"Content-Encoding": coding}
    async with listening({**OPEN, "max_body": "4KB"}) as link:
        assert (await post(link, compress(b"x" * 4000), headers)).status == 202
        assert (await post(link, compress(b"x" * 4001), headers)).status == 413
        assert (await post(link, compress(b"x" * 10_000_000)[:3999], headers)).status == 413
        assert (await post(link, compress(b"x" * 4000)[:-1], headers)).status == 400
        assert (await post(link, b"{}", headers)).status == 400
    assert link.bodies == [b"x" * 4000]


async def test_a_coding_that_we_do_not_know_is_refused() -> None:
    async with listening() as link:
        answer = await post(link, b"{}", {"Content-Encoding": "snappy"})
    assert answer.status == 415
    assert "snappy" in answer.said


async def test_a_delivery_that_comes_again_is_answered_and_dropped() -> None:
    async with listening({**OPEN, "dedupe_header": "X-Delivery", "replay_window": "200ms"}) as link:
        for body, key in ((b"1", "a"), (b"2", "b"), (b"1", "a")):
            assert (await post(link, body, {"X-Delivery": key})).status == 202
        assert link.bodies == [b"1", b"2"]
        assert (await post(link, b"3")).status == (await post(link, b"3")).status == 202
        assert link.bodies == [b"1", b"2", b"3", b"3"]
        before = time.monotonic()
        while len(link.bodies) == 4:
            await post(link, b"1", {"X-Delivery": "a"})
            await asyncio.sleep(0.01)
        assert time.monotonic() - before < 5


async def test_a_copy_of_a_delivery_that_is_not_safe_yet_gets_no_202() -> None:
    key = {"X-Delivery": "a"}
    async with listening({**OPEN, "dedupe_header": "X-Delivery"}, Unnoticed) as link, asyncio.TaskGroup() as group:
        Unnoticed.safe.set()  # nothing is on its way but what waits for room
        link.room.clear()
        first = group.create_task(post(link, b"1", key))
        await link.until(lambda: link.emitting == 1)
        assert ((await post(link, b"1", key)).status, first.done()) == (429, False)
        link.room.set()
        await link.until(lambda: len(link.messages) == 1)
        assert (await post(link, b"1", key)).status == 202
    assert first.result().status == 202
    assert link.bodies == [b"1"]


@pytest.mark.parametrize("feed", [{}, {"unverified": True, "token": {"header": "a", "value": "hunter2"}}])
def test_how_requests_are_verified_must_be_said(feed: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="say how requests are verified"):
        configured({"kind": "webhook", **feed})
