"""Pages that are as they were at the last poll: they cost no parse and no write, and nothing is missed by that."""

import asyncio
import contextlib
import gzip
import resource
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web

from service.errors import SourceLost
from service.provider.aside import HOLD_BYTES
from tests.collector import Collector, polling, running
from tests.site import Asked, Site

CURSOR = {"kind": "cursor", "next": "next", "param": "after"}
PAGED = {"paginate": CURSOR, "records": "data"}
INCREMENTAL = {"field": "at", "param": "since"}


class Book:
    """Pages that a test turns into others between two polls."""

    def __init__(self, *pages: Any) -> None:
        self.pages = list(pages)
        self.tags = False

    def __call__(self, asked: Asked) -> web.Response:
        number = int(asked.query.get("after", "0"))
        following = number + 1 if number + 1 < len(self.pages) else None
        body = orjson.dumps({"data": self.pages[number], "next": following})
        tag = f'"{hash(body)}"'
        if self.tags and asked.headers.get("If-None-Match") == tag:
            return web.Response(status=304)
        headers = {"ETag": tag} if self.tags else {}
        return web.Response(body=body, content_type="application/json", headers=headers)


def data(link: Collector, first: int = 0) -> list[Any]:
    return [orjson.loads(body)["data"] for body in link.bodies[first:]]


async def poll(link: Collector) -> list[Any]:
    """Let the feed poll once; give the pages that it hands on."""
    first, polls = len(link.messages), len(link.polls)
    link.poll()
    await link.until(lambda: len(link.polls) > polls)
    return data(link, first)


async def test_pages_that_did_not_change_are_not_handed_on_again() -> None:
    async with Site(Book([1], [2], [3])) as site, polling(site, PAGED) as (source, link), running(source, link):
        await link.until(lambda: len(link.polls) == 1)
        assert await poll(link) == []
        assert await poll(link) == []
        assert len(site.asked) == 9
        assert link.lives >= 6


async def test_a_page_that_changed_is_handed_on_and_the_last_one_with_the_position_behind_it() -> None:
    book = Book([1], [2], [3], [4])
    async with Site(book) as site, polling(site, PAGED) as (source, link), running(source, link):
        await link.until(lambda: len(link.polls) == 1)
        book.pages[1] = [22]
        assert await poll(link) == [[22], [4]]
        assert link.position == {}
        book.pages[3] = [44]
        assert await poll(link) == [[44]]
        book.pages[1:] = [[22], [4]]
        assert await poll(link) == [[4]]
        book.pages.append([5])
        assert await poll(link) == [[4], [5]]
        assert await poll(link) == []


async def test_each_page_is_asked_for_conditionally_until_one_changed() -> None:
    book = Book([1], [2], [3], [4])
    book.tags = True
    async with Site(book) as site, polling(site, PAGED) as (source, link), running(source, link):
        await link.until(lambda: len(link.polls) == 1)
        assert await poll(link) == []
        assert ["If-None-Match" in asked.headers for asked in site.asked] == [False] * 4 + [True] * 4
        book.pages[1] = [22]
        assert await poll(link) == [[22], [4]]
        assert ["If-None-Match" in asked.headers for asked in site.asked[8:]] == [True, True, False, False]
        assert await poll(link) == []


async def test_a_link_header_that_changed_is_a_page_that_changed() -> None:
    pages = 2

    def linked(asked: Asked) -> web.Response:
        number = int(asked.query.get("p", "0"))
        link = f'<?p={number + 1}>; rel="next"' if number + 1 < pages else ""
        return web.Response(body=b'[{"n": %d}]' % number, content_type="application/json", headers={"Link": link})

    async with (
        Site(linked) as site,
        polling(site, {"paginate": {"kind": "link"}}) as (source, link),
        running(source, link),
    ):
        await link.until(lambda: len(link.polls) == 1)
        pages = 4
        link.poll()
        await link.until(lambda: len(link.polls) == 2)
        assert [orjson.loads(body)[0]["n"] for body in link.bodies[2:]] == [1, 2, 3]


