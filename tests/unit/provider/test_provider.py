"""The client of a provider: where credentials go, what is read, and what failures say."""

import asyncio
import contextlib
import ssl
import tracemalloc
import zlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from yarl import URL

from service.config.answers import ErrorRule
from service.errors import AnswerIgnored, SourceLost, SourceRefused
from service.provider import Provider
from service.provider.rules import Rules
from tests.collector import configured
from tests.proxy import Proxy
from tests.site import Asked, Site

KEY = "k3y-of-the-realm"
AUTH = {"kind": "header", "name": "X-Auth-Token", "value": KEY}


def ok(_asked: Asked) -> web.Response:
    return web.Response(text="fine")


@contextlib.asynccontextmanager
async def entered(url: str | None, feed: dict[str, Any] | None = None, **settings: Any) -> AsyncIterator[Provider]:
    _source, configuration = configured({"kind": "rest", **(feed or {})}, **{"url": url, **settings})
    async with Provider("acme", configuration) as provider:
        yield provider


async def get(provider: Provider, url: str, *, method: str = "GET", limit: int = 1 << 20, **request: Any) -> bytes:
    async with provider.request(method, URL(url), **request) as response:
        return await provider.read(response, limit)


@pytest.mark.parametrize(
    ("base", "path", "expected"),
    [
        ("https://a.example/v4", "/matches", "https://a.example/v4/matches"),
        ("https://a.example/v4/", "matches", "https://a.example/v4/matches"),
        ("https://a.example/v4", "", "https://a.example/v4"),
        ("https://a.example", "/m", "https://a.example/m"),
        ("https://a.example/v4?k=1", "/m?live=1", "https://a.example/v4/m?k=1&live=1"),
        ("https://a.example/v4", "/a%2Fb/c d", "https://a.example/v4/a%2Fb/c%20d"),
    ],
)
def test_a_path_lies_below_the_base_url(base: str, path: str, expected: str) -> None:
    _source, settings = configured({"kind": "rest"}, url=base)
    assert str(Provider("acme", settings).address(path)) == expected


def test_without_a_base_url_there_is_no_address() -> None:
    _source, settings = configured({"kind": "rest", "url": "https://a.example"})
    with pytest.raises(SourceRefused, match="set `url`"):
        Provider("acme", settings).address("/matches")


@pytest.mark.parametrize(
    ("address", "own"),
    [
        ("https://a.example/elsewhere", True),
        ("https://A.EXAMPLE:443/", True),
        ("wss://a.example/stream", True),
        ("https://live.example:8443/x", True),
        ("http://a.example/", False),
        ("https://a.example:8443/", False),
        ("https://b.a.example/", False),
        ("https://a.example.evil.example/", False),
        ("https://a.example@evil.example/", False),
    ],
)
def test_an_origin_is_scheme_host_and_port(address: str, own: bool) -> None:
    feed = {"kind": "websocket", "url": "wss://live.example:8443/stream"}
    _source, settings = configured(feed, url="https://a.example/v4")
    assert Provider("acme", settings).own(URL(address)) is own


async def test_credentials_and_headers_reach_the_provider() -> None:
    async with Site(ok) as site, entered(site.url, auth=AUTH, headers={"X-Team": "red", "Accept": "a/b"}) as acme:
        assert await get(acme, f"{site.url}/x", headers={"Accept": "c/d"}) == b"fine"
    headers = site.asked[0].headers
    assert (headers["X-Auth-Token"], headers["X-Team"], headers["Accept"]) == (KEY, "red", "c/d")


