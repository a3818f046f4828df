from decimal import Decimal
from typing import Any

import pytest

from service.transform.violations import kind_of, masked, shown


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("x", '"x"'),
        (Decimal("1.10"), "1.10"),
        ({"a": [1, None]}, '{"a":[1,null]}'),
        ("\ud800", r"'\ud800'"),
        (b"\0", '"AA=="'),
        (float("nan"), "nan"),  # not null, as JSON has it
    ],
)
def test_a_value_is_shown_as_json(value: Any, expected: str) -> None:
    assert shown(value) == expected


def test_a_long_value_is_shortened_and_a_deep_one_named() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    assert shown("x" * 1000) == f'"{"x" * 79}…'
    assert shown(deep) == "a list"


@pytest.mark.parametrize(
    ("value", "name"),
    [(None, "null"), (True, "a boolean"), (1, "a number"), ("", "text"), ([], "a list"), ({}, "an object")],
)
def test_a_kind_has_the_name_that_people_use(value: Any, name: str) -> None:
    assert kind_of(value) == name


def test_what_looks_like_a_secret_is_masked_wherever_it_is() -> None:
    value = {"api_key": 1, "a": [{"Password": "p"}, "https://u:p@host/", 2], "text": '{"token": "t", "b": "c"}'}
    expected = {
        "api_key": "***",
        "a": [{"Password": "***"}, "https://***@host/", 2],
        "text": '{"token":"***", "b": "c"}',
    }
    assert masked(value) == expected


def test_a_value_without_end_is_named() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    assert masked(deep) == "a list"


def test_nothing_under_a_secret_name_is_shown_however_deep_it_lies() -> None:
    assert shown({"a": 1, "credentials": {"user": "bob", "pw": "x"}, "b": 2}) == '{"a":1,"credentials":"***","b":2}'
