"""When a rest feed polls: the pace of its provider, and its own."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any

from aiohttp import web

from service.config.settings import Provider as ProviderSettings
from service.provider import Provider
from service.sources import Source
from tests.collector import FEED, Collector, configured, running
from tests.site import Asked, Site


def answer(number: int) -> web.Response:
    return web.json_response([number])


@contextlib.asynccontextmanager
async def polling(site: Site, **feed: Any) -> AsyncIterator[tuple[Source, Collector]]:
    source, settings = configured({"kind": "rest", **feed}, url=site.url)
    async with Provider("test", settings) as provider:
        yield source, Collector(provider)


async def test_two_feeds_share_the_pace_of_their_provider() -> None:
    async with Site(lambda asked: answer(asked.number)) as site:
        feeds = {name: {**FEED, "kind": "rest", "path": name, "every": "10ms"} for name in ("one", "two")}
        settings = ProviderSettings.model_validate({"url": site.url, "rate_limit": "5/s", "feeds": feeds})
        async with Provider("test", settings) as provider:
            links = [Collector(provider), Collector(provider)]
            sources: list[Any] = list(settings.feeds.values())
            async with running(sources[0], links[0]), running(sources[1], links[1]):
                for link in links:
                    await link.until(lambda link=link: len(link.messages) >= 5)  # type: ignore[misc]
    moments = [asked.at for asked in site.asked]
    assert all(later - earlier >= 1 for earlier, later in zip(moments, moments[5:], strict=False))


async def test_polls_are_counted_from_when_they_were_due() -> None:
    async def slow(asked: Asked) -> web.Response:
        await asyncio.sleep(0.1)
        return answer(asked.number)

    async with Site(slow) as site, polling(site, every="200ms") as (source, link), running(source, link):
        started = time.time()
        await link.until(lambda: len(link.polls) == 5)
    late = [moment - started - 0.2 * number for number, moment in enumerate(link.polls, 1)]
    assert all(-0.05 < lateness < 0.1 for lateness in late), late


async def test_a_poll_that_takes_long_is_followed_by_one_not_by_a_burst() -> None:
    async def slow_once(asked: Asked) -> web.Response:
        await asyncio.sleep(0.5 if asked.number == 0 else 0)
        return answer(asked.number)

    async with Site(slow_once) as site, polling(site, every="100ms") as (source, link), running(source, link):
        await link.until(lambda: len(link.polls) == 4)
    gaps = [later.at - earlier.at for earlier, later in zip(site.asked[1:], site.asked[2:], strict=False)]
    assert all(gap > 0.08 for gap in gaps), gaps


async def test_a_poll_asked_for_by_hand_begins_the_interval_anew() -> None:
    async with (
        Site(lambda asked: answer(asked.number)) as site,
        polling(site, every="1h") as (source, link),
        running(source, link),
    ):
        await link.until(lambda: len(link.polls) == 1)
        link.poll()
        await link.until(lambda: len(link.polls) == 2)
    assert len(site.asked) == 2
    in_an_hour = time.time() + 3600
    assert all(-10 < moment - in_an_hour < 3600 * 0.05 for moment in link.polls)
