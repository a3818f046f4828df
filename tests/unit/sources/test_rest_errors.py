"""What a poll makes of answers that are no data: rules, web pages, pages of a walk that cannot be had."""

import asyncio
from typing import Any

import pytest
from aiohttp import web
from pydantic import ValidationError

from service.errors import PageInstead, SourceLost, SourceRefused, WalkRefused
from tests.collector import configured, polling, running
from tests.site import Asked, Site

CURSOR = {"kind": "cursor", "next": "next", "param": "after"}
PAGED = {"paginate": CURSOR, "records": "data"}
PAGE = "<!DOCTYPE html><html><body>We will be back soon</body></html>"


def page(asked: Asked, last: int) -> web.Response:
    number = int(asked.query.get("after", "0"))
    return web.json_response({"data": [{"n": number, "at": number}], "next": number + 1 if number < last else None})


async def test_an_ignored_answer_is_a_poll_without_news() -> None:
    def missing(asked: Asked) -> web.Response:
        return web.Response(status=404) if asked.number == 0 else web.json_response([1])

    rules = {"errors": [{"status": 404, "action": "ignore"}]}
    async with Site(missing) as site, polling(site, rules) as (source, link), running(source, link):
        await link.until(lambda: len(link.polls) == 1)
        assert (link.messages, link.lives) == ([], 1)
        link.poll()
        await link.until(lambda: len(link.polls) == 2)
    assert link.bodies == [b"[1]"]


async def test_an_ignored_page_leaves_the_cursor_where_it_was() -> None:
    def failing(asked: Asked) -> web.Response:
        return web.Response(status=404) if asked.number == 1 else page(asked, last=2)

    feed = {**PAGED, "incremental": {"field": "at", "param": "since"}, "errors": [{"status": 404, "action": "ignore"}]}
    async with Site(failing) as site, polling(site, feed) as (source, link), running(source, link):
        for polls in (1, 2):
            await link.until(lambda polls=polls: len(link.polls) == polls)  # type: ignore[misc]
            link.poll()
    assert [dict(asked.query) for asked in site.asked] == [{}, {"after": "1"}, {}, {"after": "1"}, {"after": "2"}]


async def test_a_rule_looks_into_an_answer_that_says_that_all_is_well() -> None:
    def limited(_asked: Asked) -> web.Response:
        return web.json_response({"error": "quota exceeded"}, headers={"Retry-After": "100"})

    rules = {"errors": [{"when": "has(body.error)", "action": "rate_limited"}]}
    async with Site(limited) as site, polling(site, rules) as (source, link):
        with pytest.raises(SourceLost, match=r"200.*quota") as lost:
            await source.run(link)
        with pytest.raises(SourceLost, match="used up"):
            await source.run(link)
    assert lost.value.retry_after == pytest.approx(100, abs=2)
    assert (len(site.asked), link.messages) == (1, [])


async def test_a_rule_may_park_the_feed_or_let_it_try_again() -> None:
    async with Site(lambda asked: web.Response(status=[503, 400][asked.number])) as site:
        rules = {"errors": [{"status": "5xx", "action": "fail"}, {"status": 400, "action": "retry"}]}
        async with polling(site, rules) as (source, link):
            with pytest.raises(SourceRefused, match="503"):
                await source.run(link)
            with pytest.raises(SourceLost, match="400"):
                await source.run(link)


async def test_a_walk_that_a_rule_resets_starts_from_its_first_page_once() -> None:
    def expiring(asked: Asked) -> web.Response:
        return web.Response(status=400, text="cursor expired") if asked.number == 1 else page(asked, last=1)

    feed = {**PAGED, "errors": [{"text": "cursor expired", "action": "reset_pagination"}]}
    async with Site(expiring) as site, polling(site, feed) as (source, link), running(source, link):
        await link.until(lambda: len(link.polls) == 1)
    assert [asked.query.get("after") for asked in site.asked] == [None, "1", None, "1"]


