"""What refusals say: feed, record number, column, path, value, rule, and what would make the record pass."""

from typing import Any

import pytest

from service.errors import FormatError
from service.model import Refusal
from tests.unit.transform.making import make, message, run

SCORE = {"type": "integer", "min": 0, "max": 9}
GOOD = {"id": "a", "x": {"v": 1}}


def refusal_of(column: Any, value: Any, path: str = "x.v", **feed: Any) -> Refusal:
    """Refuse the second of two records for the value of its column ``c``."""
    columns = {"id": "text", "c": column}
    record = {"id": "b", "x": {path.rpartition(".")[2]: value}}
    (refusal,) = run(make(columns, {"id": "id", "c": path}, {"key": ["id"]}, **feed), {"id": 0}, record).refusals[-1:]
    return refusal


@pytest.mark.parametrize(
    ("column", "value", "rule", "value_said", "remedy"),
    [
        (SCORE, 12, "max", "12 is more than the maximum 9", "raise tables.t.columns.c.max or correct the provider"),
        (SCORE, -1, "min", "-1 is less than the minimum 0", "lower tables.t.columns.c.min or correct the provider"),
        (SCORE, "x", "number", '"x" is not a number', "correct the provider, or map another field"),
        (SCORE, 1.5, "integer", "1.5", "make the column"),
        (SCORE, 2**70, "integer", "1180591620717411303424", "make the column"),
        ("decimal", "NaN", "decimal", '"NaN" is not a finite number', "or make the column float"),
        ("boolean", "maybe", "boolean", '"maybe" is neither true nor false', "map its words with `values`"),
        ("uuid", "12", "uuid", '"12"', ""),
        ("bytes", "~", "bytes", '"~" is not base64', "make the column text, or correct the provider"),
        ("date", "soon", "date", '"soon" is not a date written as iso8601', "set `format` on the column"),
        (
            "timestamp",
            "soon",
            "timestamp",
            '"soon" is not a timestamp written as iso8601',
            "set `format` on the column",
        ),
        ("timestamp", "2026-01-01T10:00:00", "zone", "has no time zone", "set `timezone` on the column"),
        ("text", {"a": 1}, "text", '{"a":1} is an object', ""),
        ("text", "a\0b", "nul", "has a NUL character", "correct the provider"),
        ({"type": "text", "values": ["a"]}, "b", "values", '"b" is not one of a', "tables.t.columns.c.values"),
        (
            {"type": "text", "pattern": "a+"},
            "b",
            "pattern",
            "does not match the pattern a+",
            "change tables.t.columns.c",
        ),
        ({"type": "text", "max_length": 1}, "bb", "max_length", "more than 1 characters", "raise tables.t.columns.c"),
        ({"type": "text", "min_length": 3}, "bb", "min_length", "fewer than 3 characters", "lower tables.t.columns.c"),
        ({"type": "text", "list": True}, "b", "list", '"b" is text, not a list', "map a field that holds a list"),
        ("text", None, "required", "is missing, and the column may not be null", "or tables.t.columns.c.null: true"),
    ],
)
def test_each_rule_is_told_with_its_place_its_value_and_its_remedy(
    column: Any, value: Any, rule: str, value_said: str, remedy: str
) -> None:
    refusal = refusal_of(column, value)
    assert (refusal.feed, refusal.index, refusal.reason) == ("acme.scores", 1, f"c: {rule}")
    assert refusal.detail.startswith("acme.scores, record 2: c (x.v)")
    said, bracket, told_remedy = refusal.detail.partition(f" [{rule}]; ")
    assert bracket
    assert value_said in said
    assert remedy in told_remedy
    assert told_remedy


def test_a_value_that_is_long_is_shortened() -> None:
    assert '"xxx' in (detail := refusal_of({"type": "text", "max_length": 3}, "x" * 500).detail)
    assert len(detail) < 250


@pytest.mark.parametrize("path", ["user.password", "x.api_key", "x.accessToken", "x.Client-Secret"])
def test_the_value_of_a_field_that_holds_a_secret_is_not_shown(path: str) -> None:
    transform = make({"c": "integer"}, {"c": path})
    first, last = path.split(".")
    (refusal,) = run(transform, {first: {last: "hunter2"}}).refusals
    assert "hunter2" not in refusal.detail
    assert '"***" is not a number' in refusal.detail


def test_secrets_inside_a_record_that_is_shown_are_masked() -> None:
    record = {"password": 'hunt"er2', "url": "https://joe:hunter3@x.example", "n": "x", "token": 12345}
    (refusal,) = run(make({"c": "integer"}, where="n > 1"), record).refusals
    assert "hunt" not in refusal.detail
    assert "12345" not in refusal.detail
    assert '"password":"***"' in refusal.detail
    assert refusal.detail.startswith("acme.scores, record 1: `where: n > 1` cannot be evaluated")
    assert "[where]; correct `where`, or the provider" in refusal.detail


def test_a_record_that_is_no_object_says_how_to_find_them() -> None:
    (refusal,) = run(make({"c": "text"}), 3).refusals
    assert refusal.detail == (
        "acme.scores, record 1: 3 is a number, not an object [record]; set `records` to the path of the list of objects"
    )


def test_a_message_that_does_not_decode_names_its_feed_and_what_to_correct() -> None:
    transform = make({"c": "text"})
    sent = message([GOOD])
    refusal = transform.undecodable(sent, FormatError("it is cut off"))
    assert refusal.detail == (
        "acme.scores: the message is not json: it is cut off [not decodable]; "
        "correct the feed's `format` or `records`, or the provider"
    )


def test_a_refusal_keeps_what_it_takes_to_map_the_record_again() -> None:
    transform = make({"c": "integer"}, {"c": "$params.day"})
    (refusal,) = run(transform, {}, meta={"params": {"day": "x"}}).refusals
    assert refusal.meta == {"params": {"day": "x"}}