@pytest.mark.parametrize(
    "auth",
    [
        AUTH,
        {"kind": "bearer", "token": KEY},
        {"kind": "basic", "user": "me", "password": KEY},
        {"kind": "query", "name": "key", "value": KEY},
        {
            "kind": "hmac",
            "key": KEY,
            "secret": KEY,
            "message": "{url}",
            "query": {"key": "{key}", "sign": "{signature}"},
        },
        {"kind": "oauth2", "token_url": "SITE/token", "client_id": "me", "client_secret": KEY},
        {"kind": "login", "url": "SITE/token", "body": {"password": KEY}, "token": "access_token", "query": "session"},
    ],
)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_to_another_origin_carries_no_credentials(auth: dict[str, Any], status: int) -> None:
    async with Site(ok) as other:

        def away(asked: Asked) -> web.Response:
            if asked.path == "/token":
                return web.json_response({"access_token": KEY})
            return web.Response(status=status, headers={"Location": f"{other.url}/stolen"})

        async with Site(away) as site:
            auth = {
                name: value.replace("SITE", site.url) if isinstance(value, str) else value
                for name, value in auth.items()
            }
            async with entered(site.url, auth=auth, headers={"X-Key": KEY}) as acme:
                assert await get(acme, f"{site.url}/x", headers={"X-Feed-Key": KEY}) == b"fine"
    asked = other.asked[0]
    assert not {"X-Auth-Token", "Authorization", "X-Key", "X-Feed-Key", "Cookie", "Referer"} & set(asked.headers)
    assert KEY not in str(asked)


async def test_a_redirect_that_comes_back_is_authorised_again() -> None:
    def there(asked: Asked) -> web.Response:
        if asked.path == "/done":
            return ok(asked)
        return web.Response(status=302, headers={"Location": f"{other.url}/mirror"})

    def back(_asked: Asked) -> web.Response:
        return web.Response(status=302, headers={"Location": f"{site.url}/done"})

    async with Site(back) as other, Site(there) as site, entered(site.url, auth=AUTH) as acme:
        assert await get(acme, f"{site.url}/x") == b"fine"
    assert [asked.headers.get("X-Auth-Token") for asked in site.asked] == [KEY, KEY]
    assert "X-Auth-Token" not in other.asked[0].headers


async def test_a_body_is_not_redirected_to_another_origin() -> None:
    async with Site(ok) as other:

        def away(_asked: Asked) -> web.Response:
            return web.Response(status=307, headers={"Location": f"{other.url}/stolen"})

        async with Site(away) as site, entered(site.url) as acme:
            with pytest.raises(SourceRefused, match="another origin"):
                await get(acme, f"{site.url}/x", method="POST", body=b'{"key": 1}')
    assert not other.asked


@pytest.mark.parametrize(("status", "method", "body"), [(303, "GET", b""), (302, "GET", b""), (307, "POST", b"{}")])
async def test_a_redirected_post_keeps_its_method_as_the_status_says(status: int, method: str, body: bytes) -> None:
    def moved(asked: Asked) -> web.Response:
        return ok(asked) if asked.path == "/new" else web.Response(status=status, headers={"Location": "/new"})

    async with Site(moved) as site, entered(site.url) as acme:
        await get(acme, f"{site.url}/x", method="POST", body=b"{}")
    assert (site.asked[1].method, site.asked[1].body) == (method, body)


@pytest.mark.parametrize("location", ["/loop", "http://[", "ftp://a.example/", "http://"])
async def test_a_redirect_that_leads_nowhere_is_a_refusal(location: str) -> None:
    def moved(_asked: Asked) -> web.Response:
        return web.Response(status=302, headers={"Location": location})

    async with Site(moved) as site, entered(site.url) as acme:
        with pytest.raises(SourceRefused):
            await get(acme, f"{site.url}/x")
    assert len(site.asked) <= 6


@pytest.mark.parametrize("auth", [AUTH, {"kind": "query", "name": "key", "value": KEY}])
async def test_no_secret_is_in_a_reason(auth: dict[str, Any]) -> None:
    def echo(asked: Asked) -> web.Response:
        said = f"wrong key {asked.headers.get('X-Auth-Token')} {asked.query.get('key')}" + "x" * 1000
        return web.Response(status=401, text=said)

    async with Site(echo) as site, entered(site.url, auth=auth) as acme:
        with pytest.raises(SourceRefused, match="wrong key") as refused:
            await get(acme, f"{site.url}/x?token=inline")
    assert KEY not in refused.value.reason
    assert "inline" not in refused.value.reason
    assert len(refused.value.reason) < 300


