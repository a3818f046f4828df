"""What headers about limits say."""

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from service.config.answers import LimitHeaders
from service.provider.limits import Limit, limits


def read(headers: dict[str, str], **settings: Any) -> list[Limit]:
    return limits(CIMultiDict(headers), LimitHeaders.model_validate(settings))


@pytest.mark.parametrize(
    ("value", "found"),
    [
        # draft-ietf-httpapi-ratelimit-headers-10, section 4 and its examples.
        ('"default";r=50;t=30', [("default", 50, 30)]),
        ('"problemPolicy";r=0;t=10', [("problemPolicy", 0, 10)]),
        ('"permin";r=9;t=4, "perhr";r=0;t=300', [("permin", 9, 4), ("perhr", 0, 300)]),
        ('"a, b";t=5;r=1;pk=:cHNrMzkx:', [("a, b", 1, 5)]),
        ("default;r=1;t=2", [("default", 1, 2)]),
        ('"default";r=50', []),
        # -07 and before.
        ("limit=100, remaining=0, reset=5", [("ratelimit", 0, 5)]),
        ('"default";r=many;t=30', []),
        ("", []),
    ],
)
def test_the_ietf_header_names_its_policies(value: str, found: list[tuple[str, float, float]]) -> None:
    assert read({"ratelimit": value}) == found


def test_the_three_older_headers_count_in_seconds() -> None:
    assert read({"RateLimit-Remaining": "0", "RateLimit-Reset": "1700000000"}) == [("ratelimit", 0, 1_700_000_000)]


@pytest.mark.parametrize(
    ("unit", "value"),
    [
        ("auto", "90"),
        ("seconds", "90"),
        ("auto", "{:.0f}"),
        ("epoch", "{:.0f}"),
        ("auto", "{:.3f}"),
        ("auto", "ms"),
        ("epoch_ms", "ms"),
    ],
)
def test_a_reset_is_seconds_or_a_moment(unit: str, value: str) -> None:
    at = time.time() + 90
    told = f"{at * 1000:.0f}" if value == "ms" else value.format(at)
    ((_name, left, seconds),) = read({"x-ratelimit-remaining": "3", "x-ratelimit-reset": told}, reset_in=unit)
    assert left == 3
    assert seconds == pytest.approx(90, abs=2)


def test_a_unit_that_is_configured_is_not_guessed_at() -> None:
    headers = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "90"}
    assert read(headers, reset_in="epoch") == [("x", 0, 0)]
    assert read(headers, reset_in="seconds") == [("x", 0, 90)]


def test_headers_of_another_name_are_read_if_they_are_configured() -> None:
    headers = {"X-Requests-Available-Minute": "0", "X-RequestCounter-Reset": "42"}
    names = {"remaining": "X-Requests-Available-Minute", "reset": "X-RequestCounter-Reset"}
    assert read(headers) == []
    assert read(headers, **names) == [("x", 0, 42)]


def test_headers_may_be_left_unread() -> None:
    assert read({"RateLimit": '"default";r=0;t=30'}, obey=False) == []


@given(st.text(max_size=60), st.text(max_size=20), st.text(max_size=20))
def test_any_header_is_survived(policy: str, remaining: str, reset: str) -> None:
    headers = {"RateLimit": policy, "X-RateLimit-Remaining": remaining, "X-RateLimit-Reset": reset}
    assert all(limit.left >= 0 and limit.seconds >= 0 for limit in read(headers))


def test_a_hostile_header_costs_no_time() -> None:
    started = time.monotonic()
    for value in ('"' + "\\" * 8000, ";a=" * 3000, "a;" * 4000, "a=1 " * 2000, '"a";r' * 1600, " ;" * 4000):
        read({"RateLimit": value})
    assert time.monotonic() - started < 1
