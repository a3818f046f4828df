from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.config.tables import Column
from service.config.values import misfit, typed


@pytest.mark.parametrize(
    ("kind", "value", "result"),
    [
        ("text", 5, "5"),
        ("integer", "12", 12),
        ("integer", 12.0, 12),
        ("float", "1e3", 1000.0),
        ("decimal", 0.1, Decimal("0.1")),
        ("boolean", "off", False),
        ("timestamp", "2026-01-01T01:00:00+01:00", datetime(2026, 1, 1, tzinfo=UTC)),
        ("bytes", "aGk=", b"hi"),
    ],
)
def test_a_value_takes_the_type_of_its_column(kind: Any, value: Any, result: Any) -> None:
    found = typed(Column(type=kind), value)
    assert (found, type(found)) == (result, type(result))


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("text", 1.5),
        ("text", True),
        ("text", "a\0"),
        ("integer", "12.5"),
        ("integer", 2**63),
        ("integer", True),
        ("integer", "1e999999"),
        ("float", "much"),
        ("decimal", "NaN"),
        ("decimal", float("inf")),
        ("boolean", "perhaps"),
        ("timestamp", "2026-01-01T00:00:00"),
        ("timestamp", 5),
        ("date", "01.02.2026"),
        ("time", "25:00"),
        ("uuid", "1234"),
        ("bytes", "?"),
    ],
)
def test_what_cannot_be_held_exactly_does_not_fit(kind: Any, value: Any) -> None:
    assert misfit(Column(type=kind), value) is not None


@given(
    kind=st.sampled_from(
        ["text", "integer", "float", "decimal", "boolean", "timestamp", "date", "time", "uuid", "bytes"]
    ),
    value=st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers()),
)
def test_any_value_fits_or_is_explained(kind: Any, value: Any) -> None:
    reason = misfit(Column(type=kind), value)
    assert reason is None or reason.startswith("must be ")
