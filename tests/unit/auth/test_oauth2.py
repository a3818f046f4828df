"""OAuth 2.0: what a token call sends and what its answer means."""

import base64
from typing import Any
from urllib.parse import parse_qs

import pytest
from pydantic import ValidationError
from yarl import URL

from service.auth import Request
from service.auth.oauth2 import OAuth2

BASE: dict[str, Any] = {"token_url": "https://id.example/token", "client_id": "me:1", "client_secret": "s3c/ret"}


def sent(refresh: str | None = None, **settings: Any) -> tuple[Request, dict[str, list[str]]]:
    request = OAuth2.model_validate({**BASE, **settings}).call(refresh)
    return request, parse_qs((request.body or b"").decode())


def test_client_credentials_go_into_the_header_form_encoded() -> None:
    # RFC 6749, section 2.3.1: both are form-encoded before they are joined.
    request, form = sent(scope="a b", params={"audience": "x"})
    assert (request.method, str(request.url)) == ("POST", "https://id.example/token")
    assert base64.b64decode(request.headers["Authorization"].removeprefix("Basic ")) == b"me%3A1:s3c%2Fret"
    assert form == {"grant_type": ["client_credentials"], "scope": ["a b"], "audience": ["x"]}


def test_client_credentials_go_into_the_body_if_the_provider_wants_them_there() -> None:
    request, form = sent(client="body")
    assert "Authorization" not in request.headers
    assert form == {"grant_type": ["client_credentials"], "client_id": ["me:1"], "client_secret": ["s3c/ret"]}


def test_the_newest_refresh_token_is_presented() -> None:
    assert sent(refresh_token="first")[1]["refresh_token"] == ["first"]
    assert sent("second", refresh_token="first")[1] == {"grant_type": ["refresh_token"], "refresh_token": ["second"]}


def test_a_public_client_names_itself() -> None:
    request, form = sent(client_secret=None, refresh_token="first")
    assert "Authorization" not in request.headers
    assert form["client_id"] == ["me:1"]
    assert "client_secret" not in form


@pytest.mark.parametrize(
    ("answer", "lifetime"),
    [
        (b'{"access_token": "t", "token_type": "Bearer", "expires_in": 3600}', 3600),
        (b'{"access_token": "t", "token_type": "bearer", "expires_in": "60"}', 60),
        (b'{"access_token": "t", "more": {}}', 1800),
    ],
)
def test_an_answer_holds_the_token_and_how_long_it_holds(answer: bytes, lifetime: float) -> None:
    token = OAuth2.model_validate({**BASE, "lifetime": "30m"}).read(answer)
    assert (token.value, token.lifetime) == ("t", lifetime)


def test_a_refresh_token_counts_only_where_one_is_used() -> None:
    answer = b'{"access_token": "t", "refresh_token": "next"}'
    assert OAuth2.model_validate(BASE).read(answer).refresh is None
    assert OAuth2.model_validate({**BASE, "refresh_token": "first"}).read(answer).refresh == "next"


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"<html>",
        b"[]",
        b'{"error": "slow_down"}',
        b'{"access_token": 1}',
        b'{"access_token": "t", "expires_in": "x"}',
    ],
)
def test_an_answer_without_a_token_says_so(answer: bytes) -> None:
    with pytest.raises(ValueError, match="no access_token"):
        OAuth2.model_validate(BASE).read(answer)


def test_a_token_of_another_type_is_not_sent_as_a_bearer_token() -> None:
    with pytest.raises(ValueError, match="another type"):
        OAuth2.model_validate(BASE).read(b'{"access_token": "t", "token_type": "mac"}')


def test_the_token_goes_into_the_header() -> None:
    request = Request("GET", URL("https://api.example"), token="t0ken")
    OAuth2.model_validate(BASE).authorize(request)
    assert request.headers["Authorization"] == "Bearer t0ken"
    assert "t0ken" not in repr(Request("GET", URL("https://api.example"), token="t0ken"))


def test_without_anything_to_present_there_is_no_grant() -> None:
    with pytest.raises(ValidationError, match="client_secret"):
        OAuth2.model_validate({**BASE, "client_secret": None})
