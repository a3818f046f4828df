"""`expr`: a column that is computed, typed and checked like any other."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from tests.unit.transform.making import make, run


@pytest.mark.parametrize(
    ("column", "expression", "record", "wanted"),
    [
        ("integer", "home + away", {"home": 1, "away": 2}, 3),
        ("text", "home + '-' + away", {"home": "A", "away": "B"}, "A-B"),
        ("text", "score.home > score.away ? 'home' : 'away'", {"score": {"home": 2, "away": 1}}, "home"),
        ("boolean", "tags.exists(t, t == 'live')", {"tags": ["x", "live"]}, True),
        ("decimal", "double(odds) * 2.0", {"odds": Decimal("1.25")}, Decimal("2.5")),
        ("float", "ratio", {"ratio": Decimal("0.1")}, 0.1),
        ("integer", "size(record.items)", {"items": [1, 2]}, 2),
        ("timestamp", "timestamp(at)", {"at": "2026-01-01T12:00:00Z"}, datetime(2026, 1, 1, 12, tzinfo=UTC)),
        ("json", "{'a': x, 'b': [1.5]}", {"x": "y"}, '{"a":"y","b":[1.5]}'),
        ("bytes", "b'\\x01\\x02'", {}, b"\x01\x02"),
        ({"type": "text", "list": True}, "items.map(i, i.name)", {"items": [{"name": "a"}, {"name": "b"}]}, ["a", "b"]),
        ({"type": "text", "null": True}, "missing", {}, None),
        ({"type": "text", "null": True}, "a.b", {"a": None}, None),
    ],
)
def test_a_column_is_computed(column: Any, expression: str, record: Any, wanted: Any) -> None:
    mapped = run(make({"c": column}, {"c": {"expr": expression}}), record)
    assert mapped.refusals == []
    assert mapped.rows == [(wanted,)]


@pytest.mark.parametrize(
    ("column", "expression", "record", "reason"),
    [
        ("integer", "a / b", {"a": 1, "b": 0}, "c: expr"),
        ("integer", "a + b", {"a": 1, "b": "x"}, "c: expr"),
        ("integer", "a + b", {"a": 2**63 - 1, "b": 1}, "c: expr"),
        ("integer", "1.5", {}, "c: integer"),
        ({"type": "integer", "max": 3}, "a * 2", {"a": 2}, "c: max"),
        ("text", "a", {}, "c: required"),
        ("decimal", "a / b", {"a": Decimal("0.5"), "b": Decimal("0.0")}, "c: decimal"),
        ("json", "[a / b]", {"a": Decimal("0.5"), "b": Decimal("0.0")}, "c: decimal"),
        ("text", "[1]", {}, "c: text"),
    ],
)
def test_what_is_computed_is_checked_as_what_is_sent(column: Any, expression: str, record: Any, reason: str) -> None:
    mapped = run(make({"c": column}, {"c": {"expr": expression}}), record)
    assert mapped.rows == []
    assert [refusal.reason for refusal in mapped.refusals] == [reason]


def test_a_refusal_shows_the_expression_and_the_record() -> None:
    (refusal,) = run(make({"c": "integer"}, {"c": {"expr": "a + 1"}}), {"a": "x"}).refusals
    assert "c: `expr: a + 1` cannot be evaluated (Unsupported operation: string + int) for" in refusal.detail
    assert '{"a":"x"}' in refusal.detail


def test_what_is_computed_can_be_translated_and_have_a_default() -> None:
    mapped = {"c": {"expr": "a.lower", "values": {"ft": "finished"}, "default": "unknown"}}
    rows = run(make({"c": "text"}, mapped), {"a": {"lower": "ft"}}, {}).rows
    assert rows == [("finished",), ("unknown",)]
