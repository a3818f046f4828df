"""Polling: pages, cursors, what is unchanged, what is broken, and when the next poll is."""

import asyncio
import gzip
from typing import Any

import orjson
import pytest
from aiohttp import web
from pydantic import ValidationError

from service.errors import SourceLost, SourceRefused
from service.formats.auto import Auto
from tests.collector import Collector, configured, polling, running
from tests.site import Asked, Site

CURSOR = {"kind": "cursor", "next": "next", "param": "after"}
INCREMENTAL = {"field": "at", "param": "since"}


def answer(document: Any, **headers: str) -> web.Response:
    return web.Response(body=orjson.dumps(document), content_type="application/json", headers=headers)


def page(asked: Asked, *records: Any, last: int) -> web.Response:
    number = int(asked.query.get("after", "0"))
    return answer({"data": list(records), "next": number + 1 if number < last else None})


async def polls(site: Site, count: int, feed: dict[str, Any], **settings: Any) -> Collector:
    """Let a feed poll so many times."""
    async with polling(site, feed, **settings) as (source, link), running(source, link):
        for number in range(1, count + 1):
            await link.until(lambda wanted=number: len(link.polls) == wanted)  # type: ignore[misc]
            link.poll()
    return link


async def test_a_page_is_one_message_with_what_the_map_may_need() -> None:
    async with Site(lambda _asked: answer([{"n": 1}])) as site:
        link = await polls(site, 1, {"params": {"league": "PL", "live": True}})
    assert link.bodies == [b'[{"n":1}]']
    meta = dict(link.messages[0].meta or {})
    assert meta.pop("set")
    assert meta == {
        "content_type": "application/json",
        "params": {"league": "PL", "live": "true"},
        "page": 0,
        "last": True,
    }
    assert dict(site.asked[0].query) == {"league": "PL", "live": "true"}


async def test_a_post_sends_its_body_as_json() -> None:
    async with Site(lambda _asked: answer([])) as site:
        await polls(site, 1, {"method": "POST", "body": {"query": "live"}})
    asked = site.asked[0]
    assert (asked.method, asked.body, asked.headers["Content-Type"]) == (
        "POST",
        b'{"query":"live"}',
        "application/json",
    )


@pytest.mark.parametrize(
    ("paginate", "wanted"),
    [
        ({"kind": "page", "size": 2}, [{"page": "1"}, {"page": "2"}, {"page": "3"}]),
        ({"kind": "page"}, [{"page": "1"}, {"page": "2"}, {"page": "3"}, {"page": "4"}]),
        (
            {"kind": "offset", "limit": 2},
            [{"offset": "0", "limit": "2"}, {"offset": "2", "limit": "2"}, {"offset": "4", "limit": "2"}],
        ),
        ({"kind": "cursor", "next": "next"}, [{}, {"cursor": "1"}, {"cursor": "2"}]),
        ({"kind": "next_url", "next": "url"}, [{}, {"p": "1"}, {"p": "2"}]),
        ({"kind": "link"}, [{}, {"p": "1"}, {"p": "2"}]),
    ],
)
async def test_every_way_of_paging_reaches_the_last_page(
    paginate: dict[str, Any], wanted: list[dict[str, str]]
) -> None:
    items = list(range(5))

    def paged(asked: Asked) -> web.Response:
        some = items[asked.number * 2 : asked.number * 2 + 2]
        following = asked.number + 1 if asked.number < 2 else None
        body = {"data": some, "next": following, "url": f"?p={following}" if following else None}
        link = f'<?p={following}>; rel="next"' if following else '<?p=0>; rel="first"'
        return answer(body, Link=link)

    async with Site(paged) as site:
        link = await polls(site, 1, {"paginate": paginate, "records": "data"})
    assert [dict(asked.query) for asked in site.asked] == wanted
    assert [item for body in link.bodies for item in orjson.loads(body)["data"]] == items


