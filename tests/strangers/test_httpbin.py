"""Fetching from httpbin, a server that nobody here wrote: what it understood of us, and what we make of its answers."""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest
from yarl import URL

from service.config.foreach import Value
from service.errors import FormatError, SourceLost, SourceRefused
from service.provider import Provider
from service.sources.rest import Rest
from tests.collector import Collector, configured
from tests.strangers.servers import httpbin

KEY = "k3y-of-the-realm"


@pytest.fixture(scope="module")
def bin_url() -> Iterator[str]:
    with httpbin() as url:
        yield url


@asynccontextmanager
async def asking(url: str, path: str, **settings: Any) -> AsyncIterator[tuple[Rest, Collector]]:
    feed = {"kind": "rest", "path": path, "every": "1h", **settings.pop("feed", {})}
    source, configuration = configured(feed, **{"url": url, **settings})
    assert isinstance(source, Rest)
    async with Provider("test", configuration) as provider:
        yield source, Collector(provider)


async def polled(
    url: str, path: str, polls: int = 1, rows: Sequence[Mapping[str, Value]] = (), **settings: Any
) -> Collector:
    async with asking(url, path, **settings) as (source, link):
        link.parents = [dict(row) for row in rows]
        for _ in range(polls):
            await source.once(link)
    return link


async def echoed(url: str, path: str, **settings: Any) -> Any:
    """Give what the server says that it was asked."""
    return orjson.loads((await polled(url, path, **settings)).bodies[0])


@pytest.mark.parametrize("path", ["/basic-auth/me/{key}", "/hidden-basic-auth/me/{key}"])
async def test_basic_authentication_is_understood(bin_url: str, path: str) -> None:
    auth = {"kind": "basic", "user": "me", "password": KEY}
    found = await echoed(bin_url, path.format(key=KEY), auth=auth)
    assert found["authenticated"] is True
    with pytest.raises(SourceRefused) as refused:
        await polled(bin_url, path.format(key="another"), auth=auth)
    assert KEY not in str(refused.value)


async def test_bearer_header_and_query_arrive_as_they_should(bin_url: str) -> None:
    assert await echoed(bin_url, "/bearer", auth={"kind": "bearer", "token": KEY}) == {
        "authenticated": True,
        "token": KEY,
    }
    with pytest.raises(SourceRefused, match="401"):
        await polled(bin_url, "/bearer")
    found = await echoed(
        bin_url, "/get", auth={"kind": "header", "name": "X-Key", "value": KEY}, headers={"X-More": "1"}
    )
    assert (found["headers"]["X-Key"], found["headers"]["X-More"]) == (KEY, "1")
    found = await echoed(bin_url, "/get?a=1", auth={"kind": "query", "name": "key", "value": "a b&c=é"})
    assert found["args"] == {"a": "1", "key": "a b&c=é"}


@pytest.mark.parametrize("path", ["/redirect/3", "/relative-redirect/5", "/absolute-redirect/3"])
async def test_redirects_are_followed_with_what_proves_who_we_are(bin_url: str, path: str) -> None:
    found = await echoed(bin_url, path, auth={"kind": "bearer", "token": KEY})
    assert found["url"] == f"{bin_url}/get"
    assert found["headers"]["Authorization"] == f"Bearer {KEY}"


async def test_a_redirect_to_another_origin_carries_nothing_of_ours(bin_url: str) -> None:
    other = bin_url.replace("127.0.0.1", "localhost")
    path = f"/redirect-to?status_code=302&url={other}/anything"
    found = await echoed(
        bin_url,
        path,
        auth={"kind": "bearer", "token": KEY},
        headers={"X-Provider": KEY},
        feed={"headers": {"X-Feed": KEY}},
    )
    assert found["url"].startswith(other)
    assert KEY not in str(found)
    post = {"method": "POST", "body": {"key": KEY}}
    with pytest.raises(SourceRefused, match="another origin"):
        await polled(bin_url, path.replace("302", "307"), feed=post)


async def test_a_redirected_post_stays_one_where_it_should(bin_url: str) -> None:
    post = {"method": "POST", "body": {"a": 1}}
    found = await echoed(bin_url, "/redirect-to?status_code=307&url=/anything", feed=post)
    assert (found["method"], found["json"]) == ("POST", {"a": 1})
    found = await echoed(bin_url, "/redirect-to?status_code=303&url=/anything", feed=post)
    assert (found["method"], found["data"]) == ("GET", "")


async def test_too_many_redirects_are_a_refusal(bin_url: str) -> None:
    with pytest.raises(SourceRefused, match="redirects"):
        await polled(bin_url, "/redirect/9")


@pytest.mark.parametrize(("path", "word"), [("/gzip", "gzipped"), ("/deflate", "deflated"), ("/brotli", "brotli")])
async def test_compressed_bodies_are_undone(bin_url: str, path: str, word: str) -> None:
    assert (await echoed(bin_url, path))[word] is True


async def test_a_slow_answer_is_waited_for_as_long_as_the_timeout_says(bin_url: str) -> None:
    assert (await echoed(bin_url, "/delay/0.3", timeout="20s"))["url"] == f"{bin_url}/delay/0.3"
    with pytest.raises(SourceLost, match="no answer in time"):
        await polled(bin_url, "/delay/10", timeout="300ms")


