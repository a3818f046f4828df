"""One call for each row: where values go, what one row's failure costs, and where the feed stands in between."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from aiohttp import web
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError
from yarl import URL

from service.errors import SourceLost, SourceRefused
from service.provider.binding import in_path
from service.provider.rounds import LOST_IN_A_ROW, POSITION_BYTES, POSITION_RATE
from tests.collector import Collector, configured, polling, running
from tests.site import Asked, Site

EACH = {"table": "matches", "concurrency": 1}
FEED = {"for_each": EACH, "path": "/matches/{id}/events"}
CURSOR = {"kind": "cursor", "next": "next", "param": "after"}
INCREMENTAL = {"field": "at", "param": "since"}


def answer(document: Any, **headers: str) -> web.Response:
    return web.Response(body=orjson.dumps(document), content_type="application/json", headers=headers)


def rows(*ids: Any) -> list[dict[str, Any]]:
    return [{"id": each} for each in ids]


def asked_for(site: Site) -> list[str]:
    return [asked.path.split("/")[2] for asked in site.asked]


async def polls(site: Site, count: int, parents: list[dict[str, Any]], feed: dict[str, Any] | None = None) -> Collector:
    """Let a feed go through so many rounds."""
    async with polling(site, {**FEED, **(feed or {})}) as (source, link):
        link.parents = parents
        async with running(source, link):
            for number in range(1, count + 1):
                await link.until(lambda wanted=number: len(link.polls) == wanted)  # type: ignore[misc]
                link.poll()
    return link


async def once(
    site: Site,
    parents: list[dict[str, Any]],
    feed: dict[str, Any] | None = None,
    position: dict[str, Any] | None = None,
    **settings: Any,
) -> Collector:
    """Let a feed go through one round."""
    async with polling(site, {**FEED, **(feed or {})}, position, **settings) as (source, link):
        link.parents = parents
        async with running(source, link):
            await link.until(lambda: len(link.polls) == 1)
    return link


async def test_each_row_is_a_call_and_the_map_knows_the_row() -> None:
    async with Site(lambda asked: answer([asked.number])) as site:
        link = await once(site, rows("a", "b"))
    assert asked_for(site) == ["a", "b"]
    assert link.bodies == [b"[0]", b"[1]"]
    assert [(message.meta or {})["params"] for message in link.messages] == [{"id": "a"}, {"id": "b"}]


async def test_values_go_into_parameters_headers_and_body() -> None:
    feed = {
        "path": "/find",
        "method": "POST",
        "params": {"match": "{id}", "live": True, "page": 1},
        "headers": {"X-Match": "m-{id}"},
        "body": {"id": "{id}", "text": "match {id}", "more": [{"flag": "{flag}"}, 3]},
    }
    async with Site(lambda _asked: answer([])) as site:
        link = await once(site, [{"id": 7, "flag": True}], feed)
    (asked,) = site.asked
    assert dict(asked.query) == {"match": "7", "live": "true", "page": "1"}
    assert asked.headers["X-Match"] == "m-7"
    assert orjson.loads(asked.body) == {"id": 7, "text": "match 7", "more": [{"flag": True}, 3]}
    assert (link.messages[0].meta or {})["params"]["flag"] == "true"


ODD = [
    "../../admin",
    "//evil.example/x",
    "a/b",
    "?x=1",
    "#x",
    "a b",
    "%2F",
    "@evil.example",
    "é☃",
    "a\\b",
    "a;b=1",
    "+",
]


@pytest.mark.parametrize("value", ODD)
async def test_a_value_stays_one_segment_of_the_path_and_one_parameter(value: str) -> None:
    feed = {"path": "/matches/{id}/events?also={id}", "params": {"match": "{id}"}}
    async with Site(lambda _asked: answer([])) as site:
        await once(site, rows(value), feed)
    (asked,) = site.asked
    _, first, segment, last = asked.target.partition("?")[0].split("/")
    assert (first, URL(f"http://h/{segment}").name if segment else "", last) == ("matches", value, "events")
    assert dict(asked.query) == {"also": value, "match": value}


@given(st.text(min_size=1).filter(lambda text: text not in {".", ".."}))
@example("..\\..")
@example("http://evil.example")
def test_whatever_the_value_the_address_is_the_same_but_for_one_segment(value: str) -> None:
    try:
        path = in_path("/matches/{id}/events", {"id": value})
    except UnicodeEncodeError:
        return  # half a surrogate pair: no text that Postgres holds
    url = URL("https://acme.example/v4").join(URL(str(path)))
    assert (url.host, url.scheme, url.query_string, url.fragment) == ("acme.example", "https", "", "")
    assert [part for part in url.raw_path.split("/") if part][::2] == ["matches", "events"]
    assert url.parts == ("/", "matches", value, "events")


@pytest.mark.parametrize("value", ["", ".", ".."])
async def test_a_value_that_is_no_segment_is_set_aside_and_the_others_go_on(value: str) -> None:
    async with Site(lambda _asked: answer([])) as site:
        link = await once(site, rows(value, "b"))
    assert asked_for(site) == ["b"]
    assert link.tracked is not None
    assert link.tracked.counts() == {"all": 2, "refused": 1}
    assert "no segment" in link.tracked.troubles()[value]


async def test_a_header_that_would_be_two_is_not_sent() -> None:
    async with Site(lambda _asked: answer([])) as site:
        link = await once(site, rows("x\r\nX-Evil: 1", "b"), {"path": "/x", "headers": {"X-Match": "{id}"}})
    assert [asked.headers["X-Match"] for asked in site.asked] == ["b"]
    assert link.tracked is not None
    assert link.tracked.counts()["refused"] == 1


async def test_calls_go_side_by_side_but_no_more_than_allowed() -> None:
    present = most = 0

    async def slow(_asked: Asked) -> web.Response:
        nonlocal present, most
        present += 1
        most = max(most, present)
        if present == 3:
            full.set()
        await full.wait()
        present -= 1
        return answer([])

    full = asyncio.Event()
    async with Site(slow) as site:
        link = await once(site, rows(*range(20)), {"for_each": {**EACH, "concurrency": 3}})
    assert len(link.messages) == 20
    assert most == 3


@pytest.mark.parametrize("status", [404, 410])
async def test_a_row_that_the_provider_does_not_know_costs_only_itself(status: int) -> None:
    def known(asked: Asked) -> web.Response:
        return web.Response(status=status) if "/b/" in asked.path else answer([asked.number])

    async with Site(known) as site:
        link = await polls(site, 2, rows("a", "b", "c"))
    assert asked_for(site) == ["a", "b", "c"] * 2
    assert len(link.bodies) == 4
    assert link.tracked is not None
    assert link.tracked.counts() == {"all": 3, "missing": 1}
    assert str(status) in link.tracked.troubles()["b"]


async def test_rows_whose_answer_a_rule_ignores_are_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    rule = {"errors": [{"status": 404, "action": "ignore"}]}
    async with Site(lambda _asked: web.Response(status=404)) as site:
        link = await polls(site, 3, rows("a"), rule)
    assert link.tracked is not None
    assert link.tracked.counts() == {"all": 1}
    assert capsys.readouterr().out.count("answer ignored") == 1


async def test_nothing_but_unknown_rows_does_not_park_the_feed() -> None:
    async with Site(lambda _asked: web.Response(status=404)) as site:
        link = await once(site, rows("a", "b"))
    assert link.lives == 2


async def test_a_rule_about_404_parks_only_what_all_rows_meet() -> None:
    rule = {"errors": [{"status": 404, "action": "fail"}]}
    async with (
        Site(lambda _asked: web.Response(status=404)) as site,
        polling(site, {**FEED, **rule}) as (source, link),
    ):
        link.parents = rows("a", "b")
        with pytest.raises(SourceRefused, match="404"):
            await source.run(link)


async def test_a_lost_row_is_tried_again_alone() -> None:
    lost = [True, True]

    def failing(asked: Asked) -> web.Response:
        if "/b/" in asked.path and lost:
            lost.pop()
            return web.Response(status=500)
        return answer([asked.number])

    async with Site(failing) as site, polling(site, FEED) as (source, link):
        link.parents = rows("a", "b", "c")
        async with running(source, link):
            await link.until(lambda: len(link.messages) == 3)
    assert asked_for(site) == ["a", "b", "c", "b", "b"]
    assert link.position == {"items": {}}


async def test_many_lost_rows_in_a_row_are_the_providers_fault() -> None:
    def failing(asked: Asked) -> web.Response:
        return answer([]) if asked.number < 2 else web.Response(status=503)

    async with Site(failing) as site, polling(site, FEED) as (source, link):
        link.parents = rows(*range(100))
        with pytest.raises(SourceLost, match="503"):
            await source.run(link)
        assert len(site.asked) == 2 + LOST_IN_A_ROW


async def test_a_few_rows_that_are_always_lost_keep_no_other_from_its_turn() -> None:
    bad = {str(number) for number in range(5, 30)}

    def failing(asked: Asked) -> web.Response:
        return web.Response(status=500) if asked.path.split("/")[2] in bad else answer([asked.number])

    async with Site(failing) as site, polling(site, FEED) as (source, link):
        link.parents = rows(*range(60))
        for _ in range(50):
            with pytest.raises(SourceLost):
                async with asyncio.timeout(20):
                    await source.run(link)
            if len(link.messages) == 35:
                break
    assert {str((message.meta or {})["params"]["id"]) for message in link.messages} == {
        str(number) for number in range(60)
    } - bad


async def test_a_provider_that_is_away_is_a_source_lost_and_those_that_were_done_are_not_asked_again() -> None:
    def failing(asked: Asked) -> web.Response:
        return web.Response(status=503) if 3 <= asked.number < 3 + LOST_IN_A_ROW else answer([asked.number])

    async with Site(failing) as site, polling(site, FEED) as (source, link):
        link.parents = rows(*range(20))
        with pytest.raises(SourceLost):
            await source.run(link)
        async with running(source, link):
            await link.until(lambda: len(link.messages) == 20)
    assert asked_for(site)[:3] == ["0", "1", "2"]
    assert not {"0", "1", "2"} & set(asked_for(site)[3 : 13 + 17])


async def test_a_token_that_is_refused_parks_the_feed() -> None:
    async with (
        Site(lambda _asked: web.Response(status=401)) as site,
        polling(site, FEED) as (source, link),
    ):
        link.parents = rows("a", "b", "c")
        with pytest.raises(SourceRefused, match="401"):
            await source.run(link)
        assert len(site.asked) == 1


async def test_after_a_crash_amid_the_rows_only_those_that_are_left_are_asked_for() -> None:
    parents = rows(*range(50))
    async with Site(lambda asked: answer([asked.path])) as site:
        whole = await once(site, parents)
        for kept in (0, 20, 48, 49):
            position = whole.messages[kept].position
            site.asked.clear()
            async with polling(site, FEED, position) as (source, link):
                link.parents = parents
                async with running(source, link):
                    await link.until(lambda link=link: len(link.polls) == 1)  # type: ignore[misc]
            first = [int(each) for each in asked_for(site)[: 50 if kept == 49 else 49 - kept]]
            assert sorted(first) == (list(range(50)) if kept == 49 else list(range(kept + 1, 50)))
            # A round that began in an earlier run says nothing of now: a whole one follows at once.
            assert len(site.asked) == (50 if kept == 49 else 49 - kept + 50)


async def test_each_row_has_a_cursor_of_its_own() -> None:
    newest = {"a": 10, "b": 20}
    async with Site(lambda asked: answer([{"at": newest[asked.path.split("/")[2]]}])) as site:
        link = await polls(site, 2, rows("a", "b"), {"incremental": INCREMENTAL})
    assert [(path, asked.query.get("since")) for path, asked in zip(asked_for(site), site.asked, strict=True)] == [
        ("a", None),
        ("b", None),
        ("a", "10"),
        ("b", "20"),
    ]
    assert link.position == {"items": {"a": {"cursor": 10}, "b": {"cursor": 20}}}


async def test_the_cursor_of_a_row_that_is_gone_is_forgotten() -> None:
    async with (
        Site(lambda asked: answer([{"at": asked.number}])) as site,
        polling(site, {**FEED, "incremental": INCREMENTAL}) as (source, link),
    ):
        link.parents = rows("a", "b")
        async with running(source, link):
            await link.until(lambda: len(link.polls) == 1)
            link.parents = rows("b", "c")
            link.poll()
            await link.until(lambda: len(link.polls) == 2)
    assert link.position == {"items": {"b": {"cursor": 2}, "c": {"cursor": 3}}}


async def test_pages_of_a_row_are_walked_and_resumed_within_it() -> None:
    def paged(asked: Asked) -> web.Response:
        number = int(asked.query.get("after", "0"))
        if asked.number == 4:
            return web.Response(status=500)
        return answer({"data": [asked.path, number], "next": number + 1 if number < 2 else None})

    async with Site(paged) as site:
        link = await once(site, rows("a", "b"), {"paginate": CURSOR, "records": "data"})
        assert [(each, asked.query.get("after")) for each, asked in zip(asked_for(site), site.asked, strict=True)][
            :5
        ] == [("a", None), ("a", "1"), ("a", "2"), ("b", None), ("b", "1")]
        position = link.messages[3].position
        assert position == {"items": {"b": {"walk": {"params": {"after": 1}, "number": 1}}}, "round": ["a"]}
        site.asked.clear()
        async with polling(site, {**FEED, "paginate": CURSOR, "records": "data"}, position) as (source, again):
            again.parents = rows("a", "b")
            async with running(source, again):
                await again.until(lambda: len(again.messages) >= 2)
    assert [(each, asked.query.get("after")) for each, asked in zip(asked_for(site), site.asked, strict=True)][:2] == [
        ("b", "1"),
        ("b", "2"),
    ]


async def test_an_answer_that_did_not_change_is_not_handed_on_again() -> None:
    def conditional(asked: Asked) -> web.Response:
        if asked.path.startswith("/matches/a"):
            same = asked.headers.get("If-None-Match") == '"a"'
            return web.Response(status=304) if same else answer([1], ETag='"a"')
        return answer([2])

    async with Site(conditional) as site:
        link = await polls(site, 3, rows("a", "b"))
    assert len(site.asked) == 6
    assert link.bodies == [b"[1]", b"[2]"]


async def test_what_did_not_change_is_known_after_an_outage_too() -> None:
    away = False

    def failing(_asked: Asked) -> web.Response:
        return web.Response(status=503) if away else answer([1])

    async with Site(failing) as site, polling(site, FEED) as (source, link):
        link.parents = rows("a", "b")
        async with running(source, link):
            await link.until(lambda: len(link.polls) == 1)
        away = True
        with pytest.raises(SourceLost):
            await source.run(link)
        away = False
        async with running(source, link):
            await link.until(lambda: len(link.polls) == 2)
    assert len(link.messages) == 2


async def test_no_rows_are_no_calls_and_are_looked_at_again_before_long() -> None:
    async with Site(lambda _asked: answer([])) as site:
        link = await once(site, [])
    assert not site.asked
    assert link.lives == 1
    assert link.polls[0] - time.time() < 60  # `every` is an hour


async def test_a_large_position_goes_no_more_often_than_its_size_allows() -> None:
    parents = rows(*(f"{number:030}" for number in range(3000)))
    async with Site(lambda asked: answer([{"at": asked.number, "text": "x" * 500}])) as site:
        feed = {"incremental": INCREMENTAL, "for_each": {**EACH, "concurrency": 20}}
        began = time.monotonic()
        link = await once(site, parents, feed)
        seconds = time.monotonic() - began
    positions = [message.position for message in link.messages if message.position is not None]
    assert 5 < len(positions) < 1500
    assert (
        sum(len(orjson.dumps(position)) for position in positions) < 400 * POSITION_BYTES + 2 * POSITION_RATE * seconds
    )
    assert len((link.position or {})["items"]) == 3000
    assert "round" not in (link.position or {})


async def test_a_crash_amid_many_rows_with_short_answers_does_not_start_the_round_anew() -> None:
    async def short(_asked: Asked) -> web.Response:
        await asyncio.sleep(0.002)
        return answer([1])

    async with Site(short) as site:
        link = await once(site, rows(*range(600)))
    kept = [message.position for message in link.messages if message.position is not None]
    rounds = [len(position["round"]) for position in kept if "round" in position]
    assert rounds[-1] > 400  # by size alone no position would follow the first 256


@pytest.mark.parametrize(
    "target",
    [
        lambda other: web.Response(status=302, headers={"Location": f"{other}/x"}),
        lambda other: answer({"data": [1], "next": f"{other}/p2"}),
    ],
    ids=["redirect", "next link"],
)
async def test_no_call_tells_another_origin_who_we_are(target: Callable[[str], web.Response]) -> None:
    key = "k3y-of-the-realm"
    feed = {
        "paginate": {"kind": "next_url", "next": "next"},
        "records": "data",
        "headers": {"X-Feed": key, "X-Match": "{id}"},
        "params": {"key": key},
    }
    async with Site(lambda _asked: answer({"data": [2]})) as other, Site(lambda _asked: target(other.url)) as site:
        await once(
            site, rows(f"@{other.url[7:]}/x", f"//{other.url[7:]}/y", other.url), feed,
            auth={"kind": "bearer", "token": key}, headers={"X-Provider": key},
        )  # fmt: skip
    assert [asked.headers["Authorization"] for asked in site.asked] == [f"Bearer {key}"] * 3
    assert len(other.asked) == 3  # led there by the provider, never by a value
    assert all(key not in str((asked.headers, asked.target, asked.body)) for asked in other.asked)
    assert all("X-Match" not in asked.headers for asked in other.asked)


@pytest.mark.parametrize("value", ODD)
async def test_no_value_makes_a_call_of_an_address_of_its_own_leave_its_origin(value: str) -> None:
    async with Site(lambda _asked: answer([])) as site:
        feed = {"for_each": EACH, "url": f"{site.url}/m/{{id}}", "path": ""}
        await once(site, rows(value), feed, url="http://127.0.0.1:1", auth={"kind": "bearer", "token": "k3y"})
    assert [asked.headers["Authorization"] for asked in site.asked] == ["Bearer k3y"]
    assert site.asked[0].target.startswith("/m/")


@pytest.mark.parametrize(
    ("feed", "problem"),
    [
        ({"for_each": {"table": "t", "sql": "select 1"}}, "either from"),
        ({"for_each": {}}, "either from"),
        ({"for_each": {"sql": "select 1", "where": "x"}}, "into the `sql`"),
        ({"for_each": {"table": "t", "concurrency": 0}}, "greater than"),
        ({"for_each": {"table": "t"}, "absent": "delete"}, "one full set"),
    ],
)
def test_settings_that_make_no_sense_are_refused(feed: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        configured({"kind": "rest", "path": "/{id}", **feed}, url="https://b.example")


async def test_a_feed_that_calls_for_rows_no_more_does_not_carry_them_on() -> None:
    position = {"items": {"a": {"cursor": 1}}, "round": ["a"]}
    async with Site(lambda _asked: answer([{"at": 5}])) as site:
        link = await once(site, [], {"for_each": None, "path": "/x", "incremental": INCREMENTAL}, position)
    assert {*(link.position or {})} == {"cursor", "answer"}


async def test_the_newest_position_knows_all_rows_that_were_handed_on_before_it() -> None:
    answered, over = asyncio.Event(), asyncio.Event()
    present = 0

    async def meeting(asked: Asked) -> web.Response:
        nonlocal present
        if "/c/" in asked.path:
            await over.wait()
        present += 1
        if present == 2:
            answered.set()
        return answer([asked.path])

    async with Site(meeting) as site, polling(site, {**FEED, "for_each": {**EACH, "concurrency": 3}}) as (source, link):
        link.parents = rows("a", "b", "c")
        link.room.clear()
        async with running(source, link):
            await answered.wait()
            await link.until(lambda: link.emitting > 0)
            link.room.set()
            await link.until(lambda: len(link.messages) == 2)
            assert (link.position or {})["round"] == ["a", "b"]
            over.set()
            await link.until(lambda: len(link.messages) == 3)
            assert link.position == {"items": {}}


async def test_a_round_that_is_resumed_ends_though_rows_left_the_list_meanwhile() -> None:
    position = {"items": {}, "round": ["a", "b"]}
    async with Site(lambda asked: answer([asked.number])) as site:
        link = await once(site, rows("b", "c"), position=position)
    assert asked_for(site) == ["c", "b", "c"]
    assert [message.position for message in link.messages] == [
        {"items": {}},
        {"items": {}, "round": ["b"]},
        {"items": {}},
    ]