async def test_the_cursor_knows_what_lies_in_pages_that_are_not_looked_at_again() -> None:
    """A walk that breaks off forgets what it saw; the pages that are known by then still count."""
    is_broken = True

    def paged(asked: Asked) -> web.Response:
        number = int(asked.query.get("after", "0"))
        if number == 1 and is_broken:
            return web.Response(status=400)
        return web.json_response({"data": [{"at": 9 - number}], "next": number + 1 if number < 1 else None})

    feed = {**PAGED, "incremental": INCREMENTAL, "errors": [{"status": 400, "action": "ignore"}]}
    async with Site(paged) as site, polling(site, feed) as (source, link), running(source, link):
        await link.until(lambda: len(link.polls) == 1)
        assert "cursor" not in (link.position or {})
        is_broken = False
        await poll(link)
        assert len(link.messages) == 2  # the first page is known
        assert link.position == {"cursor": 9}


async def test_long_pages_are_known_again_as_well() -> None:
    book = Book([{"n": number, "text": "x" * 180} for number in range(10_000)], [1])
    async with Site(book) as site, polling(site, PAGED) as (source, link), running(source, link):
        await link.until(lambda: len(link.polls) == 1)
        assert len(link.messages) > 6
        assert await poll(link) == []


async def test_pages_are_known_again_after_an_outage() -> None:
    away = False
    book = Book([1], [2])

    def failing(asked: Asked) -> web.Response:
        return web.Response(status=503) if away else book(asked)

    async with Site(failing) as site, polling(site, PAGED) as (source, link):
        async with running(source, link):
            await link.until(lambda: len(link.polls) == 1)
        away = True
        with pytest.raises(SourceLost):
            await source.run(link)
        away = False
        async with running(source, link):
            await link.until(lambda: len(link.polls) == 2)
    assert len(link.messages) == 2


async def test_a_walk_that_is_lost_behind_pages_that_did_not_change_goes_on_where_it_was() -> None:
    book, is_failing = Book(*([number] for number in range(6))), False

    def failing(asked: Asked) -> web.Response:
        if is_failing and asked.query.get("after") == "4":
            return web.Response(status=500)
        return book(asked)

    async with Site(failing) as site, polling(site, PAGED) as (source, link):
        async with running(source, link):
            await link.until(lambda: len(link.polls) == 1)
        is_failing = True
        for _ in range(3):
            with pytest.raises(SourceLost):
                await source.run(link)
        is_failing, book.pages[5] = False, [55]
        async with running(source, link):
            await link.until(lambda: len(link.polls) == 2)
    assert [asked.query.get("after") for asked in site.asked[6:]] == [None, "1", "2", "3", "4", "4", "4", "4", "5"]
    assert data(link, 6) == [[55]]
    assert link.position == {}


async def test_a_page_that_was_held_up_and_not_handed_on_is_not_taken_for_known() -> None:
    async with Site(Book([1], [2])) as site, polling(site, PAGED) as (source, link):
        link.room.clear()
        async with running(source, link) as run:
            await link.until(lambda: link.emitting == 1)
            await run.cancel()
        assert not link.messages
        link.room.set()
        async with running(source, link):
            await link.until(lambda: len(link.polls) == 1)
    assert data(link) == [[1], [2]]


@pytest.mark.parametrize("feed", [{"conditional": False}, {"method": "POST"}])
async def test_where_nothing_is_compared_all_pages_are_handed_on(feed: dict[str, Any]) -> None:
    async with Site(Book([1], [2])) as site, polling(site, {**PAGED, **feed}) as (source, link), running(source, link):
        await link.until(lambda: len(link.polls) == 1)
        assert await poll(link) == [[1], [2]]


def places(link: Collector, first: int) -> list[tuple[int, bool]]:
    return [((message.meta or {})["page"], (message.meta or {})["last"]) for message in link.messages[first:]]


