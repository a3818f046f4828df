"""The REST provider pages, filters, answers 304, limits and fails as it is told."""

from datetime import datetime
from decimal import Decimal
from typing import Any

import aiohttp
import msgspec
import pytest

from service.demo.faults import Faults
from service.demo.providers import Providers
from service.demo.season import OPENING

_decode = msgspec.json.Decoder(float_hook=Decimal).decode
_TOKEN = {"X-Auth-Token": "demo"}


async def _get(session: aiohttp.ClientSession, providers: Providers, **params: str) -> Any:
    async with session.get(f"{providers.rest_url}/matches", params=params) as response:
        assert response.status == 200
        return _decode(await response.read())


async def _walk(session: aiohttp.ClientSession, providers: Providers, **params: str) -> list[list[dict[str, Any]]]:
    pages: list[list[dict[str, Any]]] = []
    while True:
        document = await _get(session, providers, **params)
        pages.append(document["matches"])
        if document["paging"]["next"] is None:
            return pages
        params["cursor"] = document["paging"]["next"]


def _quiet(total: int = 0, faults: Faults | None = None, page_size: int = 100) -> Providers:
    """Give providers that publish ``total`` events at once and then no more."""
    return Providers(
        total=total, speed=0, heartbeat=None, faults=faults or Faults(), page_size=page_size, prebuilt=True
    )


async def test_a_request_without_the_token_is_answered_401() -> None:
    async with _quiet() as providers, aiohttp.ClientSession() as session:
        for headers in ({}, {"X-Auth-Token": "wrong"}):
            async with session.get(f"{providers.rest_url}/matches", headers=headers) as response:
                assert response.status == 401


async def test_the_pages_together_hold_every_match_once_with_exact_odds() -> None:
    async with _quiet(total=500, page_size=150) as providers, aiohttp.ClientSession(headers=_TOKEN) as session:
        await providers.finished()
        pages = await _walk(session, providers)
        rows = providers.oracle().rows

    matches = {match["id"]: match for page in pages for match in page}
    assert [len(page) for page in pages] == [150] * (len(rows) // 150) + [len(rows) % 150]
    assert matches.keys() == rows.keys()
    for match_id, match in matches.items():
        odds = match["odds"] and match["odds"]["home"]
        assert str(odds) == str(rows[match_id]["odds_home"])
        assert match["score"]["fullTime"]["home"] == rows[match_id]["home_score"]
        assert datetime.fromisoformat(match["lastUpdated"]) == rows[match_id]["updated_at"]


async def test_updated_since_gives_what_changed_at_or_after_a_moment() -> None:
    async with _quiet(total=300) as providers, aiohttp.ClientSession(headers=_TOKEN) as session:
        await providers.finished()
        versions = sorted(row["updated_at"] for row in providers.oracle().rows.values())
        since = versions[-150]
        pages = await _walk(session, providers, updatedSince=since.isoformat().replace("+00:00", "Z"))

    found = [datetime.fromisoformat(match["lastUpdated"]) for page in pages for match in page]
    assert found == versions[-150:]
    assert len(pages) == 2


async def test_a_match_that_changes_during_a_walk_is_met_again_at_its_end() -> None:
    providers = Providers(total=200, speed=0, audience=1, heartbeat=None, page_size=OPENING)
    async with providers, aiohttp.ClientSession(headers=_TOKEN) as session:
        first = await _get(session, providers, limit="200")
        async with session.ws_connect(providers.websocket_url, headers=_TOKEN) as listener:
            await listener.send_json({"op": "subscribe", "channel": "scores"})
            await providers.finished()
        rest = await _walk(session, providers, cursor=first["paging"]["next"])

    seen = {match["id"]: match["lastUpdated"] for page in [first["matches"], *rest] for match in page}
    rows = providers.oracle().rows
    assert {match_id: datetime.fromisoformat(text) for match_id, text in seen.items()} == {
        match_id: row["updated_at"] for match_id, row in rows.items()
    }


async def test_an_unchanged_answer_is_304_and_a_changed_one_is_sent() -> None:
    providers = Providers(total=1, speed=0, audience=1, heartbeat=None, page_size=500)
    async with providers, aiohttp.ClientSession(headers=_TOKEN) as session:
        url = f"{providers.rest_url}/matches"
        async with session.get(url) as response:
            known = {"If-None-Match": response.headers["ETag"]}
        async with session.get(url, headers=known) as response:
            assert (response.status, await response.read()) == (304, b"")
        async with session.ws_connect(providers.websocket_url, headers=_TOKEN) as listener:
            await listener.send_json({"op": "subscribe", "channel": "scores"})
            await providers.finished()
        async with session.get(url, headers=known) as response:
            assert response.status == 200
            assert response.headers["ETag"] != known["If-None-Match"]


async def test_more_requests_than_the_minute_allows_are_answered_429_with_retry_after() -> None:
    faults = Faults(per_minute=2)
    async with _quiet(faults=faults) as providers, aiohttp.ClientSession(headers=_TOKEN) as session:
        statuses = []
        for _ in range(3):
            async with session.get(f"{providers.rest_url}/matches") as response:
                statuses.append(response.status)
                wait = response.headers.get("Retry-After")

    assert statuses == [200, 200, 429]
    assert wait is not None
    assert 1 <= int(wait) <= 60
    assert providers.rest.answers == {200: 2, 429: 1}


async def test_a_script_decides_the_next_answers() -> None:
    async with _quiet() as providers, aiohttp.ClientSession(headers=_TOKEN) as session:
        providers.faults.script.extend([500, 200, 429, 503])
        statuses = []
        for _ in range(5):
            async with session.get(f"{providers.rest_url}/matches") as response:
                statuses.append((response.status, response.headers.get("Retry-After")))

    assert statuses == [(500, None), (200, None), (429, "1"), (503, None), (200, None)]


async def test_chance_fails_requests_as_the_seed_says() -> None:
    seen = []
    for _ in range(2):
        faults = Faults(server_error=0.3, too_many=0.3)
        async with _quiet(faults=faults) as providers, aiohttp.ClientSession(headers=_TOKEN) as session:
            statuses = []
            for _ in range(30):
                async with session.get(f"{providers.rest_url}/matches", params={"limit": "1"}) as response:
                    statuses.append(response.status)
        seen.append(statuses)

    assert seen[0] == seen[1]
    assert set(seen[0]) == {200, 429, 500}


@pytest.mark.parametrize(
    "params",
    [{"cursor": "?"}, {"updatedSince": "yesterday"}, {"updatedSince": "2026-01-01"}, {"limit": "0"}, {"limit": "x"}],
)
async def test_a_parameter_that_makes_no_sense_is_answered_400(params: dict[str, str]) -> None:
    async with (
        _quiet() as providers,
        aiohttp.ClientSession(headers=_TOKEN) as session,
        session.get(f"{providers.rest_url}/matches", params=params) as response,
    ):
        assert response.status == 400
        assert (await response.json())["error"]
