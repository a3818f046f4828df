from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from service.errors import ConfigError
from tests.unit.transform.making import make, settle


@pytest.mark.parametrize(
    ("column", "value", "stored"),
    [
        ("text", "  Ærøskøbing ", "Ærøskøbing"),
        ({"type": "text", "trim": False}, " a ", " a "),
        ({"type": "text", "null": True}, "  ", None),
        ({"type": "text", "clean": ["collapse", "title"]}, " real\t madrid ", "Real Madrid"),
        ({"type": "text", "clean": ["strip_tags"]}, "<b> x </b>", "x"),
        ({"type": "text", "clean": ["digits"], "null": True}, "none", None),
        ("text", 12, "12"),
        ("text", Decimal("1.10"), "1.10"),
        ("integer", "12.0", 12),
        ("float", Decimal("1.5"), 1.5),
        ("float", 3, 3.0),
        ("decimal", Decimal("1.10"), Decimal("1.10")),
        ("boolean", "yes", True),
        ("timestamp", "2026-01-02T12:00:00+01:00", datetime(2026, 1, 2, 11, tzinfo=UTC)),
        ({"type": "timestamp", "format": ["epoch_ms", "iso8601"]}, 0, datetime(1970, 1, 1, tzinfo=UTC)),
        ({"type": "timestamp", "timezone": "Europe/Berlin"}, "2026-01-02T12:00", datetime(2026, 1, 2, 11, tzinfo=UTC)),
        ("date", "2026-01-02", date(2026, 1, 2)),
        ({"type": "time", "format": "%H.%M"}, "18.30", time(18, 30)),
        ("uuid", "6ba7b810-9dad-11d1-80b4-00c04fd430c8", UUID("6ba7b8109dad11d180b400c04fd430c8")),
        ("json", {"a": [1, Decimal("2.50")]}, '{"a":[1,2.50]}'),
        ("json", "", '""'),
        ("bytes", "AAEC", b"\0\1\2"),
        ({"type": "integer", "list": True}, ["1", 2], [1, 2]),
        ({"type": "text", "list": True, "clean": ["upper"]}, [" a", "b"], ["A", "B"]),
        ({"type": "text", "list": True}, [], []),
        ({"type": "json", "list": True}, [{"a": 1}, [2]], ['{"a":1}', "[2]"]),
        ({"type": "text", "list": True, "null": True}, "", None),
        ({"type": "integer", "default": 7}, None, 7),
        ({"type": "text", "default": "none"}, " ", "none"),
        (
            {"type": "timestamp", "format": "epoch_s", "default": "2026-01-02T00:00:00Z"},
            None,
            datetime(2026, 1, 2, tzinfo=UTC),
        ),
    ],
)
def test_a_value_that_fits_is_stored(column: Any, value: Any, stored: Any) -> None:
    found = settle(column, value)
    assert found == stored
    assert type(found) is type(stored)
    assert str(found) == str(stored)


@pytest.mark.parametrize(
    ("column", "value", "rule"),
    [
        ("text", None, "required"),
        ("text", " ", "required"),
        ("text", True, "text"),
        ("text", {"a": 1}, "text"),
        ("text", "a\0", "nul"),
        ("integer", "12.5", "integer"),
        ("integer", 2**63, "integer"),
        ("integer", True, "number"),
        ("integer", "", "required"),
        ({"type": "integer", "min": 3}, 2, "min"),
        ({"type": "integer", "max": 3}, "4", "max"),
        ({"type": "decimal", "min": 0.1}, Decimal("0.09999"), "min"),
        ({"type": "decimal", "values": [1.5]}, Decimal("1.6"), "values"),
        ({"type": "float", "max": 3}, "NaN", "max"),
        ({"type": "float", "min": 3}, "NaN", "min"),
        ("timestamp", "2026-01-02T12:00:00.1234567Z", "precision"),
        ("timestamp", "20260102T120000.1234567Z", "precision"),
        ("float", Decimal("1e309"), "float"),
        ("decimal", Decimal("1e131072"), "decimal"),
        ("decimal", Decimal("1e-16384"), "decimal"),
        ("decimal", Decimal("1." + "0" * 16_384), "decimal"),
        ({"type": "text", "min_length": 2}, " a ", "min_length"),
        ({"type": "text", "max_length": 2}, "abc", "max_length"),
        ({"type": "text", "pattern": "[a-z]+"}, "abc1", "pattern"),
        ({"type": "text", "values": ["a"], "clean": ["lower"]}, "B", "values"),
        ({"type": "bytes", "max_length": 2}, "AAEC", "max_length"),
        ({"type": "timestamp", "min": "2026-01-01T00:00:00Z"}, "2025-12-31T23:59:59Z", "min"),
        ({"type": "date", "max": "2026-01-01"}, "2026-01-02", "max"),
        ("timestamp", "2026-01-02T12:00:00", "zone"),
        ("decimal", "NaN", "decimal"),
        ("json", {"a": "\0"}, "nul"),
        ({"type": "integer", "list": True}, 1, "list"),
        ({"type": "integer", "list": True}, [1, None], "list"),
        ({"type": "text", "list": True}, ["a", " "], "list"),
        ({"type": "integer", "list": True}, [1, "x"], "number"),
        ({"type": "integer", "list": True, "max": 3}, [1, 4], "max"),
        ({"type": "integer", "list": True, "max_length": 1}, [1, 2], "max_length"),
        ({"type": "text", "list": True, "max_length": 1}, ["abc"], None),
    ],
)
def test_a_value_that_does_not_fit_is_refused_by_its_rule(column: Any, value: Any, rule: str | None) -> None:
    assert settle(column, value) == (f"!c: {rule}" if rule is not None else value)


def test_options_that_mean_nothing_for_a_type_do_no_harm() -> None:
    options = {"min": 1, "max": 2, "min_length": 5, "pattern": "x", "values": ["y"], "clean": ["lower"]}
    assert settle({"type": "json", **options}, {"a": 1}) == '{"a":1}'


@pytest.mark.parametrize(
    "column",
    [
        {"type": "integer", "default": "x"},
        {"type": "integer", "min": 0.5},
        {"type": "integer", "max": 3, "default": 4},
        {"type": "text", "values": [True]},
        {"type": "timestamp", "min": "yesterday"},
    ],
)
def test_a_default_or_bound_that_does_not_fit_is_a_config_error(column: Any) -> None:
    with pytest.raises(
        ConfigError, match=r"tables\.t\.columns\.c: the (default|min|max|value) .* does not fit the column"
    ):
        make({"c": column})