async def test_pages_say_which_set_they_belong_to_and_only_the_last_that_it_is_the_last() -> None:
    async with Site(lambda asked: page(asked, asked.number, last=2)) as site:
        link = await polls(site, 2, {"paginate": CURSOR, "records": "data"})
    metas = [message.meta or {} for message in link.messages][:6]
    assert [(meta["page"], meta["last"]) for meta in metas] == [(0, False), (1, False), (2, True)] * 2
    assert [meta["set"] for meta in metas] == [metas[0]["set"]] * 3 + [metas[3]["set"]] * 3
    assert metas[0]["set"] != metas[3]["set"]


async def test_a_walk_that_is_cut_short_has_no_last_page() -> None:
    async with Site(lambda asked: page(asked, asked.query.get("after", "0"), last=9)) as site:
        link = await polls(site, 1, {"paginate": CURSOR, "records": "data", "max_pages": 2})
    assert [(message.meta or {})["last"] for message in link.messages] == [False, False]


async def test_a_walk_that_is_resumed_is_a_set_of_its_own() -> None:
    def failing(asked: Asked) -> web.Response:
        return web.Response(status=500) if asked.number == 2 else page(asked, asked.query.get("after", "0"), last=2)

    async with Site(failing) as site, polling(site, {"paginate": CURSOR, "records": "data"}) as (source, link):
        with pytest.raises(SourceLost):
            await source.run(link)
        async with running(source, link):
            await link.until(lambda: len(link.polls) == 1)
    metas = [message.meta or {} for message in link.messages]
    assert [meta["page"] for meta in metas] == [0, 1, 2]
    assert metas[0]["set"] == metas[1]["set"] or metas[1]["set"] == metas[2]["set"]
    assert len({meta["set"] for meta in metas}) == 2


async def test_a_walk_resumes_at_the_page_that_was_not_handed_on() -> None:
    def paged(asked: Asked) -> web.Response:
        return page(asked, {"n": int(asked.query.get("after", "0"))}, last=4)

    feed = {"paginate": CURSOR, "records": "data"}
    async with Site(paged) as site:
        for kept in range(5):
            first = await polls(site, 1, feed)
            site.asked.clear()
            position = first.messages[kept].position
            async with polling(site, feed, position) as (source, link), running(source, link):
                await link.until(lambda link=link: len(link.polls) == 1)  # type: ignore[misc]
            after = [orjson.loads(body)["data"][0]["n"] for body in link.bodies]
            assert after == (list(range(kept + 1, 5)) or list(range(5)))
            site.asked.clear()


async def test_a_walk_that_is_lost_resumes_at_the_same_page() -> None:
    def failing(asked: Asked) -> web.Response:
        if asked.number == 2:
            return web.Response(status=500)
        return page(asked, asked.query.get("after", "0"), last=3)

    async with Site(failing) as site, polling(site, {"paginate": CURSOR, "records": "data"}) as (source, link):
        with pytest.raises(SourceLost):
            await source.run(link)
        async with running(source, link):
            await link.until(lambda: len(link.polls) == 1)
    assert [orjson.loads(body)["data"] for body in link.bodies] == [["0"], ["1"], ["2"], ["3"]]


async def test_a_cursor_that_has_expired_starts_the_walk_anew() -> None:
    def forgetful(asked: Asked) -> web.Response:
        return web.Response(status=410) if asked.query.get("after") == "old" else page(asked, asked.number, last=1)

    position = {"walk": {"params": {"after": "old"}, "number": 7}, "cursor": 5, "high": 9}
    feed = {"paginate": CURSOR, "records": "data", "incremental": INCREMENTAL}
    async with Site(forgetful) as site, polling(site, feed, position) as (source, link), running(source, link):
        await link.until(lambda: len(link.polls) == 1)
    assert [(asked.query.get("after"), asked.query["since"]) for asked in site.asked] == [
        ("old", "5"),
        (None, "5"),
        ("1", "5"),
    ]
    assert (link.position or {})["cursor"] == 5


