"""In XML a list of one cannot be told from its item: a column that is a list takes either, and so does a path."""

from typing import Any

import pytest

from service.model import Message
from service.transform.transform import Piece
from tests.unit.transform.making import make

COLUMNS: dict[str, Any] = {
    "id": "text",
    "tags": {"type": "text", "list": True, "null": True},
    "sums": {"type": "integer", "list": True, "null": True},
    "first": {"type": "text", "null": True},
    "second": {"type": "text", "null": True},
}
MAP = {"id": "id", "tags": "tags.tag", "sums": {"expr": "n"}, "first": "tags.tag[0]", "second": "tags.tag[1]"}
XML = (
    b"<r><i><id>1</id><tags><tag>a</tag></tags><n>4</n></i>"
    b"<i><id>2</id><tags><tag>a</tag><tag>b</tag></tags><n>4</n><n>5</n></i>"
    b"<i><id>3</id><tags><tag/></tags></i><i><id>4</id></i></r>"
)


@pytest.mark.parametrize("form", ["xml", "auto"])
@pytest.mark.parametrize("partial", [False, True])
def test_one_child_is_a_list_of_one_where_a_list_is_wanted(form: str, partial: bool) -> None:
    transform = make(COLUMNS, MAP, format=form, records="r.i", partial=partial)
    sent = Message(XML, 0.0)
    mapped = transform.map([Piece(sent, transform.read(sent))])
    assert [row[:5] for row in mapped.rows] == [
        ("1", ["a"], [4], "a", None),
        ("2", ["a", "b"], [4, 5], "a", "b"),
        ("3", None, None, None, None),
        ("4", None, None, None, None),
    ]


@pytest.mark.parametrize("form", ["xml", "auto"])
def test_its_item_is_converted_and_refused_as_any_other(form: str) -> None:
    transform = make(COLUMNS, MAP, format=form, records="r.i")
    sent = Message(b"<r><i><id>1</id><n>x</n></i></r>", 0.0)
    (refusal,) = transform.map([Piece(sent, transform.read(sent))]).refusals
    assert refusal.reason == "sums: number"
    again = Message(refusal.record or b"", 0.0, meta=refusal.meta)
    assert transform.attempt(again, transform.reread(again)).reason == "sums: number"


@pytest.mark.parametrize("form", ["json", "auto", "ndjson"])
def test_json_stays_strict(form: str) -> None:
    transform = make(COLUMNS, MAP, format=form)
    sent = Message(b'{"id": "1", "tags": {"tag": "a"}}', 0.0)
    (refusal,) = transform.map([Piece(sent, transform.read(sent))]).refusals
    assert refusal.reason == "tags: list"
    sent = Message(b'{"id": "1", "tags": {"tag": null}}', 0.0)
    assert transform.map([Piece(sent, transform.read(sent))]).rows == [("1", None, None, None, None)]
