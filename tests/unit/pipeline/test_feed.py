"""A feed: backs off for ever, parks, pauses, and says what state it is in."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Literal

from pydantic import PrivateAttr

from service.buffer.memory import Memory
from service.config.settings import Provider as ProviderSettings
from service.errors import SourceLost, SourceRefused
from service.model import Message
from service.pipeline.backoff import Backoff
from service.pipeline.feed import Feed
from service.pipeline.inlet import Inlet
from service.provider import Provider
from service.sources import Link, Source

Act = Callable[[Link], Awaitable[None]]


class Scripted(Source):
    """A source that does what the test says, one act a connection."""

    kind: Literal["scripted"] = "scripted"
    _acts: list[Act] = PrivateAttr(default_factory=list)

    async def run(self, link: Link) -> None:
        await self._acts.pop(0)(link)


async def feed(*acts: Act) -> Feed:
    source = Scripted(into="t", map={})
    source._acts.extend(acts)
    rest: dict[str, Any] = {"kind": "rest", "into": "t", "map": {}}
    provider = Provider("acme", ProviderSettings.model_validate({"url": "http://127.0.0.1:1", "feeds": {"f": rest}}))
    inlet = Inlet(await Memory(1 << 20, ["acme.f"]).lane("acme.f"), 1 << 20)
    return Feed("acme.f", source, provider, inlet)


async def lost(_link: Link) -> None:
    raise SourceLost("the line is cut", retry_after=0.01)


async def refused(_link: Link) -> None:
    raise SourceRefused("401: no such token")


async def run_until(tested: Feed, condition: Callable[[], bool]) -> None:
    stop = asyncio.Event()
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        group.create_task(tested.run(stop))
        while not condition():
            await asyncio.sleep(0.005)
        stop.set()


async def test_a_lost_source_is_started_again_from_the_position_that_it_handed_on() -> None:
    seen: list[Any] = []

    async def first(link: Link) -> None:
        await link.emit([Message(b"1", 1.0, {"page": 7}), Message(b"2", 2.0)])
        raise SourceLost("reset")

    async def second(link: Link) -> None:
        seen.append(link.position)
        await asyncio.Event().wait()

    tested = await feed(first, lost, second)
    await run_until(tested, lambda: bool(seen))
    assert seen == [{"page": 7}]
    assert tested.reconnects == 2
    assert tested.last_error == "the line is cut"


async def test_a_refused_source_parks_with_its_reason_and_can_be_polled_by_hand() -> None:
    async def fine(link: Link) -> None:
        link.alive()
        await asyncio.Event().wait()

    tested = await feed(refused, fine)
    stop = asyncio.Event()
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        group.create_task(tested.run(stop))
        while tested.state != "parked" or tested.next_poll_at is None:
            await asyncio.sleep(0.005)
        assert tested.last_error == "401: no such token"
        assert not tested.up
        tested.poll()
        while tested.state == "parked":
            await asyncio.sleep(0.005)
        stop.set()


async def test_a_paused_feed_receives_nothing_until_it_is_resumed() -> None:
    starts: list[int] = []

    async def listen(link: Link) -> None:
        link.alive()
        starts.append(1)
        await asyncio.Event().wait()

    tested = await feed(listen, listen)
    stop = asyncio.Event()
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        group.create_task(tested.run(stop))
        while len(starts) < 1:
            await asyncio.sleep(0.005)
        tested.pause()
        assert tested.state == "paused"
        for _ in range(10):
            await asyncio.sleep(0)
        assert len(starts) == 1
        tested.resume()
        while len(starts) < 2:
            await asyncio.sleep(0.005)
        stop.set()
    assert tested.reconnects == 0


async def test_a_feed_may_be_paused_whatever_it_does_and_twice() -> None:
    starts: list[int] = []
    leaving = asyncio.Event()

    async def listen(link: Link) -> None:
        starts.append(1)
        if len(starts) == 1:
            raise SourceLost("closed")
        if len(starts) == 2:
            try:
                await asyncio.Event().wait()
            finally:
                await leaving.wait()

    tested = await feed(listen, listen, listen)
    stop = asyncio.Event()
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        group.create_task(tested.run(stop))
        while tested.state != "reconnecting":
            await asyncio.sleep(0.005)
        tested.pause()
        tested.resume()
        tested.poll()
        while len(starts) < 2:
            await asyncio.sleep(0.005)
        tested.pause()
        for _ in range(10):
            await asyncio.sleep(0)
        tested.pause()
        leaving.set()
        tested.resume()
        while tested.state != "ended":
            await asyncio.sleep(0.005)
        tested.pause()
        stop.set()
    assert len(starts) == 3


def test_delays_double_up_to_the_ceiling_and_never_spin() -> None:
    backoff = Backoff(floor=0.5, ceiling=8)
    delays = [backoff.next() for _ in range(200)]
    assert min(delays) >= 0.05
    assert max(delays) <= 8
    assert max(delays[:1]) <= 0.5
    assert max(delays) > 4
    backoff.reset()
    assert backoff.next() <= 0.5
