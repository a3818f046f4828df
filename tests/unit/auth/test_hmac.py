"""Signed requests: published vectors, and that what is signed is what is sent."""

import hashlib
import hmac
from typing import Any
from urllib.parse import parse_qs

import orjson
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from yarl import URL

from service.auth import Request
from service.auth.hmac import Hmac
from service.provider import Provider
from tests.collector import configured
from tests.site import Asked, Site

BITMEX = {
    "secret": "chNOOS4KvNXR_Xq4k4c9qsfoKWvnDecLATCRlcBwyKDYnWgO",
    "message": "{method}{path_and_query}{timestamp}{body}",
    "timestamp": "s",
    "headers": {"api-signature": "{signature}", "api-expires": "{timestamp}"},
}


def signer(at_ms: int = 0, **settings: Any) -> Hmac:
    made = Hmac.model_validate({"headers": {"S": "{signature}"}, "message": "{body}", "secret": "s3cret", **settings})
    made._clock = lambda: at_ms * 10**6
    return made


def signed(request: Request, at_ms: int = 0, **settings: Any) -> Request:
    signer(at_ms, **settings).authorize(request)
    return request


def test_the_example_of_binance() -> None:
    # developers.binance.com, "SIGNED request example (HMAC)".
    asked = "symbol=LTCBTC&side=BUY&type=LIMIT&timeInForce=GTC&quantity=1&price=0.1"
    request = signed(
        Request("POST", URL(f"https://api.binance.com/api/v3/order?{asked}")),
        1499827319559,
        key="vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zvsw0MuIgwCIPy6utIco14y7Ju91duEh8A",
        secret="NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j",
        message="{query}{body}",
        headers={"X-MBX-APIKEY": "{key}"},
        query={"recvWindow": "5000", "timestamp": "{timestamp}", "signature": "{signature}"},
    )
    signature = "c8db56825ae71d6d79447849e617115f4a920fa2acdcab2b053c4b2838bd6b71"
    assert request.url.raw_query_string == f"{asked}&recvWindow=5000&timestamp=1499827319559&signature={signature}"
    assert request.headers["X-MBX-APIKEY"].startswith("vmPUZE6")


def test_the_example_of_kraken() -> None:
    # docs.kraken.com, "Spot REST Authentication".
    body = b"nonce=1616492376594&ordertype=limit&pair=XBTUSD&price=37500&type=buy&volume=1.25"
    request = signed(
        Request("POST", URL("https://api.kraken.com/0/private/AddOrder"), body=body),
        1616492376594,
        secret="kQH5HW/8p1uGOVjbgWA7FunAmGO8lsSUXNsu3eow76sz84Q18fWxnyRzBHCd3pd5nE9qa99HAZtuZuj6F1huXg==",
        secret_encoding="base64",
        hash="sha512",
        message=["{path}", {"hash": "sha256", "of": "{nonce}{body}", "encoding": "raw"}],
        encoding="base64",
        headers={"API-Sign": "{signature}"},
    )
    assert request.headers["API-Sign"] == (
        "4/dpxb3iT4tp/ZCVEwSnEsLxx0bqyhLpdfOpc6fn7OR8+UClSV5n9E6aSS8MPtnRfp32bAb0nmbRn6H8ndwLUQ=="
    )


@pytest.mark.parametrize(
    ("target", "at", "signature"),
    [
        ("/api/v1/instrument", 1518064236, "c7682d435d0cfe87c16098df34ef2eb5a549d4c5a3c2b1f0f77b8af73423bf00"),
        (
            "/api/v1/instrument?filter=%7B%22symbol%22%3A+%22XBTM15%22%7D",
            1518064237,
            "e2f422547eecb5b3cb29ade2127e21b858b235b386bfa45e1c1756eb3383919f",
        ),
    ],
)
def test_the_examples_of_bitmex(target: str, at: int, signature: str) -> None:
    # bitmex.com/app/apiKeysUsage, "Full sample calculations".
    request = signed(Request("GET", URL(f"https://www.bitmex.com{target}", encoded=True)), at * 1000, **BITMEX)
    assert request.headers["api-signature"] == signature
    assert request.headers["api-expires"] == str(at)


@pytest.mark.parametrize(
    ("algorithm", "begins"),
    [("sha256", "5bdcc146bf60754e"), ("sha384", "af45d2e376484031"), ("sha512", "164b7a7bfcf819e2")],
)
def test_the_second_case_of_rfc_4231(algorithm: str, begins: str) -> None:
    request = Request("POST", URL("https://a.example"), body=b"what do ya want for nothing?")
    assert signed(request, secret="Jefe", hash=algorithm).headers["S"].startswith(begins)


@pytest.mark.parametrize(
    ("encoding", "begins"),
    [("hex", "5bdcc146"), ("HEX", "5BDCC146"), ("base64", "W9zBRr9gdU5qBCQmCJV1x1oAPwidJzmD"), ("base64url", "W9zB")],
)
def test_a_signature_is_written_as_the_provider_wants_it(encoding: str, begins: str) -> None:
    request = Request("POST", URL("https://a.example"), body=b"what do ya want for nothing?")
    assert signed(request, secret="Jefe", encoding=encoding).headers["S"].startswith(begins)


