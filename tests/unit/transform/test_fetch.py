from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from tests.unit.transform.making import make, run

TEXT = {"type": "text", "null": True}


def fetch(source: Any, record: Any, column: Any = TEXT, **attributes: Any) -> Any:
    """Give what the map makes of one record, or the reason of its refusal after ``!``."""
    mapped = run(make({"c": column}, {"c": source}), record, **attributes)
    return mapped.rows[0][0] if mapped.rows else f"!{mapped.refusals[0].reason}"


@pytest.mark.parametrize(
    ("path", "record", "found"),
    [
        ("a", {"a": "x"}, "x"),
        ("a.b[1].c", {"a": {"b": [0, {"c": "x"}]}}, "x"),
        ('"a.b".c', {"a.b": {"c": "x"}}, "x"),
        ("a.b", {"a": None}, None),
        ("a.b", {"a": "text"}, None),
        ("a[0]", {"a": {"0": "x"}}, None),
        ("a[5]", {"a": [1]}, None),
        ("a", {}, None),
        ("@id", {"@id": "x"}, "x"),
        ("[1]", [1, "x"], "x"),
        ("[1].b", [1, {"b": "x"}], "x"),
        ("[3]", [1], None),
        ("[0]", {"a": 1}, None),
    ],
)
def test_a_path_leads_to_a_value_or_to_nothing(path: str, record: Any, found: Any) -> None:
    assert fetch(path, record) == found


def test_the_first_present_path_wins_and_null_is_not_present() -> None:
    source = {"from": ["a", "b.c", "d"]}
    assert fetch(source, {"a": "1", "d": "4"}) == "1"
    assert fetch(source, {"a": None, "b": {"c": "3"}, "d": "4"}) == "3"
    assert fetch(source, {"b": {}, "d": "4"}) == "4"
    assert fetch(source, {}) is None


@pytest.mark.parametrize(
    ("path", "column", "found"),
    [
        ("$provider", "text", "acme"),
        ("$feed", "text", "acme.scores"),
        ("$received_at", "timestamp", datetime(2026, 1, 2, 12, 0, 0, 250_000, tzinfo=UTC)),
        ("$position.page", "integer", 3),
        ("$position", "json", '{"page":3}'),
        ("$params.day", "text", "monday"),
        ("$record", "json", '{"a":1.50}'),
        ("$record.a", "decimal", Decimal("1.50")),
    ],
)
def test_the_envelope_comes_from_the_message(path: str, column: str, found: Any) -> None:
    attributes = {"position": {"page": 3}, "meta": {"params": {"day": "monday"}}}
    assert fetch(path, {"a": Decimal("1.50")}, column, **attributes) == found


def test_an_envelope_without_position_or_params_has_nulls() -> None:
    assert fetch("$params.day", {}) is None
    assert fetch("$position.page", {}) is None


def test_a_constant_stands_in_every_row() -> None:
    assert fetch({"const": "acme"}, {}) == "acme"
    assert fetch({"const": 3}, {}, "decimal") == Decimal(3)
    assert fetch({"const": {"a": [1]}}, {}, "json") == '{"a":[1]}'
    assert fetch({"const": None}, {}) is None


@pytest.mark.parametrize(
    ("sent", "found"),
    [
        ("TIMED", "scheduled"),
        (" TIMED ", "scheduled"),
        (1, "one"),
        (Decimal("1.50"), "one and a half"),
        (True, "yes"),
        (False, None),
        (None, None),
        ("", None),
        ("LIVE", "!c: values"),
        ([1], "!c: values"),
    ],
)
def test_values_translate_the_words_of_the_provider(sent: Any, found: Any) -> None:
    values = {"TIMED": "scheduled", "1": "one", "1.50": "one and a half", "true": "yes", "false": None}
    assert fetch({"from": "a", "values": values}, {"a": sent}) == found


def test_otherwise_stands_for_every_word_that_is_not_listed() -> None:
    assert fetch({"from": "a", "values": {"x": "y"}, "otherwise": "z"}, {"a": "q"}) == "z"
    assert fetch({"from": "a", "values": {"x": "y"}, "otherwise": None}, {"a": "q"}) is None


def test_the_default_of_the_map_comes_before_that_of_the_column() -> None:
    column = {"type": "integer", "default": 1}
    assert fetch({"from": "a", "default": 2}, {}, column) == 2
    assert fetch("a", {}, column) == 1
    assert fetch({"from": "a", "values": {"x": 5}, "default": 2}, {"a": None}, column) == 2
