from datetime import UTC, datetime
from typing import Any

import pytest

from service.errors import ConfigError
from service.model import Message
from service.transform.transform import Piece
from tests.unit.transform.making import make, run


def test_rows_have_the_order_of_the_table_whatever_the_order_of_the_map() -> None:
    transform = make({"a": "text", "b": "integer", "c": "text"}, {"c": "z", "b": "y", "a": "x"})
    assert run(transform, {"x": "1", "y": 2, "z": "3"}).rows == [("1", 2, "3")]


def test_a_column_that_is_not_mapped_has_its_default_or_null() -> None:
    columns = {"a": "text", "b": {"type": "integer", "null": True}, "c": {"type": "integer", "default": 3}}
    assert run(make(columns, {"a": "a"}), {"a": "x", "b": 1, "c": 1}).rows == [("x", None, 3)]


def test_what_the_map_itself_supplies_is_converted_once_and_checked_at_the_start() -> None:
    column = {"type": "timestamp", "format": "epoch_s"}
    moment = datetime(2026, 1, 2, tzinfo=UTC)
    transform = make({"a": column, "b": column}, {"a": {"const": "2026-01-02T00:00:00Z"}, "b": {"const": 1767312000}})
    assert run(transform, {}).rows == [(moment, moment)]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ({"const": "x"}, 'the const "x" does not fit the column: it is not a number'),
        ({"const": 12}, "the const 12 does not fit the column: it is more than the maximum 9"),
        ({"from": "a", "default": "x"}, 'the default "x" does not fit the column'),
        ({"from": "a", "values": {"one": 10}}, "the values.one 10 does not fit the column"),
        ({"from": "a", "values": {"one": 1}, "otherwise": "?"}, 'the otherwise "?" does not fit the column'),
    ],
)
def test_what_the_map_supplies_and_the_column_refuses_is_a_config_error(source: Any, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make({"c": {"type": "integer", "max": 9}}, {"c": source})
    assert said in str(caught.value)


@pytest.mark.parametrize("kind", ["json", "text", "integer", "boolean"])
@pytest.mark.parametrize("format_", ["csv", {"kind": "csv", "delimiter": ","}, "auto"])
def test_an_empty_cell_is_null_in_a_column_of_any_type(kind: str, format_: Any) -> None:
    transform = make({"id": "text", "c": {"type": kind, "null": True}}, format=format_)
    sent = Message(b'id,c\r\na,\r\nb,""\r\nc,  \r\n', 0.0, meta={"content_type": "text/csv"})
    assert transform.map([Piece(sent, transform.read(sent))]).rows == [("a", None), ("b", None), ("c", None)]


def test_an_empty_attribute_is_null_in_a_json_column_and_an_empty_text_of_json_is_a_text() -> None:
    columns: Any = {"id": "text", "c": {"type": "json", "null": True}}
    xml = make(columns, {"id": '"@id"', "c": '"@c"'}, format="xml", records="r/i")
    sent = Message(b'<r><i id="a" c=""/><i id="b" c="x"/></r>', 0.0)
    assert xml.map([Piece(sent, xml.read(sent))]).rows == [("a", None), ("b", '"x"')]
    assert run(make(columns), {"id": "a", "c": ""}).rows == [("a", '""')]