async def test_the_cursor_moves_only_when_the_walk_is_complete_and_reaches_back() -> None:
    moments = ["2026-03-01T12:00:00Z", "2026-03-01T12:30:00Z", "2026-03-01T11:00:00Z"]

    def unsorted(asked: Asked) -> web.Response:
        return page(asked, {"at": moments[int(asked.query.get("after", "0"))]}, last=2)

    feed = {
        "paginate": CURSOR,
        "records": "data",
        "incremental": {**INCREMENTAL, "start": "2026-01-01T00:00:00Z", "lookback": "5m"},
    }
    async with Site(unsorted) as site:
        link = await polls(site, 2, feed)
    assert [asked.query["since"] for asked in site.asked] == ["2026-01-01T00:00:00Z"] * 3 + ["2026-03-01T12:25:00Z"] * 3
    cursors = [(message.position or {}).get("cursor") for message in link.messages[:3]]
    assert cursors == [None, None, "2026-03-01T12:30:00Z"]


@pytest.mark.parametrize(
    ("value", "lookback", "since"), [(17, "0s", "17"), ("17", "0s", "17"), (1767225600000, "5s", "1767225595000")]
)
async def test_a_number_is_asked_for_in_its_own_form(value: object, lookback: str, since: str) -> None:
    async with Site(lambda _asked: answer([{"at": value}])) as site:
        await polls(site, 2, {"incremental": {**INCREMENTAL, "lookback": lookback}, "conditional": False})
    assert "since" not in site.asked[0].query
    assert site.asked[1].query["since"] == since


async def test_a_value_that_is_no_moment_never_becomes_the_cursor() -> None:
    bodies = [
        [{"at": "2026-01-01T00:00:00Z"}, {"at": "unknown"}],
        [{"at": "unknown"}],
        [{"at": "2026-01-02T00:00:00Z"}],
    ]
    async with Site(lambda asked: answer(bodies[min(asked.number, 2)])) as site:
        link = await polls(site, 3, {"incremental": INCREMENTAL})
    assert [asked.query.get("since") for asked in site.asked] == [None, *["2026-01-01T00:00:00Z"] * 2]
    assert (link.position or {})["cursor"] == "2026-01-02T00:00:00Z"


async def test_an_older_answer_never_moves_the_cursor_back() -> None:
    async with Site(lambda asked: answer([{"at": 100 - asked.number}])) as site:
        await polls(site, 3, {"incremental": INCREMENTAL})
    assert [asked.query.get("since") for asked in site.asked] == [None, "100", "100"]


async def test_an_unchanged_answer_is_not_handed_on_but_shows_that_the_provider_lives() -> None:
    def conditional(asked: Asked) -> web.Response:
        if asked.headers.get("If-None-Match") == '"v1"':
            return web.Response(status=304)
        return answer([{"n": 1}], ETag='"v1"')

    async with Site(conditional) as site:
        link = await polls(site, 3, {})
    assert len(site.asked) == 3
    assert len(link.bodies) == 1
    assert link.lives == 2


async def test_a_last_modified_date_is_asked_with() -> None:
    date = "Wed, 21 Oct 2015 07:28:00 GMT"
    async with Site(lambda asked: answer([asked.number], **{"Last-Modified": date})) as site:
        await polls(site, 2, {})
    assert [asked.headers.get("If-Modified-Since") for asked in site.asked] == [None, date]


async def test_the_validator_survives_a_restart() -> None:
    async with Site(lambda _asked: answer([1], ETag='"v1"')) as site:
        first = await polls(site, 1, {})
        async with polling(site, {}, first.messages[-1].position) as (source, link), running(source, link):
            await link.until(lambda: len(link.polls) == 1)
    assert site.asked[1].headers["If-None-Match"] == '"v1"'
    assert not link.bodies


async def test_a_validator_is_not_used_for_another_address() -> None:
    async with Site(lambda asked: answer([{"at": asked.number}], ETag='"v1"')) as site:
        await polls(site, 3, {"incremental": INCREMENTAL})
    assert [asked.headers.get("If-None-Match") for asked in site.asked] == [None, None, None]