async def test_a_dripped_body_is_whole_and_one_that_stalls_is_lost(bin_url: str) -> None:
    link = await polled(bin_url, "/drip?duration=1&numbytes=20&delay=0", timeout="10s", feed={"format": "csv"})
    assert link.bodies == [b"*" * 20]
    with pytest.raises(SourceLost, match="in time"):
        await polled(bin_url, "/drip?duration=20&numbytes=2&delay=0", timeout="300ms")


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 405, 410, 418, 422, 451])
async def test_what_another_try_cannot_mend_is_a_refusal(bin_url: str, status: int) -> None:
    with pytest.raises(SourceRefused, match=str(status)):
        await polled(bin_url, f"/status/{status}")


@pytest.mark.parametrize("status", [408, 425, 429, 500, 501, 502, 503, 504])
async def test_what_another_try_may_mend_is_a_loss(bin_url: str, status: int) -> None:
    with pytest.raises(SourceLost, match=str(status)):
        await polled(bin_url, f"/status/{status}")


@pytest.mark.parametrize(
    ("rule", "path", "outcome"),
    [
        ({"status": 404, "action": "retry"}, "/status/404", SourceLost),
        ({"status": "5xx", "action": "fail"}, "/status/503", SourceRefused),
        ({"status": 418, "action": "ignore"}, "/status/418", None),
        ({"text": "teapot", "action": "ignore"}, "/status/418", None),
        ({"text": "wonderwidgets", "action": "retry"}, "/json", SourceLost),
        ({"when": "body.slideshow.author == 'Yours Truly'", "action": "fail"}, "/json", SourceRefused),
    ],
)
async def test_rules_decide_over_its_answers(
    bin_url: str, rule: dict[str, Any], path: str, outcome: type[Exception] | None
) -> None:
    feed = {"errors": [rule]}
    if outcome is not None:
        with pytest.raises(outcome):
            await polled(bin_url, path, feed=feed)
        return
    link = await polled(bin_url, path, feed=feed)
    assert (link.messages, link.lives) == ([], 1)


@pytest.mark.parametrize("path", ["/html", "/links/3/1"])
async def test_a_web_page_is_no_data_and_is_kept_for_inspection(bin_url: str, path: str) -> None:
    async with asking(bin_url, path) as (source, link):
        with pytest.raises(SourceLost, match="web page"):
            await source.once(link)
    assert "refused" in (link.messages[0].meta or {})


@pytest.mark.parametrize("path", ["/etag/abc", "/cache"])
async def test_an_answer_that_did_not_change_is_asked_for_conditionally(bin_url: str, path: str) -> None:
    link = await polled(bin_url, path, 3)
    assert len(link.messages) == 1
    assert link.lives == 2


async def test_a_stream_of_lines_is_as_many_records(bin_url: str) -> None:
    link = await polled(bin_url, "/stream/60", feed={"format": "ndjson"})
    assert isinstance(link.messages[0].body, bytes)
    assert [orjson.loads(line)["id"] for line in link.bodies[0].splitlines()] == list(range(60))


@pytest.mark.parametrize(
    ("path", "records", "titles"),
    [
        ("/json", "slideshow.slides", ["Wake up to WonderWidgets!", "Overview"]),
        ("/xml", "slideshow/slide", ["Wake up to WonderWidgets!", "Overview"]),
    ],
)
async def test_its_json_and_xml_are_found_by_content_type(
    bin_url: str, path: str, records: str, titles: list[str]
) -> None:
    async with asking(bin_url, path, feed={"records": records}) as (source, link):
        await source.once(link)
    decoded = source.format.decode(link.messages[0], records)  # type: ignore[attr-defined]
    assert [record["title"] for record in decoded] == titles


async def test_what_is_no_json_is_told_so(bin_url: str) -> None:
    async with asking(bin_url, "/robots.txt", feed={"format": "json"}) as (source, link):
        await source.once(link)
    with pytest.raises(FormatError):
        source.format.decode(link.messages[0], None)  # type: ignore[attr-defined]


async def test_a_link_header_leads_on_and_nothing_goes_with_it_to_another_origin(bin_url: str) -> None:
    other = bin_url.replace("127.0.0.1", "localhost")
    for target, told in ((f"{bin_url}/anything/2", True), (f"{other}/anything/2", False)):
        path = str(URL("/response-headers").with_query({"Link": f'<{target}>; rel="next"'}))
        link = await polled(bin_url, path, auth={"kind": "bearer", "token": KEY}, feed={"paginate": {"kind": "link"}})
        second = orjson.loads(link.bodies[1])
        assert second["url"] == target
        assert ("Authorization" in second["headers"]) is told


@pytest.mark.parametrize(
    "value", ["plain", "a/b", "../get", "?x=1&y=2", "//localhost/x", "50%", "é ☃", "a+b;c", "#", "%2e%2e"]
)
async def test_each_row_arrives_as_one_value_whatever_it_is_made_of(bin_url: str, value: str) -> None:
    feed = {
        "for_each": {"table": "t"},
        "method": "POST",
        "params": {"q": "{id}"},
        "body": {"id": "{id}"},
    }
    link = await polled(bin_url, "/anything/{id}/events", rows=[{"id": value}], feed=feed)
    found = orjson.loads(link.bodies[0])
    assert found["args"] == {"q": value}
    assert found["json"] == {"id": value}
    assert found["url"].startswith(f"{bin_url}/anything/")  # the route that took it, with the segment unescaped
    assert found["url"].partition("?q=")[0].endswith("/events")