async def test_no_secret_is_in_the_reason_of_a_broken_answer() -> None:
    async def babble(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"this is not HTTP\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(babble, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, entered(url, auth={"kind": "query", "name": "key", "value": KEY}) as acme:
        with pytest.raises(SourceLost, match="not HTTP") as lost:
            await get(acme, f"{url}/x?token=inline")
    assert KEY not in lost.value.reason
    assert "inline" not in lost.value.reason


async def test_tls_that_cannot_be_trusted_is_a_source_lost() -> None:
    async with Site(ok) as site, entered(site.url.replace("http:", "https:")) as acme:
        with pytest.raises(SourceLost, match="127") as lost:
            await get(acme, f"{site.url.replace('http:', 'https:')}/x")
    assert isinstance(lost.value.__cause__, ssl.SSLError | OSError)


@pytest.mark.parametrize("headers", [{"X": "a\r\nEvil: b"}, {"X Y": "a"}])
async def test_a_request_that_cannot_be_sent_is_a_refusal(headers: dict[str, str]) -> None:
    async with Site(ok) as site, entered(site.url) as acme:
        with pytest.raises(SourceRefused):
            await get(acme, f"{site.url}/x", headers=headers)
    assert not site.asked


async def test_a_body_beyond_the_limit_is_a_refusal() -> None:
    def large(_asked: Asked) -> web.Response:
        return web.Response(body=b"x" * 100_001)

    async with Site(large) as site, entered(site.url) as acme:
        assert len(await get(acme, f"{site.url}/x", limit=100_001)) == 100_001
        with pytest.raises(SourceRefused, match=r"max_body \(100000 bytes\)"):
            await get(acme, f"{site.url}/x", limit=100_000)


@pytest.mark.parametrize(("encoding", "wbits"), [("gzip", 31), ("deflate", 15)])
async def test_a_bomb_is_counted_as_it_unfolds(encoding: str, wbits: int) -> None:
    packer = zlib.compressobj(9, wbits=wbits)
    bomb = b"".join(packer.compress(b"\0" * (1 << 20)) for _ in range(64)) + packer.flush()

    def explode(_asked: Asked) -> web.Response:
        return web.Response(body=bomb, headers={"Content-Encoding": encoding})

    async with Site(explode) as site, entered(site.url) as acme:
        tracemalloc.start()
        try:
            with pytest.raises(SourceRefused, match="max_body"):
                await get(acme, f"{site.url}/x", limit=1 << 20)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak < 16 << 20


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd"])
async def test_a_body_that_does_not_decompress_is_a_source_lost(encoding: str) -> None:
    def broken(_asked: Asked) -> web.Response:
        return web.Response(body=b"\xff" * 5000, headers={"Content-Encoding": encoding})

    async with Site(broken) as site, entered(site.url) as acme:
        with pytest.raises(SourceLost):
            await get(acme, f"{site.url}/x")


@pytest.mark.parametrize("how", ["cut", "reset", "stall"])
async def test_a_body_that_breaks_off_is_a_source_lost(how: str) -> None:
    over = asyncio.Event()

    async def halting(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b"x" * 500)
        await over.wait()
        writer.close()

    server = await asyncio.start_server(halting, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, Proxy("127.0.0.1", port) as proxy:
        url = f"http://{proxy.address}"
        async with entered(url, timeout="300ms") as acme:

            async def read() -> None:
                async with acme.request("GET", URL(url)) as response:
                    getattr(proxy, how)()
                    await acme.read(response, 1 << 20)

            with pytest.raises(SourceLost, match="GET http"):
                await read()
        over.set()


async def test_a_provider_is_entered_before_it_is_asked() -> None:
    _source, settings = configured({"kind": "rest"}, url="http://127.0.0.1:1")
    with pytest.raises(RuntimeError, match="entered"):
        await get(Provider("acme", settings), "http://127.0.0.1:1/")


async def test_the_pace_holds_across_everything_that_is_asked() -> None:
    async with Site(ok) as site, entered(site.url, rate_limit="4/s") as acme, asyncio.TaskGroup() as group:
        for number in range(9):
            group.create_task(get(acme, f"{site.url}/{number}"))
    moments = [asked.at for asked in site.asked]
    assert len(moments) == 9
    # Without a common pace it would be next to nothing; what is asked may be late at the site by a little.
    assert all(later - earlier >= 0.75 for earlier, later in zip(moments, moments[4:], strict=False))


async def test_a_limit_that_one_feed_met_holds_for_all() -> None:
    def busy(_asked: Asked) -> web.Response:
        return web.Response(status=429, headers={"Retry-After": "3600"})

    async with Site(busy) as site, entered(site.url) as acme:
        for path in ("/one", "/two"):
            with pytest.raises(SourceLost) as lost:
                await get(acme, f"{site.url}{path}")
            assert lost.value.retry_after == pytest.approx(3600, abs=2)
    assert len(site.asked) == 1


async def test_a_limit_that_is_told_in_headers_is_kept_before_it_is_broken() -> None:
    def counting(asked: Asked) -> web.Response:
        headers = {"X-RateLimit-Remaining": str(1 - asked.number), "X-RateLimit-Reset": "3600"}
        return web.Response(text="fine", headers=headers)

    async with Site(counting) as site, entered(site.url) as acme:
        await get(acme, f"{site.url}/1")
        await get(acme, f"{site.url}/2")
        with pytest.raises(SourceLost, match="used up"):
            await get(acme, f"{site.url}/3")
    assert len(site.asked) == 2


async def test_a_429_that_tells_its_reset_in_headers_needs_no_retry_after() -> None:
    def busy(_asked: Asked) -> web.Response:
        return web.Response(status=429, headers={"RateLimit": '"day";r=0;t=7200'})

    async with Site(busy) as site, entered(site.url) as acme:
        with pytest.raises(SourceLost) as lost:
            await get(acme, f"{site.url}/1")
    assert lost.value.retry_after == pytest.approx(7200, abs=2)


async def test_what_another_origin_says_of_limits_holds_nobody_up() -> None:
    def busy(_asked: Asked) -> web.Response:
        return web.Response(status=429, headers={"Retry-After": "3600", "X-RateLimit-Remaining": "0"})

    async with Site(busy) as other, Site(ok) as site, entered(site.url) as acme:
        with pytest.raises(SourceLost):
            await get(acme, f"{other.url}/x")
        assert await get(acme, f"{site.url}/x") == b"fine"


async def test_a_rule_of_the_provider_comes_after_that_of_the_feed_and_before_the_usual() -> None:
    rules = Rules([ErrorRule(status=("404",), text="gone", action="retry")])

    def missing(asked: Asked) -> web.Response:
        return web.Response(status=404, text=asked.path)

    async with Site(missing) as site, entered(site.url, errors=[{"status": 404, "action": "ignore"}]) as acme:
        with pytest.raises(AnswerIgnored):
            await get(acme, f"{site.url}/x", rules=rules)
        with pytest.raises(SourceLost) as lost:
            await get(acme, f"{site.url}/gone", rules=rules)
    assert not isinstance(lost.value, AnswerIgnored)


async def test_a_request_that_cannot_be_signed_is_a_refusal() -> None:
    auth = {"kind": "hmac", "secret": KEY, "message": "", "headers": {"S": "{signature}"}, "body": {"n": "{nonce}"}}
    async with Site(ok) as site, entered(site.url, auth=auth) as acme:
        with pytest.raises(SourceRefused, match="no JSON object"):
            await get(acme, f"{site.url}/x", method="POST", body=b"[]")
    assert not site.asked


async def test_a_secret_is_blanked_out_however_it_is_written() -> None:
    secret = "p&ss w/rd"
    auth = {"kind": "login", "url": "https://id.example", "body": {"password": secret}, "token": "t"}
    async with entered("https://a.example", auth=auth) as acme:
        for form in (secret, "p%26ss%20w%2Frd", "p%26ss+w%2Frd"):
            assert acme.said(f"wrong: {form}!") == "wrong: ***!"
