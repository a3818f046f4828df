"""A key that is asked for: how it is written, and in which records it is found."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.config.tables import Table
from service.workbench.wanted import Finder, read_key
from tests.unit.transform.making import make, message

COLUMNS = {"source": "text", "id": "text", "day": {"type": "timestamp", "null": True}}
TABLE = Table.model_validate({"key": ["source", "id"], "columns": COLUMNS})


@pytest.mark.parametrize(
    "parts", [["acme", "7"], ["source=acme", "7"], ["7", "source=acme"], ["id=7", "acme"], ["id=7", "source=acme"]]
)
def test_a_key_is_written_with_or_without_names(parts: list[str]) -> None:
    assert read_key("t", TABLE, parts) == {"source": "acme", "id": "7"}


def test_a_value_may_hold_an_equals_sign() -> None:
    assert read_key("t", TABLE, ["acme", "a=b"]) == {"source": "acme", "id": "a=b"}


def test_values_are_read_as_their_column_reads_them() -> None:
    table = Table.model_validate({"key": ["day", "n"], "columns": {"day": "timestamp", "n": "integer"}})
    expected = {"day": datetime(2026, 1, 1, tzinfo=UTC), "n": 7}
    assert read_key("t", table, ["2026-01-01T01:00:00+01:00", "7"]) == expected


@pytest.mark.parametrize(
    ("key", "parts", "said"),
    [
        (["source", "id"], ["acme"], "the key of t is source, id; give a value for each"),
        (["source", "id"], ["a", "b", "c"], "the key of t is source, id; give a value for each"),
        (["day"], ["tomorrow"], "day: 'tomorrow'"),
    ],
)
def test_what_is_no_key_is_explained(key: list[str], parts: list[str], said: str) -> None:
    columns = {**COLUMNS, "day": "timestamp"}
    with pytest.raises(ValueError, match=said):
        read_key("t", Table.model_validate({"key": key, "columns": columns}), parts)


def finder(value: Any, column: Any = "text", **mapped: Any) -> tuple[Any, Finder]:
    settings = Table.model_validate({"key": "id", "columns": {"id": column, "n": {"type": "integer", "null": True}}})
    transform = make({"id": column, "n": {"type": "integer", "null": True}}, {"id": "id", "n": "n", **mapped})
    return transform, Finder(transform, "t", settings, {"id": value})


@given(st.text(max_size=5), st.text(max_size=5))
def test_no_message_that_holds_the_key_is_passed_by_at_the_first_look(value: str, other: str) -> None:
    wanted = value.strip()
    if "\0" in wanted or not wanted:
        return
    transform, found = finder(wanted)
    sent = message([{"id": other}, {"id": f" {value} "}])
    rows = [transform.attempt(sent, record).row for record in transform.decode(sent)]
    if any(row is not None and found.is_of(row) for row in rows):
        assert found.may_hold(sent.body)


def test_what_the_map_or_the_column_changes_is_not_looked_for_as_it_is_written() -> None:
    for column, mapped in (
        ({"type": "text", "clean": ["upper"]}, {}),
        ("text", {"id": {"from": "id", "values": {"x": "A"}}}),
        ("text", {"id": {"expr": "id"}}),
        ({"type": "text", "default": "A"}, {}),
    ):
        assert finder("A", column, **mapped)[1].may_hold(b'{"id": "x"}')
    assert not finder("A")[1].may_hold(b'{"id": "x"}')


def test_a_record_that_was_refused_for_another_column_has_the_key_all_the_same() -> None:
    transform, found = finder("a")
    sent = message([{"id": "a", "n": "many"}, {"id": "b", "n": "many"}, {"n": "a"}])
    claims = [found.claims(record, sent) for record in transform.decode(sent)]
    assert claims == [True, False, False]
    assert found.mentions({"n": "a"}, sent, b'{"n": "a"}')
    assert not found.mentions({"id": "b"}, sent, b'{"id": "b", "n": "a"}')
    assert not found.mentions({"n": "axe"}, sent, b'{"n": "axe"}')


def test_what_is_in_utf_16_is_not_passed_by_wherever_its_first_ascii_stands() -> None:
    _, found = finder("a")
    for codec in ("utf-16", "utf-16-le", "utf-16-be"):
        assert found.may_hold("\u6771\u4eac;a".encode(codec))
        assert found.speaks_of('{"id": "a"}'.encode(codec))
        assert not found.speaks_of('{"id": "ab"}'.encode(codec))
