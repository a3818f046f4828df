"""Authenticators: what each adds to a request."""

from typing import Any, cast

import pytest
from pydantic import TypeAdapter
from yarl import URL

from service.auth import Authenticator, Request
from service.config.connectors import discover

SECRET = "s3cret/+&="


def authenticator(**settings: Any) -> Authenticator:
    return cast("Authenticator", TypeAdapter(discover("service.auth")[settings["kind"]]).validate_python(settings))


@pytest.mark.parametrize(
    ("settings", "header", "value"),
    [
        ({"kind": "header", "name": "X-Auth-Token", "value": SECRET}, "x-auth-token", SECRET),
        ({"kind": "bearer", "token": SECRET}, "authorization", f"Bearer {SECRET}"),
        # The example of RFC 7617, section 2.
        (
            {"kind": "basic", "user": "Aladdin", "password": "open sesame"},
            "authorization",
            "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==",
        ),
    ],
)
def test_a_header_carries_the_secret(settings: dict[str, Any], header: str, value: str) -> None:
    request = Request("GET", URL("https://api.example/v4?a=1"))
    authenticator(**settings).authorize(request)
    assert request.headers[header] == value
    assert request.url == URL("https://api.example/v4?a=1")


def test_a_query_parameter_carries_the_secret_and_leaves_the_others() -> None:
    request = Request("GET", URL("https://api.example/v4?a=1&key=old"))
    authenticator(kind="query", name="key", value=SECRET).authorize(request)
    assert dict(request.url.query) == {"a": "1", "key": SECRET}
    assert not request.headers


@pytest.mark.parametrize(
    "settings",
    [
        {"kind": "header", "name": "X", "value": SECRET},
        {"kind": "bearer", "token": SECRET},
        {"kind": "query", "name": "key", "value": SECRET},
        {"kind": "basic", "user": "u", "password": SECRET},
    ],
)
def test_settings_do_not_show_the_secret(settings: dict[str, Any]) -> None:
    assert SECRET not in repr(authenticator(**settings))
