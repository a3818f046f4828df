"""Tokens over real sockets: fetched once, renewed in time, rotated without loss, refused without a storm."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from aiohttp import web
from yarl import URL

from service.errors import SourceLost, SourceRefused
from service.provider import Provider
from tests.collector import configured
from tests.site import Asked, Site

SECRET = "cl1ent-s3cret"


class Identity:
    """A provider of tokens t1, t2, ... each of which needs the refresh token r0, r1, ... that came before it."""

    def __init__(self, **answer: Any) -> None:
        self.answer = answer
        self.calls: list[dict[str, list[str]]] = []
        self.open = asyncio.Event()
        self.open.set()
        self.status = 200
        self.good: set[str] = set()
        self.asked: list[Asked] = []

    async def __call__(self, asked: Asked) -> web.Response:
        if asked.path == "/token":
            self.calls.append(form := parse_qs(asked.body.decode()))
            number = len(self.calls)
            await self.open.wait()
            if self.status != 200:
                return web.json_response({"error": "invalid_grant", "said": form}, status=self.status)
            if "refresh_token" in form and form["refresh_token"] != [f"r{number - 1}-rotated"]:
                return web.json_response({"error": "invalid_grant"}, status=400)
            self.good = {f"token-{number}"}
            given = {"access_token": f"token-{number}", "token_type": "Bearer", "refresh_token": f"r{number}-rotated"}
            return web.json_response({**given, **self.answer})
        self.asked.append(asked)
        token = asked.headers.get("Authorization", "").removeprefix("Bearer ")
        if token in self.good:
            return web.json_response(len(self.asked))
        return web.Response(status=401, text=f"no such token: {token}")


@contextlib.asynccontextmanager
async def acme(site: Site, folder: Path, **settings: Any) -> AsyncIterator[Provider]:
    auth = {"kind": "oauth2", "token_url": f"{site.url}/token", "client_id": "me", "client_secret": SECRET}
    rest = {key: settings.pop(key) for key in ("rate_limit", "timeout", "errors") if key in settings}
    _source, configuration = configured({"kind": "rest"}, url=site.url, auth={**auth, **settings}, **rest)
    async with Provider("acme", configuration, folder) as provider:
        yield provider


async def get(provider: Provider, path: str = "/x") -> bytes:
    assert provider.url is not None
    async with provider.request("GET", URL(f"{provider.url}{path}")) as response:
        return await provider.read(response, 1000)


async def test_all_who_ask_at_once_wait_for_one_call(tmp_path: Path) -> None:
    identity = Identity()
    async with Site(identity) as site, acme(site, tmp_path) as provider, asyncio.TaskGroup() as group:
        for _ in range(10):
            group.create_task(get(provider))
    assert len(identity.calls) == 1
    assert len(identity.asked) == 10


async def test_a_token_is_renewed_before_it_ends(tmp_path: Path) -> None:
    identity = Identity(expires_in=0.3)
    async with Site(identity) as site, acme(site, tmp_path) as provider:
        await get(provider)
        await get(provider)
        assert len(identity.calls) == 1
        async with asyncio.timeout(5):
            while len(identity.calls) == 1:
                await get(provider)
    assert all(asked.headers["Authorization"] != "Bearer " for asked in identity.asked)


async def test_a_401_renews_the_token_once_and_asks_again(tmp_path: Path) -> None:
    identity = Identity()
    async with Site(identity) as site, acme(site, tmp_path) as provider:
        await get(provider)
        identity.good.clear()
        await get(provider)
    assert len(identity.calls) == 2
    assert [asked.headers["Authorization"][-1] for asked in identity.asked] == ["1", "1", "2"]


async def test_a_second_401_is_a_refusal_that_shows_no_token(tmp_path: Path) -> None:
    identity = Identity()

    async def never(asked: Asked) -> web.Response:
        answer = await identity(asked)
        identity.good.clear()
        return answer

    async with Site(never) as site, acme(site, tmp_path) as provider:
        with pytest.raises(SourceRefused, match=r"401: no such token: \*\*\*") as refused:
            await get(provider)
    assert len(identity.calls) == 2
    assert "token-" not in refused.value.reason


async def test_requests_that_fail_together_renew_together(tmp_path: Path) -> None:
    identity = Identity()
    async with Site(identity) as site, acme(site, tmp_path) as provider:
        await get(provider)
        identity.good.clear()
        async with asyncio.TaskGroup() as group:
            for _ in range(5):
                group.create_task(get(provider))
    assert len(identity.calls) == 2


async def test_a_401_of_another_kind_of_credential_is_not_repeated() -> None:
    async with Site(lambda _asked: web.Response(status=401)) as site:
        _source, settings = configured({"kind": "rest"}, url=site.url, auth={"kind": "bearer", "token": "t0k3n"})
        async with Provider("acme", settings) as provider:
            with pytest.raises(SourceRefused, match="401"):
                await get(provider)
    assert len(site.asked) == 1


async def test_a_rotated_refresh_token_survives_restarts(tmp_path: Path) -> None:
    identity = Identity()
    async with Site(identity) as site:
        for _ in range(3):
            async with acme(site, tmp_path, refresh_token="r0-rotated") as provider:
                await get(provider)
                identity.good.clear()
                await get(provider)
    assert [call["refresh_token"] for call in identity.calls] == [[f"r{number}-rotated"] for number in range(6)]


async def test_a_refresh_token_that_another_process_renewed_is_found(tmp_path: Path) -> None:
    identity = Identity()
    async with (
        Site(identity) as site,
        acme(site, tmp_path, refresh_token="r0-rotated") as daemon,
        acme(site, tmp_path, refresh_token="r0-rotated") as preview,
    ):
        await get(daemon)
        await get(preview)
        await get(daemon)
    assert len(identity.calls) == 3


async def test_a_new_refresh_token_in_the_configuration_comes_before_a_kept_one(tmp_path: Path) -> None:
    identity = Identity()
    async with Site(identity) as site:
        async with acme(site, tmp_path, refresh_token="r0-rotated") as provider:
            await get(provider)
        identity.calls.clear()
        async with acme(site, tmp_path, refresh_token="another") as provider:
            with pytest.raises(SourceRefused, match="invalid_grant"):
                await get(provider)
    assert identity.calls[0]["refresh_token"] == ["another"]


async def test_a_refresh_token_is_not_spent_when_the_next_one_could_not_be_kept(tmp_path: Path) -> None:
    identity = Identity()
    in_the_way = tmp_path / "acme.new"
    in_the_way.mkdir()
    async with Site(identity) as site, acme(site, tmp_path, refresh_token="r0-rotated") as provider:
        with pytest.raises(SourceLost, match="cannot be kept"):
            await get(provider)
        assert not identity.calls
        in_the_way.rmdir()
        await get(provider)
    assert len(identity.calls) == 1


async def test_a_feed_that_is_stopped_does_not_lose_the_token_that_is_on_its_way(tmp_path: Path) -> None:
    identity = Identity()
    identity.open.clear()
    async with Site(identity) as site:
        async with acme(site, tmp_path, refresh_token="r0-rotated") as provider, asyncio.TaskGroup() as group:
            asking = group.create_task(get(provider))
            async with asyncio.timeout(5):
                while not identity.calls:
                    await asyncio.sleep(0)
            asking.cancel()
            await asyncio.wait([asking])
            assert asking.cancelled()
            identity.open.set()
        async with acme(site, tmp_path, refresh_token="r0-rotated") as provider:
            await get(provider)
    assert [call["refresh_token"] for call in identity.calls] == [["r0-rotated"], ["r1-rotated"]]


@pytest.mark.parametrize("status", [400, 401, 403])
async def test_a_refused_token_call_is_a_refusal_and_is_not_repeated_by_every_feed(tmp_path: Path, status: int) -> None:
    identity = Identity()
    identity.status = status
    async with Site(identity) as site, acme(site, tmp_path, client="body") as provider:
        for _ in range(3):
            with pytest.raises(SourceRefused, match=f"{status}.*invalid_grant") as refused:
                await get(provider)
            assert SECRET not in refused.value.reason
    assert len(identity.calls) == 1
    assert not identity.asked


async def test_a_token_call_that_fails_is_lost_and_is_tried_again(tmp_path: Path) -> None:
    identity = Identity()
    identity.status = 503
    async with Site(identity) as site, acme(site, tmp_path) as provider:
        with pytest.raises(SourceLost, match="503"):
            await get(provider)
        identity.status = 200
        await get(provider)


async def test_a_token_call_that_is_not_answered_is_lost_in_time(tmp_path: Path) -> None:
    identity = Identity()
    identity.open.clear()
    async with Site(identity) as site, acme(site, tmp_path, timeout="200ms") as provider:
        with pytest.raises(SourceLost, match="in time"):
            await get(provider)
        identity.open.set()


async def test_an_answer_without_a_token_is_a_refusal(tmp_path: Path) -> None:
    async with Site(lambda _asked: web.json_response({"error": "no"})) as site, acme(site, tmp_path) as provider:
        with pytest.raises(SourceRefused, match="no access_token"):
            await get(provider)


async def test_token_calls_count_against_the_budget(tmp_path: Path) -> None:
    identity = Identity(expires_in=0)
    async with Site(identity) as site, acme(site, tmp_path, rate_limit="4/s") as provider:
        for _ in range(3):
            await get(provider)
    moments = [asked.at for asked in site.asked]
    assert all(later - earlier >= 0.99 for earlier, later in zip(moments, moments[4:], strict=False))


async def test_a_token_call_is_not_redirected(tmp_path: Path) -> None:
    async with Site(lambda _asked: web.json_response({"access_token": "stolen"})) as thief:

        def away(_asked: Asked) -> web.Response:
            return web.Response(status=307, headers={"Location": f"{thief.url}/token"})

        async with Site(away) as site, acme(site, tmp_path) as provider:
            with pytest.raises(SourceRefused, match="307"):
                await get(provider)
    assert not thief.asked


async def test_a_token_of_another_origin_is_asked_for_without_the_providers_headers(tmp_path: Path) -> None:
    identity = Identity()
    async with Site(identity) as other, Site(identity) as site:
        auth = {"kind": "oauth2", "token_url": f"{other.url}/token", "client_id": "me", "client_secret": SECRET}
        _source, settings = configured({"kind": "rest"}, url=site.url, auth=auth, headers={"X-Key": "k3y-k3y"})
        async with Provider("acme", settings, tmp_path) as provider:
            await get(provider)
    assert "X-Key" not in other.asked[0].headers
    assert SECRET not in str([asked.headers for asked in site.asked])


async def test_a_rule_may_call_for_a_new_token(tmp_path: Path) -> None:
    identity = Identity()

    async def unusual(asked: Asked) -> web.Response:
        answer = await identity(asked)
        return web.Response(status=400, text="session expired") if answer.status == 401 else answer

    errors = [{"text": "session expired", "action": "refresh_token"}]
    async with Site(unusual) as site, acme(site, tmp_path, errors=errors) as provider:
        await get(provider)
        identity.good.clear()
        await get(provider)
    assert len(identity.calls) == 2