async def test_a_full_set_is_handed_on_whole_or_not_at_all() -> None:
    book = Book([1], [2], [3])
    book.tags = True
    feed = {**PAGED, "absent": "delete"}
    async with Site(book) as site, polling(site, feed) as (source, link), running(source, link):
        await link.until(lambda: len(link.polls) == 1)
        assert await poll(link) == []
        assert all("If-None-Match" not in asked.headers for asked in site.asked)  # its bytes may be needed
        for number in range(3):
            book.pages[number] = [10 + number]
            first = len(link.messages)
            assert await poll(link) == book.pages
            assert places(link, first) == [(0, False), (1, False), (2, True)]
            assert len({(message.meta or {})["set"] for message in link.messages[first:]}) == 1
            assert await poll(link) == []
        assert link.position == {}


async def test_a_full_set_that_broke_off_is_followed_by_a_whole_one_though_nothing_changed_since() -> None:
    """Else what vanished with the change would stay for ever: a set that broke off deletes nothing."""
    book, is_failing = Book([1], [2], [3]), False

    def failing(asked: Asked) -> web.Response:
        return web.Response(status=500) if is_failing and asked.query.get("after") == "2" else book(asked)

    async with Site(failing) as site, polling(site, {**PAGED, "absent": "delete"}) as (source, link):
        async with running(source, link):
            await link.until(lambda: len(link.polls) == 1)
            assert await poll(link) == []
        is_failing, book.pages[1] = True, []
        with pytest.raises(SourceLost):
            await source.run(link)
        is_failing = False
        async with running(source, link):
            polls = len(link.polls)
            await link.until(lambda: len(link.polls) > polls)
            first = len(link.messages)
            assert await poll(link) == [[1], [], [3]]
            assert places(link, first) == [(0, False), (1, False), (2, True)]
            assert await poll(link) == []


@pytest.mark.parametrize(("absent", "bodies"), [(None, 1), ("delete", 2)])
async def test_a_full_set_is_handed_on_by_each_process_though_it_did_not_change(
    absent: str | None, bodies: int
) -> None:
    """The process before may have ended amid its messages: those that follow say nothing of what is absent."""
    async with Site(lambda _asked: web.json_response([1], headers={"ETag": '"1"'})) as site:
        position = None
        handed_on = 0
        for _ in range(2):
            async with polling(site, {"absent": absent}, position) as (source, link), running(source, link):
                await link.until(lambda link=link: len(link.polls) == 1)  # type: ignore[misc]
                link.poll()
                await link.until(lambda link=link: len(link.polls) == 2)  # type: ignore[misc]
            position, handed_on = link.position, handed_on + len(link.messages)
    assert handed_on == bodies


async def test_a_full_set_of_more_than_can_be_held_back_is_handed_on_whole() -> None:
    pages = [[{"n": number, "text": "x" * 1000} for number in range(size)] for size in (4000, 3999, 3998)]
    assert sum(len(orjson.dumps(each)) for each in pages) > HOLD_BYTES
    async with (
        Site(Book(*pages)) as site,
        polling(site, {**PAGED, "absent": "delete"}) as (source, link),
        running(source, link),
    ):
        await link.until(lambda: len(link.polls) == 1)
        first = len(link.messages)
        found = await poll(link)
        assert [record for piece in found for record in piece] == [record for each in pages for record in each]
        numbers = [number for number, _ in places(link, first)]
        assert numbers == list(range(len(numbers)))
        assert [last for _, last in places(link, first)] == [False] * (len(numbers) - 1) + [True]


async def test_many_polls_of_a_changing_walk_hand_on_all_that_ever_changed() -> None:
    """Whatever changes between two polls, the last version of each page is handed on, and only pages that changed,
    or the last."""
    book = Book(*([number] for number in range(6)))
    held: dict[int, Any] = {}
    async with Site(book) as site, polling(site, PAGED) as (source, link), running(source, link):
        await link.until(lambda: len(link.polls) == 1)
        held = dict(enumerate(data(link)))
        for number in range(40):
            changed = {number % 6, number * 7 % 6} if number % 3 else set[int]()
            for each in changed:
                book.pages[each] = [number * 100 + each]
            found = await poll(link)
            assert len(found) <= len(changed) + 1
            for page in found:
                held[page[0] % 100 if page[0] >= 100 else page[0]] = page
            assert [held[each] for each in range(6)] == book.pages
            await asyncio.sleep(0)


