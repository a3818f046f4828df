"""Login calls: what they send, where the token is, and when it ends."""

import time
from typing import Any

import pytest
from pydantic import ValidationError
from yarl import URL

from service.auth import Request
from service.auth.login import Login

BASE: dict[str, Any] = {"url": "https://id.example/login", "token": "data.token"}


def login(**settings: Any) -> Login:
    return Login.model_validate({**BASE, **settings})


@pytest.mark.parametrize(
    ("encoding", "body", "content_type"),
    [("json", b'{"user":"me","password":"p&1"}', "json"), ("form", b"user=me&password=p%261", "x-www-form-urlencoded")],
)
def test_a_login_sends_its_fields(encoding: str, body: bytes, content_type: str) -> None:
    request = login(body={"user": "me", "password": "p&1"}, encoding=encoding, headers={"X-Application": "app"}).call(
        None
    )
    assert (request.method, request.body) == ("POST", body)
    assert request.headers["Content-Type"].endswith(content_type)
    assert request.headers["X-Application"] == "app"


@pytest.mark.parametrize(
    ("settings", "document", "lifetime"),
    [
        ({"lifetime": "20m"}, '{"data": {"token": "t"}}', 1200),
        ({}, '{"data": {"token": "t"}}', None),
        ({"expires_in": "data.ttl", "lifetime": "1h"}, '{"data": {"token": "t", "ttl": "90"}}', 90),
        ({"expires_in": "data.ttl", "lifetime": "1h"}, '{"data": {"token": "t"}}', 3600),
    ],
)
def test_a_token_holds_for_as_long_as_the_provider_or_else_the_user_says(
    settings: dict[str, Any], document: str, lifetime: float | None
) -> None:
    token = login(**settings).read(document.encode())
    assert (token.value, token.lifetime) == ("t", lifetime)


@pytest.mark.parametrize("form", ["{:.0f}", "{:.3f}", '"{:.0f}"', "ms", "iso"])
def test_a_token_may_end_at_a_moment(form: str) -> None:
    at = time.time() + 600
    told = {
        "ms": f"{at * 1000:.0f}",
        "iso": time.strftime('"%Y-%m-%dT%H:%M:%SZ"', time.gmtime(at)),
    }.get(form, form.format(at))
    token = login(expires_at="end").read(f'{{"data": {{"token": "t"}}, "end": {told}}}'.encode())
    assert token.lifetime == pytest.approx(600, abs=3)


@pytest.mark.parametrize("document", ["", "[]", '{"data": {"token": null}}', '{"data": {"token": ""}}', '{"data": 1}'])
def test_an_answer_without_a_token_says_so(document: str) -> None:
    with pytest.raises(ValueError, match="answer"):
        login().read(document.encode())


@pytest.mark.parametrize("end", ['"soon"', "[]", "{}"])
def test_an_end_that_is_none_says_so(end: str) -> None:
    with pytest.raises(ValueError, match="no end"):
        login(expires_at="end").read(f'{{"data": {{"token": "t"}}, "end": {end}}}'.encode())


def test_the_token_goes_where_the_provider_wants_it() -> None:
    usual, own, query = (Request("GET", URL("https://api.example/x?a=1"), token="t0k") for _ in range(3))
    login().authorize(usual)
    login(header="X-Session", value="{token}").authorize(own)
    login(query="session").authorize(query)
    assert usual.headers["Authorization"] == "Bearer t0k"
    assert dict(own.headers) == {"X-Session": "t0k"}
    assert (dict(query.headers), query.url.query_string) == ({}, "a=1&session=t0k")


@pytest.mark.parametrize(
    "settings", [{"token": "a..b"}, {"value": "Bearer"}, {"expires_in": "a", "expires_at": "b"}, {"url": "/login"}]
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        login(**settings)