@pytest.mark.parametrize(
    ("unit", "shown"),
    [
        ("s", "1700000000"),
        ("ms", "1700000000123"),
        ("us", "1700000000123000"),
        ("ns", "1700000000123000000"),
        ("iso", "2023-11-14T22:13:20.123Z"),
    ],
)
def test_a_timestamp_is_in_the_unit_that_is_configured(unit: str, shown: str) -> None:
    request = signed(
        Request("GET", URL("https://a.example")),
        1700000000123,
        timestamp=unit,
        headers={"T": "{timestamp}", "S": "{signature}"},
    )
    assert request.headers["T"] == shown


def test_a_nonce_is_never_used_twice_even_when_the_clock_stands_still_or_goes_back() -> None:
    made = signer(5, headers={"N": "{nonce}", "S": "{signature}"})
    nonces = []
    for at in (5, 5, 4, 9):
        made._clock = lambda at=at: at * 10**6  # type: ignore[misc]
        request = Request("GET", URL("https://a.example"))
        made.authorize(request)
        nonces.append(request.headers["N"])
    assert nonces == ["5", "6", "7", "9"]


def test_fields_are_added_to_a_json_body_before_it_is_signed() -> None:
    request = signed(Request("POST", URL("https://a.example"), body=b'{"a":1}'), 7, body={"nonce": "{nonce}"})
    assert request.body == b'{"a":1,"nonce":"7"}'
    assert request.headers["S"] == hmac.new(b"s3cret", request.body, "sha256").hexdigest()


def test_a_body_that_takes_no_fields_cannot_be_signed() -> None:
    with pytest.raises(ValueError, match="no JSON object"):
        signed(Request("POST", URL("https://a.example"), body=b"[1]"), body={"nonce": "{nonce}"})


@given(st.binary(max_size=40))
def test_any_body_is_signed_byte_by_byte(body: bytes) -> None:
    request = signed(Request("POST", URL("https://a.example"), body=body), message="é{body}")
    assert request.headers["S"] == hmac.new(b"s3cret", "é".encode() + body, "sha256").hexdigest()


@given(st.dictionaries(st.text("ab %+/=&é{}", min_size=1, max_size=5), st.text("ab %+/=&é{}", max_size=5), max_size=3))
def test_a_signature_in_the_query_changes_nothing_of_what_was_signed(params: dict[str, str]) -> None:
    url = URL("https://a.example/x").with_query(params)
    request = signed(Request("GET", url), message="{query}", headers={}, query={"sign": "{signature}"})
    query, _, signature = request.url.raw_query_string.rpartition("sign=")
    assert signature == hmac.new(b"s3cret", query.removesuffix("&").encode(), hashlib.sha256).hexdigest()
    assert parse_qs(query, keep_blank_values=True) == parse_qs(url.raw_query_string, keep_blank_values=True)


async def test_what_is_signed_is_what_arrives() -> None:
    def verify(asked: Asked) -> web.Response:
        wanted = hmac.new(b"s3cret", f"{asked.method}{asked.target}".encode() + asked.body, "sha256").hexdigest()
        return web.json_response({"fine": asked.headers.get("S") == wanted})

    auth = {
        "kind": "hmac",
        "secret": "s3cret",
        "message": "{method}{path_and_query}{body}",
        "headers": {"S": "{signature}"},
        "query": {"at": "{timestamp}"},
    }
    async with Site(verify) as site:
        _source, settings = configured({"kind": "rest"}, url=site.url, auth=auth)
        async with Provider("acme", settings) as acme:
            for target in ("/x", "/a%2Fb/c d?q=1 2&r=é%2C,", "/?a=%7B+%7D"):
                url = URL(f"{site.url}{target}")
                async with acme.request("POST", url, body='{"ä": 1}'.encode()) as response:
                    assert orjson.loads(await acme.read(response, 1000)) == {"fine": True}, target
    assert b"s3cret" not in repr(site.asked).encode()


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"message": "{tiemstamp}"}, "{tiemstamp} has no meaning here"),
        ({"message": "{signature}"}, "no meaning"),
        ({"message": []}, "at least 1"),
        ({"headers": {"S": "x"}}, "goes nowhere"),
        ({"headers": {"S": "{signatur}{signature}"}}, "no meaning"),
        ({"body": {"s": "{signature}"}}, "signed as it is sent"),
        ({"secret_encoding": "base64", "secret": "a-secret!"}, "is not base64"),
        ({"secret_encoding": "hex", "secret": "a-secret!"}, "is not hex"),
    ],
)
def test_a_recipe_that_cannot_work_is_refused_without_its_secret(settings: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem) as raised:
        signer(**settings)
    assert "a-secret!" not in "".join(error["msg"] for error in raised.value.errors())
