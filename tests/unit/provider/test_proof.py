"""Vectors are those of the providers' own documentation, where they publish one."""

import hmac
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict
from pydantic import ValidationError

from service.provider.proof import Signature, Token

GITHUB = {"header": "X-Hub-Signature-256", "prefix": "sha256=", "secret": "It's a Secret to Everybody"}
SLACK = {
    "header": "X-Slack-Signature",
    "prefix": "v0=",
    "secret": "8f742231b10e8888abcd99yyyzzz85a5",
    "timestamp": "X-Slack-Request-Timestamp",
    "message": "v0:{timestamp}:{body}",
}
SLACK_BODY = (
    b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar"
    b"&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text="
    b"&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN"
    b"&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
)
STANDARD = {  # standardwebhooks.com
    "header": "webhook-signature",
    "prefix": "v1,",
    "separator": " ",
    "secret": "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "secret_encoding": "base64",
    "encoding": "base64",
    "timestamp": "webhook-timestamp",
    "message": "{webhook-id}.{timestamp}.{body}",
}
STRIPE = {
    "header": "Stripe-Signature",
    "prefix": "v1=",
    "separator": ",",
    "secret": "whsec_test",
    "timestamp": {"header": "Stripe-Signature", "prefix": "t=", "separator": ","},
    "message": "{timestamp}.{body}",
}


def stripe(moment: str, body: bytes) -> str:
    signed = hmac.digest(b"whsec_test", moment.encode() + b"." + body, "sha256").hex()
    return f"t={moment},v0=00ff,v1={'0' * 64},v1={signed}"


VECTORS: dict[str, tuple[Mapping[str, Any], dict[str, str], bytes, float]] = {
    "github": (
        GITHUB,
        {"X-Hub-Signature-256": "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"},
        b"Hello, World!",
        0.0,
    ),
    "slack": (
        SLACK,
        {
            "X-Slack-Signature": "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
            "X-Slack-Request-Timestamp": "1531420618",
        },
        SLACK_BODY,
        1531420618.0,
    ),
    "standard webhooks": (
        STANDARD,
        {
            "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
            "webhook-timestamp": "1614265330",
            "webhook-signature": "v1a,AAAA v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        },
        b'{"test": 2432232314}',
        1614265330.0,
    ),
    "stripe": (STRIPE, {"Stripe-Signature": stripe("1492774577", b"{}")}, b"{}", 1492774577.0),
}


@pytest.fixture(params=VECTORS)
def vector(request: pytest.FixtureRequest) -> tuple[Signature, CIMultiDict[str], bytes, float]:
    recipe, headers, body, moment = VECTORS[request.param]
    return Signature.model_validate(recipe), CIMultiDict(headers), body, moment


Vector = tuple[Signature, CIMultiDict[str], bytes, float]


def test_what_the_provider_signed_is_taken(vector: Vector) -> None:
    signature, headers, body, moment = vector
    assert signature.fault(headers, body, moment + 299, 300) is None
    assert signature.fault(headers, body, moment - 299, 300) is None
    assert (
        signature.fault(CIMultiDict({name.upper(): value for name, value in headers.items()}), body, moment, 1) is None
    )


def test_a_changed_body_is_refused(vector: Vector) -> None:
    signature, headers, body, moment = vector
    assert signature.fault(headers, body + b" ", moment, 300) == "wrong signature"


def test_every_header_that_is_signed_counts(vector: Vector) -> None:
    signature, headers, body, moment = vector
    for name, value in headers.items():
        changed = headers.copy()
        changed[name] = value[:-2] + ("00" if value[-2:] != "00" else "11")
        assert signature.fault(changed, body, moment, 1e12) in {"wrong signature", "no signature"}


def test_a_request_that_is_too_old_or_from_the_future_is_refused() -> None:
    recipe, headers, body, moment = VECTORS["slack"]
    signature = Signature.model_validate(recipe)
    assert signature.fault(CIMultiDict(headers), body, moment + 301, 300) == "301 s away from our clock"
    assert signature.fault(CIMultiDict(headers), body, moment - 301, 300) == "301 s away from our clock"


@pytest.mark.parametrize(
    "written", ["1531420618000", "1531420618.0", "2018-07-12T18:36:58Z", "2018-07-12T20:36:58+02:00"]
)
def test_a_time_is_seconds_milliseconds_or_iso_8601(written: str) -> None:
    signed = "v0=" + hmac.digest(SLACK["secret"].encode(), f"v0:{written}:x".encode(), "sha256").hex()
    headers = CIMultiDict({"X-Slack-Signature": signed, "X-Slack-Request-Timestamp": written})
    assert Signature.model_validate(SLACK).fault(headers, b"x", 1531420618.0, 1) is None


@pytest.mark.parametrize("written", ["", "yesterday", "2018-07-12T18:36:58", "1e9", "-5", "nan"])
def test_a_signed_text_that_is_no_time_is_refused(written: str) -> None:
    signed = "v0=" + hmac.digest(SLACK["secret"].encode(), f"v0:{written}:x".encode(), "sha256").hex()
    headers = CIMultiDict({"X-Slack-Signature": signed, "X-Slack-Request-Timestamp": written})
    assert Signature.model_validate(SLACK).fault(headers, b"x", 1531420618.0, 1e12) == "no time"


@given(st.text(max_size=80), st.text(max_size=20), st.binary(max_size=50))
def test_whatever_a_stranger_sends_is_refused_and_never_an_error(signature: str, stamp: str, body: bytes) -> None:
    signature, stamp = (text.encode(errors="replace").decode(errors="surrogateescape") for text in (signature, stamp))
    for recipe, headers, _body, _moment in VECTORS.values():
        given = CIMultiDict(dict.fromkeys(headers, f"{recipe['prefix']}{signature}"))
        given.update(dict.fromkeys([name for name in headers if "timestamp" in name.lower()], stamp))
        assert Signature.model_validate(recipe).fault(given, body, 0, 1e12) is not None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"message": "{timestamp}"}, "must hold {body}"),
        ({"message": "{body}"}, "go together"),
        ({"timestamp": None}, "go together"),
        ({"secret": "not base64!", "secret_encoding": "base64"}, "the secret is not base64"),
        ({"secret": ""}, "at least 1"),
        ({"algorithm": "md5"}, "sha256"),
    ],
)
def test_a_recipe_that_proves_nothing_is_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Signature.model_validate({**SLACK, **change})


def test_a_token_is_found_in_its_header_or_in_the_query() -> None:
    header = Token.model_validate({"header": "Authorization", "prefix": "Bearer ", "value": "hunter2"})
    assert header.fault(CIMultiDict({"authorization": "Bearer hunter2"}), {}) is None
    assert header.fault(CIMultiDict({"authorization": "hunter2"}), {}) == "wrong token"
    assert header.fault(CIMultiDict(), {"authorization": "Bearer hunter2"}) == "no token"
    query = Token.model_validate({"query": "key", "value": "hünter2"})
    assert query.fault(CIMultiDict(), {"key": "hünter2"}) is None
    assert query.fault(CIMultiDict({"key": "hünter2"}), {}) == "no token"


@pytest.mark.parametrize("token", [{}, {"header": "a", "query": "b"}, {"header": "a", "value": ""}])
def test_a_token_has_one_place_and_a_value(token: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        Token.model_validate({"value": "hunter2", **token})
