from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from service.workbench.outline import MAX_LINES, located, outline, said


def test_a_record_is_written_line_by_line_with_the_path_of_each() -> None:
    record = {"a": {"b": [1, Decimal("2.10")]}, "password": "hunter2", "c": [{"d": None}], "e": {}}
    assert [line.text for line in outline(record)] == [
        "{",
        '  "a": {',
        '    "b": [1,2.10]',
        "  },",
        '  "password": "***",',
        '  "c": [',
        "    {",
        '      "d": null',
        "    }",
        "  ],",
        '  "e": {}',
        "}",
    ]
    assert outline(record)[2].path == ("a", "b")
    assert outline(record)[7].path == ("c", 0, "d")


def test_a_long_record_is_cut() -> None:
    assert len(outline({str(n): n for n in range(10_000)})) == MAX_LINES + 1


def test_a_deep_record_is_written_as_far_as_it_fits() -> None:
    deep: Any = 1
    for _ in range(5000):
        deep = [deep, 1]
    assert len(outline(deep)) == MAX_LINES + 1


@pytest.mark.parametrize(
    ("paths", "place"),
    [
        (("a.b",), ("a", "b")),
        (("x", "a.b"), ("a", "b")),
        (("a.x.y",), ("a",)),
        (("a.null",), ("a", "null")),
        (("x",), ()),
        (("$feed",), None),
        ((), None),
    ],
)
def test_a_value_is_located_where_its_path_leads_or_ends(paths: tuple[str, ...], place: Any) -> None:
    assert located({"a": {"b": 1, "null": None}}, paths) == place


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (Decimal("1E+3"), "1000"),
        (datetime(2026, 1, 1, tzinfo=UTC), "2026-01-01T00:00:00Z"),
        ([1, None], "[1, null]"),
        (b"\x01", "\\x01"),
        ("a", "a"),
    ],
)
def test_a_value_is_said_as_people_read_it(value: Any, text: str) -> None:
    assert said(value) == text