async def test_a_walk_that_is_reset_for_ever_is_a_refusal() -> None:
    feed = {**PAGED, "errors": [{"status": 400, "action": "reset_pagination"}]}
    async with Site(lambda _asked: web.Response(status=400)) as site, polling(site, feed) as (source, link):
        with pytest.raises(WalkRefused):
            await source.run(link)
    assert len(site.asked) == 2


@pytest.mark.parametrize("feed", [{}, PAGED])
async def test_a_web_page_with_status_200_is_kept_once_and_is_no_data(feed: dict[str, Any]) -> None:
    async with (
        Site(lambda _asked: web.Response(text=PAGE, content_type="application/json")) as site,
        polling(site, feed) as (source, link),
    ):
        for _ in range(2):
            with pytest.raises(PageInstead, match=r"web page in place of data.*back soon"):
                await source.run(link)
    assert link.bodies == [PAGE.encode()]
    assert "web page" in (link.messages[0].meta or {})["refused"]


async def test_a_token_that_a_rule_finds_expired_is_fetched_anew() -> None:
    tokens = 0

    def unusual(asked: Asked) -> web.Response:
        nonlocal tokens
        if asked.path == "/token":
            tokens += 1
            return web.json_response({"access_token": f"token-{tokens}"})
        good = asked.headers["Authorization"] == "Bearer token-2"
        return web.json_response([1] if good else {"error": "expired token-1"})

    async with Site(unusual) as site:
        auth = {"kind": "login", "url": f"{site.url}/token", "token": "access_token"}
        rules = {"errors": [{"text": "expired", "action": "refresh_token"}]}
        async with polling(site, rules, auth=auth) as (source, link):
            with pytest.raises(SourceLost, match="a new token is fetched") as lost:
                await source.run(link)
            async with running(source, link):
                await link.until(lambda: len(link.polls) == 1)
    assert link.bodies == [b"[1]"]
    assert "token-1" not in lost.value.reason


async def test_a_slow_poll_is_never_joined_by_the_next() -> None:
    open_now, most = 0, 0

    async def slow(_asked: Asked) -> web.Response:
        nonlocal open_now, most
        open_now += 1
        most = max(most, open_now)
        await asyncio.sleep(0.05)
        open_now -= 1
        return web.json_response([_asked.number])

    async with Site(slow) as site, polling(site, {"every": "10ms"}) as (source, link), running(source, link):
        await link.until(lambda: len(link.messages) == 4)
    assert most == 1


async def test_the_weight_of_a_feed_counts_against_the_budget() -> None:
    feed = {"every": "1ms", "weight": 5}
    async with (
        Site(lambda asked: web.json_response([asked.number])) as site,
        polling(site, feed, rate_limit=["10/s", "1000/h"]) as (source, link),
        running(source, link),
    ):
        await link.until(lambda: len(link.messages) == 3)
    moments = [asked.at for asked in site.asked]
    assert moments[2] - moments[0] >= 0.99


@pytest.mark.parametrize(
    ("rule", "problem"),
    [
        ({"action": "ignore"}, "needs a condition"),
        ({"status": 99, "action": "ignore"}, "no status"),
        ({"status": "4x", "action": "ignore"}, "no status"),
        ({"status": 404, "action": "skip"}, "ignore"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(rule: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        configured({"kind": "rest", "errors": [rule]}, url="https://a.example")


@pytest.mark.parametrize(
    ("feed", "problem"),
    [
        ({"cron": "* * * *"}, "not a cron expression"),
        ({"cron": "0 0 30 2 *"}, "not a cron expression"),
        ({"cron": "0 6 * * *", "every": "1h"}, "either `every`"),
        ({"every": "2d", "timezone": "UTC"}, "at most a day"),
        ({"timezone": "Mars/Olympus"}, "no time zone"),
        ({"timezone": "../etc"}, "no time zone"),
        ({"weight": 0}, "greater than"),
    ],
)
def test_a_schedule_that_makes_no_sense_is_refused(feed: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        configured({"kind": "rest", **feed}, url="https://a.example")
