"""Sequence numbers of messages: found wherever they stand, whether or not all of the message is decoded."""

import json
from typing import Any

import pytest

from service.model import Message
from service.transform.numbering import Numbered
from tests.unit.transform.making import make


def numbers(body: Any, meta: Any = None, **feed: Any) -> list[Numbered]:
    transform = make({"id": "text"}, {"id": "id"}, **feed)
    assert transform.numbering is not None
    sent = Message(body if isinstance(body, bytes) else json.dumps(body).encode(), 1.0, None, meta)
    return transform.numbering.read(sent, transform.read(sent))


@pytest.mark.parametrize("whole", [{}, {"map": {"id": "$record.id"}}])
@pytest.mark.parametrize(
    ("body", "sequence", "found"),
    [
        ({"id": "a", "n": 7}, {"field": "n"}, [Numbered(7, 7)]),
        ([{"n": 7}, {"n": 8}, {"x": 1}], {"field": "n"}, [Numbered(7, 7), Numbered(8, 8)]),
        ({"d": {"n": "12"}}, {"field": "d.n"}, [Numbered(12, 12)]),
        ({"d": [{"n": 12}]}, {"field": "d[0].n"}, [Numbered(12, 12)]),
        ({"n": 7.0}, {"field": "n"}, [Numbered(7, 7)]),
        ({"U": 3, "u": 9}, {"first": "U", "last": "u"}, [Numbered(3, 9)]),
        ({"u": 9, "pu": 4}, {"field": "u", "previous": "pu"}, [Numbered(5, 9)]),
        ({"n": 7, "k": "x", "e": 5}, {"field": "n", "key": "k", "epoch": "e"}, [Numbered(7, 7, "x", "5")]),
        ({"n": 7}, {"field": "n", "key": "k"}, []),
        ({"n": 7, "full": True}, {"field": "n", "reset_when": "full == true"}, [Numbered(7, 7, "", None, True)]),
        ({"n": 7, "a": 1, "b": 2}, {"field": "n", "reset_when": "a + b == 3"}, [Numbered(7, 7, "", None, True)]),
        ({"n": 7, "a": "x"}, {"field": "n", "reset_when": "a + 1 == 3"}, []),
    ],
)
def test_numbers_are_found_in_messages(body: Any, sequence: Any, found: list[Numbered], whole: Any) -> None:
    assert numbers(body, sequence=sequence, **whole) == found


@pytest.mark.parametrize(
    "number", [None, True, 1.5, "x", "", [1], {"a": 1}, 1 << 62, 1 << 63, -(10**30), "1e400", "NaN"]
)
def test_what_is_no_number_is_none(number: Any) -> None:
    assert numbers({"n": number}, sequence={"field": "n"}) == []


@pytest.mark.parametrize("key", [None, "a\0b", "k" * 501, 10**501, [1], {"a": 1}])
def test_a_key_that_could_not_be_kept_is_none(key: Any) -> None:
    assert numbers({"n": 7, "k": key}, sequence={"field": "n", "key": "k"}) == []
    assert numbers({"n": 7, "k": key}, sequence={"field": "n", "epoch": "k"}) == [Numbered(7, 7)]


@pytest.mark.parametrize("form", ["json", "ndjson"])
def test_with_records_inside_a_message_its_number_lies_beside_them(form: str) -> None:
    body = {"n": 5, "d": {"rows": [{"id": "a"}, {"id": "b"}]}}
    if form == "json":
        assert numbers(body, records="d.rows", sequence={"field": "n"}, format=form) == [Numbered(5, 5)]
    else:
        assert numbers(body, sequence={"field": "n"}, format=form) == [Numbered(5, 5)]


def test_the_envelope_has_numbers_too() -> None:
    assert numbers({"id": "a"}, {"params": {"id": "41"}}, sequence={"field": "$params.id"}) == [Numbered(41, 41)]


def test_a_message_that_is_not_as_the_map_expects_has_its_number_all_the_same() -> None:
    feed: dict[str, Any] = {"map": {"id": "d.id"}, "sequence": {"field": "n"}}
    assert numbers({"n": 5, "d": "text in place of an object"}, **feed) == [Numbered(5, 5)]


def test_records_that_where_leaves_out_are_numbered() -> None:
    assert numbers({"id": "a", "n": 3, "type": "pong"}, where="type == 'x'", sequence={"field": "n"}) == [
        Numbered(3, 3)
    ]