async def test_the_same_bytes_without_a_validator_are_handed_on_once() -> None:
    async with Site(lambda asked: answer([asked.number // 2])) as site:
        link = await polls(site, 4, {})
    assert link.bodies == [b"[0]", b"[1]"]


@pytest.mark.parametrize("feed", [{"conditional": False}, {"method": "POST"}])
async def test_where_nothing_is_compared_every_answer_is_handed_on(feed: dict[str, Any]) -> None:
    async with Site(lambda _asked: answer([1], ETag='"v1"')) as site:
        link = await polls(site, 2, feed)
    assert link.bodies == [b"[1]", b"[1]"]
    assert all("If-None-Match" not in asked.headers for asked in site.asked)


async def test_no_content_is_nothing_new() -> None:
    async with Site(lambda _asked: web.Response(status=204)) as site:
        link = await polls(site, 2, {"paginate": CURSOR})
    assert not link.bodies
    assert link.lives == 2


async def test_a_walk_in_a_circle_ends() -> None:
    def circle(asked: Asked) -> web.Response:
        return answer({"data": [asked.number], "next": (int(asked.query.get("after", "1")) + 1) % 3 + 1})

    async with Site(circle) as site:
        link = await polls(site, 1, {"paginate": CURSOR, "records": "data"})
    assert 2 <= len(link.bodies) <= 5
    assert "walk" not in (link.position or {})


async def test_a_provider_that_ignores_the_page_is_not_walked_for_ever() -> None:
    async with Site(lambda _asked: answer([{"n": 1}])) as site:
        link = await polls(site, 2, {"paginate": {"kind": "page"}})
    assert len(site.asked) == 4  # of each poll the first page, and the second that gave it away
    assert len(link.bodies) == 2  # the second brings the position out of the walk, once
    assert link.position == {}


@pytest.mark.parametrize("size", [0, 1])
async def test_the_same_records_behind_ever_new_links_end_the_walk_but_pages_without_any_do_not(size: int) -> None:
    def same(asked: Asked) -> web.Response:
        number = int(asked.query.get("p", "0"))
        return answer([{"n": 1}] * size, **({"Link": f'</x?p={number + 1}>; rel="next"'} if number < 5 else {}))

    async with Site(same) as site:
        link = await polls(site, 3, {"paginate": {"kind": "link"}})
    assert len(site.asked) == (6 if size else 18)
    assert "walk" not in (link.position or {})


async def test_a_page_that_came_twice_does_not_leave_the_position_amid_the_walk() -> None:
    async with Site(lambda _asked: answer([{"at": 3}])) as site:
        link = await polls(site, 2, {"paginate": {"kind": "page"}, "incremental": INCREMENTAL})
    assert link.position == {"cursor": 3}


async def test_a_walk_ends_after_max_pages_and_starts_anew() -> None:
    async with Site(lambda asked: page(asked, asked.number, last=9)) as site:
        await polls(site, 2, {"paginate": CURSOR, "max_pages": 3})
    assert [asked.query.get("after") for asked in site.asked] == [None, "1", "2"] * 2


async def test_an_incremental_walk_goes_on_after_max_pages() -> None:
    async with Site(lambda asked: page(asked, {"at": asked.number}, last=4)) as site:
        link = await polls(site, 2, {"paginate": CURSOR, "max_pages": 3, "records": "data", "incremental": INCREMENTAL})
    assert [asked.query.get("after") for asked in site.asked] == [None, "1", "2", "3", "4"]
    assert link.messages[2].position is not None
    assert "cursor" not in link.messages[2].position
    assert (link.position or {})["cursor"] == 4


async def test_a_broken_body_is_handed_on_once_and_the_poll_has_failed() -> None:
    bodies = [b'{"data": [', b'{"data": [', b"nonsense", b'{"data": [{"at": 7}]}']
    async with (
        Site(lambda asked: web.Response(body=bodies[asked.number])) as site,
        polling(site, {"records": "data", "incremental": INCREMENTAL}) as (source, link),
    ):
        for _ in range(3):
            with pytest.raises(SourceLost, match="body is not JSON") as lost:
                await source.run(link)
            assert lost.value.retry_after == 3600
            assert "cursor" not in (link.position or {})
        async with running(source, link):
            await link.until(lambda: len(link.polls) == 1)
    assert link.bodies == [bodies[0], bodies[2], bodies[3]]
    assert (link.position or {})["cursor"] == 7
    assert "broken" not in (link.position or {})


async def test_a_broken_page_is_asked_for_again() -> None:
    def once(asked: Asked) -> web.Response:
        return web.Response(body=b"{") if asked.number == 1 else page(asked, asked.number, last=2)

    async with Site(once) as site, polling(site, {"paginate": CURSOR, "records": "data"}) as (source, link):
        with pytest.raises(SourceLost):
            await source.run(link)
        async with running(source, link):
            await link.until(lambda: len(link.polls) == 1)
    assert [asked.query.get("after") for asked in site.asked] == [None, "1", "1", "2"]


async def test_a_body_that_needs_no_decoding_is_left_to_the_transform() -> None:
    async with Site(lambda _asked: web.Response(text="nonsense")) as site:
        link = await polls(site, 2, {})
    assert link.bodies == [b"nonsense"]


async def test_a_page_beyond_max_body_is_a_refusal() -> None:
    async with (
        Site(lambda _asked: web.Response(body=b"x" * 2000)) as site,
        polling(site, {"max_body": "1KiB"}) as (source, link),
    ):
        with pytest.raises(SourceRefused, match="max_body"):
            await source.run(link)


def long_list(first: int, count: int) -> list[dict[str, Any]]:
    return [{"at": number, "text": "x" * 180} for number in range(first, first + count)]


async def test_a_long_body_is_handed_on_piece_by_piece_and_the_position_with_the_last() -> None:
    document = {"page": 1, "data": long_list(0, 10_000), "next": None}
    async with Site(lambda _asked: answer(document, ETag='"v1"')) as site:
        link = await polls(site, 1, {"records": "data"})
    assert len(link.messages) > 6
    assert max(map(len, link.bodies)) < 400 << 10
    assert [message.position is not None for message in link.messages] == [False] * (len(link.messages) - 1) + [True]
    assert [record for body in link.bodies for record in orjson.loads(body)["data"]] == document["data"]
    assert all((message.meta or {})["content_type"] == "application/json" for message in link.messages)
    assert (link.position or {})["answer"]["If-None-Match"] == '"v1"'


async def test_a_body_of_a_mebibyte_stays_one_message_byte_for_byte() -> None:
    body = orjson.dumps(long_list(0, 5_000))[: (1 << 20) - 1] + b" "
    async with Site(lambda _asked: web.Response(body=body, content_type="application/json")) as site:
        link = await polls(site, 1, {})
    assert link.bodies == [body]


async def test_long_pages_are_paged_and_counted_like_short_ones() -> None:
    def paged(asked: Asked) -> web.Response:
        number = int(asked.query.get("after", "0"))
        return answer({"data": long_list(number * 7000, 7000), "next": number + 1 if number < 2 else None})

    feed = {"paginate": CURSOR, "records": "data", "incremental": INCREMENTAL}
    async with Site(paged) as site:
        link = await polls(site, 2, feed)
    assert [asked.query.get("after") for asked in site.asked] == [None, "1", "2"] * 2
    assert [asked.query.get("since") for asked in site.asked] == [None] * 3 + ["20999"] * 3
    assert sum("walk" in (message.position or {}) for message in link.messages) == 4
    places = [message.meta or {} for message in link.messages]
    for walk in {place["set"] for place in places}:  # each piece counts as a page of its set
        of_walk = [place for place in places if place["set"] == walk]
        assert [place["page"] for place in of_walk] == list(range(len(of_walk)))
        assert [place["last"] for place in of_walk] == [False] * (len(of_walk) - 1) + [True]


async def test_a_long_page_of_a_size_is_counted_through_all_its_pieces() -> None:
    async with Site(lambda asked: answer(long_list(0, (7000, 7000, 10)[asked.number]))) as site:
        await polls(site, 1, {"paginate": {"kind": "page", "size": 7000}})
    assert [asked.query["page"] for asked in site.asked] == ["1", "2"]  # the second is as the first, which ends a walk


async def test_a_long_body_that_breaks_off_is_lost_and_asked_for_again() -> None:
    body = orjson.dumps(long_list(0, 20_000))

    async def breaking(asked: Asked) -> web.StreamResponse:
        if asked.number:
            return web.Response(body=body, content_type="application/json")
        response = web.StreamResponse(headers={"Content-Length": str(len(body))})
        await response.prepare(asked.request)
        await response.write(body[: len(body) // 2])
        assert asked.request.transport is not None
        asked.request.transport.close()
        return response

    async with Site(breaking) as site, polling(site, {"conditional": False}) as (source, link):
        with pytest.raises(SourceLost):
            await source.run(link)
        cut = [record for body in link.bodies for record in orjson.loads(body)]
        assert 1000 < len(cut) < 20_000
        assert link.position is None
        async with running(source, link):
            await link.until(lambda: link.position is not None)
    again = [record for body in link.bodies for record in orjson.loads(body)]
    assert again[len(cut) :] == long_list(0, 20_000)


async def test_the_same_bytes_again_are_not_handed_on_though_they_are_long() -> None:
    body = orjson.dumps(long_list(0, 20_000))
    async with Site(lambda _asked: web.Response(body=body, content_type="application/json")) as site:
        link = await polls(site, 3, {})
    assert sum(len(orjson.loads(body)) for body in link.bodies) == 20_000


async def test_a_long_body_that_is_broken_in_its_middle_keeps_what_came_before() -> None:
    body = orjson.dumps(long_list(0, 10_000))[:-10]
    async with Site(lambda _asked: web.Response(body=body, content_type="application/json")) as site:
        link = await polls(site, 1, {})
    *cut, rest = link.bodies
    found = [record["at"] for body in cut for record in orjson.loads(body)]
    assert found == list(range(len(found)))
    assert len(found) > 8000
    assert rest.endswith(b"xxx")
    with pytest.raises(orjson.JSONDecodeError):
        orjson.loads(rest)


async def test_a_long_broken_body_does_not_move_the_cursor() -> None:
    body = orjson.dumps(long_list(0, 10_000))[:-10]
    async with (
        Site(lambda _asked: web.Response(body=body, content_type="application/json")) as site,
        polling(site, {"incremental": INCREMENTAL}) as (source, link),
    ):
        with pytest.raises(SourceLost, match="body is not JSON"):
            await source.run(link)
    assert set(link.position or {}) == {"broken"}


async def test_backpressure_holds_a_long_body_up_in_its_middle() -> None:
    sent = 0

    async def endless(asked: Asked) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse(headers={"Content-Type": "text/csv"})
        await response.prepare(asked.request)
        await response.write(b"a,b\n")
        while True:
            await response.write(b"1,2\n" * 10_000)
            sent += 40_000

    async with Site(endless) as site, polling(site, {"conditional": False}, timeout="300ms") as (source, link):
        link.room.clear()
        async with running(source, link) as run:
            await link.until(lambda: link.emitting == 1)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(run.ended.wait(), 1)
            held = sent
            link.room.set()
            await link.until(lambda: link.emitting == 30)
            assert sent > held
    assert held < 24 << 20  # what the sockets between the two hold
    assert all(body.startswith(b"a,b\n1,2\n") for body in link.bodies)


@pytest.mark.parametrize(
    ("path", "headers", "body", "kind"),
    [
        ("/results.csv", {}, b"a,b\n1,2\n", "csv"),
        ("/results.csv.gz", {"Content-Type": "application/gzip"}, gzip.compress(b"a,b\n1,2\n", mtime=0), "csv"),
        ("/results", {"Content-Type": "text/csv"}, b"a,b\n1,2\n", "csv"),
        ("/results.csv", {"Content-Type": "application/json"}, b"[1]", "json"),
        ("/feed", {}, b"<a/>", "xml"),
    ],
)
async def test_the_format_is_found_by_type_name_and_bytes(
    path: str, headers: dict[str, str], body: bytes, kind: str
) -> None:
    async with (
        Site(lambda _asked: web.Response(body=body, headers=headers)) as site,
        polling(site, {"path": path}) as (
            source,
            link,
        ),
    ):
        async with running(source, link):
            await link.until(lambda: len(link.messages) == 1)
        assert isinstance(source.format, Auto)
        assert source.format.kind_of(link.messages[0]) == kind


async def test_pages_of_xml_and_csv_are_walked_too() -> None:
    def xml(asked: Asked) -> web.Response:
        following = f"<next>{asked.number + 1}</next>" if asked.number < 2 else ""
        body = f"<a><items><i><at>{asked.number}</at></i></items>{following}</a>"
        return web.Response(text=body, content_type="text/xml")

    def csv(asked: Asked) -> web.Response:
        return web.Response(
            text="at\n" + "7\n" * (2, 2, 1)[asked.number] + "\n" * asked.number, content_type="text/csv"
        )

    paginate = {"kind": "cursor", "next": "a.next", "param": "after"}
    async with Site(xml) as site:
        link = await polls(site, 1, {"paginate": paginate, "records": "a/items/i", "incremental": INCREMENTAL})
    assert [asked.query.get("after") for asked in site.asked] == [None, "1", "2"]
    assert (link.position or {})["cursor"] == "2"
    async with Site(csv) as site:
        await polls(site, 1, {"paginate": {"kind": "page", "size": 2}})
    assert len(site.asked) == 3


@pytest.mark.parametrize("paginate", [{"kind": "next_url", "next": "url"}, {"kind": "link"}])
async def test_a_next_link_to_another_origin_carries_no_credentials(paginate: dict[str, Any]) -> None:
    key = "k3y-of-the-realm"
    async with Site(lambda _asked: answer({"data": [2]})) as other:

        def away(_asked: Asked) -> web.Response:
            target = f"{other.url}/p2"
            return answer({"data": [1], "url": target}, Link=f'<{target}>; rel="next"')

        async with Site(away) as site:
            link = await polls(
                site,
                1,
                {"paginate": paginate, "records": "data", "headers": {"X-Feed": key}, "params": {"key": key}},
                auth={"kind": "bearer", "token": key},
                headers={"X-Provider": key},
            )
    assert len(link.bodies) == 2
    assert site.asked[0].headers["Authorization"] == f"Bearer {key}"
    assert key not in str(other.asked[0])


@pytest.mark.parametrize("target", ["http://[", "http://a b/", "ftp://a.example/x"])
async def test_a_next_address_that_is_none_is_no_crash(target: str) -> None:
    async with (
        Site(lambda _asked: answer({"data": [1], "url": target})) as site,
        polling(site, {"paginate": {"kind": "next_url", "next": "url"}}, timeout="1s") as (source, link),
    ):
        with pytest.raises((SourceLost, SourceRefused)):
            await source.run(link)


@pytest.mark.parametrize(
    ("feed", "problem"),
    [
        ({"url": "https://a.example", "path": "/x"}, "either a `path`"),
        ({"path": "https://a.example/x"}, "written as `url`"),
        ({"url": "wss://a.example"}, "pattern"),
        ({"every": "0s"}, "greater than"),
        ({"incremental": {"field": "a..b", "param": "x"}}, "not a path"),
        ({"paginate": "seek"}, "must be one of"),
    ],
)
def test_settings_that_make_no_sense_are_refused(feed: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        configured({"kind": "rest", **feed}, url="https://b.example")


def test_a_poll_can_be_asked_for_again() -> None:
    source, _settings = configured({"kind": "rest"}, url="https://b.example")
    assert source.replayable
