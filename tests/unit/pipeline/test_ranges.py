from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest
from aiohttp import web

from service.config.settings import Provider as ProviderSettings
from service.errors import SourceLost
from service.model import Position
from service.pipeline.backfill import by_spans
from service.pipeline.extent import SpanExtent
from service.provider import Provider
from tests.collector import Collector, configured
from tests.site import Asked, Site

FEED = {
    "kind": "rest",
    "path": "/matches",
    "params": {"league": "1"},
    "paginate": {"kind": "cursor", "next": "next", "param": "page"},
    "range": {"since": "from", "until": "to", "format": "date"},
    "records": "rows",
    "conditional": True,
}
SINCE, UNTIL = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 4, tzinfo=UTC)
DAY = 86400.0


def pages(asked: Asked) -> web.Response:
    """Two pages a day."""
    page = asked.query.get("page")
    return web.json_response({"rows": [{"day": asked.query["from"], "page": page}], "next": None if page else "2"})


async def run(site: Site, position: Position | None = None, step: float | None = DAY) -> Collector:
    feed, settings = configured(FEED, url=site.url)
    return await _run(by_spans(feed, SINCE, UNTIL, step), settings, position)


async def _run(source: Any, settings: ProviderSettings, position: Position | None) -> Collector:
    async with Provider("test", settings) as provider:
        link = Collector(provider, position)
        await source.run(link)
        return link


async def test_a_range_is_asked_for_span_by_span() -> None:
    async with Site(pages) as site:
        await run(site)
    asked = [(each.query["from"], each.query["to"], each.query.get("page")) for each in site.asked]
    days = ["2026-01-01", "2026-01-02", "2026-01-03", "2026-01-04"]
    assert asked == [(start, end, page) for start, end in pairwise(days) for page in (None, "2")]
    assert {each.query["league"] for each in site.asked} == {"1"}


async def test_without_a_step_it_is_asked_for_at_once() -> None:
    async with Site(pages) as site:
        await run(site, step=None)
    assert [(each.query["from"], each.query["to"]) for each in site.asked] == [("2026-01-01", "2026-01-04")] * 2


async def test_it_goes_on_at_the_page_where_it_stood() -> None:
    async with Site(pages) as site:
        link = await run(site)
    every = [(each.query["from"], each.query.get("page")) for each in site.asked]
    for number, message in enumerate(link.messages, 1):
        async with Site(pages) as again:
            await run(again, message.position)
        assert [(each.query["from"], each.query.get("page")) for each in again.asked] == every[number:]


async def test_each_row_is_asked_for_each_span_and_it_goes_on_with_the_rows_that_are_left() -> None:
    each = {"path": "/matches/{id}", "for_each": {"table": "t", "concurrency": 1}}

    async def asked(position: Position | None) -> tuple[Collector, list[tuple[str, str, str | None]]]:
        async with Site(pages) as site:
            feed, settings = configured({**FEED, **each}, url=site.url)
            async with Provider("test", settings) as provider:
                link = Collector(provider, position)
                link.parents = [{"id": "a"}, {"id": "b"}, {"id": "c"}]
                await by_spans(feed, SINCE, UNTIL, DAY).run(link)
        return link, [(each.query["from"], each.path[-1], each.query.get("page")) for each in site.asked]

    link, every = await asked(None)
    assert len(every) == 3 * 3 * 2
    for number, message in enumerate(link.messages, 1):
        _, rest = await asked(message.position)
        assert sorted(rest, key=str) == sorted(every[number:], key=str)


async def test_how_much_is_done_is_told_by_the_position() -> None:
    async with Site(pages) as site:
        link = await run(site)
    extent = SpanExtent(SINCE, UNTIL)
    assert extent.total == 3 * DAY
    assert [extent.done(position) for position in (None, *(message.position for message in link.messages))] == [
        0, 0, DAY, DAY, 2 * DAY, 2 * DAY, 3 * DAY,
    ]  # fmt: skip


async def test_a_span_that_failed_is_asked_for_again() -> None:
    async with Site(lambda _asked: web.Response(body=b'{"rows": [')) as site:
        feed, settings = configured(FEED, url=site.url)
        async with Provider("test", settings) as provider:
            link = Collector(provider)
            with pytest.raises(SourceLost, match="not JSON"):
                await by_spans(feed, SINCE, UNTIL, DAY).run(link)
    (broken,) = link.messages
    async with Site(pages) as site:
        await run(site, broken.position)
    assert site.asked[0].query["from"] == "2026-01-01"


def test_a_feed_must_have_the_parameters_for_it() -> None:
    feed, _ = configured({"kind": "rest", "incremental": {"field": "at", "param": "updatedSince"}})
    assert by_spans(feed, SINCE, None, None).rest is feed
    with pytest.raises(ValueError, match="no parameter for the end"):
        by_spans(feed, SINCE, UNTIL, None)
    with pytest.raises(ValueError, match="only a rest feed"):
        by_spans(configured({"kind": "rest"})[0], SINCE, None, None)
    with pytest.raises(ValueError, match="only a rest feed"):
        by_spans(configured({"kind": "websocket"})[0], SINCE, None, None)