async def test_a_body_longer_than_what_is_held_in_memory_is_known_again_and_handed_on_whole_once_it_changed() -> None:
    records = [{"n": number, "text": "x" * 1000} for number in range(3 * HOLD_BYTES // 1000)]
    site_of = Site(lambda _asked: web.json_response(records))
    async with site_of as site, polling(site, {}) as (source, link), running(source, link):
        await link.until(lambda: len(link.polls) == 1)
        for change in (False, True, False):
            if change:
                records[-1]["text"] = "another"
            first, polls = len(link.messages), len(link.polls)
            link.poll()
            await link.until(lambda polls=polls: len(link.polls) > polls)  # type: ignore[misc]
            found = [record for body in link.bodies[first:] for record in orjson.loads(body)]
            assert found == (records if change else [])


def long_body(last: str) -> bytes:
    records = [{"n": number, "text": f"{number:x}" * 200} for number in range(3 * HOLD_BYTES // 1000)]
    return orjson.dumps([*records, {"n": -1, "text": last}])


def whole(link: Collector, first: int = 0) -> list[Any]:
    return [record for body in link.bodies[first:] for record in orjson.loads(body)]


async def test_a_long_compressed_body_is_known_again_and_handed_on_whole_once_it_changed() -> None:
    body = long_body("one")

    def zipped(_asked: Asked) -> web.Response:
        # Compressed anew each time, at a moment of its own: what counts is what unfolds.
        headers = {"Content-Encoding": "gzip"}
        return web.Response(body=gzip.compress(body), content_type="application/json", headers=headers)

    async with Site(zipped) as site, polling(site, {}) as (source, link), running(source, link):
        await link.until(lambda: len(link.polls) == 1)
        assert whole(link) == orjson.loads(body)
        for change in (b"", b"two"):
            body = long_body(change.decode()) if change else body
            first, polls = len(link.messages), len(link.polls)
            link.poll()
            await link.until(lambda polls=polls: len(link.polls) > polls)  # type: ignore[misc]
            assert whole(link, first) == (orjson.loads(body) if change else [])


async def test_a_long_body_is_known_again_after_a_restart() -> None:
    body = long_body("one")
    async with Site(lambda _asked: web.Response(body=body, content_type="application/json")) as site:
        async with polling(site, {}) as (source, link), running(source, link):
            await link.until(lambda: len(link.polls) == 1)
        assert link.position is not None
        async with polling(site, {}, link.position) as (source, link), running(source, link):
            await link.until(lambda: len(link.polls) == 1)
            assert link.bodies == []
            body = long_body("two")
            link.poll()
            await link.until(lambda: len(link.polls) == 2)
    assert whole(link) == orjson.loads(body)


@contextlib.contextmanager
def nowhere(folder: Path) -> Iterator[None]:
    """Have no folder for temporary files."""
    before, tempfile.tempdir = tempfile.tempdir, str(folder / "missing")
    try:
        yield
    finally:
        tempfile.tempdir = before


@contextlib.contextmanager
def full(_folder: Path) -> Iterator[None]:
    """Have the kernel refuse what is beyond the 5th MiB of a file, as a full disk does: amid a write."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5 << 20, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("without", [nowhere, full])
@pytest.mark.parametrize("change", [False, True])
async def test_a_long_body_that_finds_no_room_on_disk_is_handed_on_whole(
    without: Any, change: bool, tmp_path: Path
) -> None:
    body = long_body("one")
    async with (
        Site(lambda _asked: web.Response(body=body, content_type="application/json")) as site,
        polling(site, {}) as (source, link),
        running(source, link),
    ):
        await link.until(lambda: len(link.polls) == 1)
        body = long_body("two") if change else body
        first = len(link.messages)
        with without(tmp_path):
            link.poll()
            await link.until(lambda: len(link.polls) == 2)
        assert whole(link, first) == orjson.loads(body)
        # And once there is room again, it is known again.
        first = len(link.messages)
        link.poll()
        await link.until(lambda: len(link.polls) == 3)
        assert link.bodies[first:] == []
