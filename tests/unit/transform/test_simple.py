"""Simple conditions are decided as the library decides them, or left to it."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from service.transform.code import Code, build
from service.transform.shape import Shape
from service.transform.simple import emit_simple
from service.transform.violations import Violation
from service.transform.where import Where

SIMPLE = [
    "a == 'x'",
    'a.b != "x" && c',
    "a in ['x', 'y'] || !(c == true)",
    "a in [1, 2.5]",
    "a.b.c >= 2.5",
    "a > 1 && b <= -3 || c == null",
    "a < 'm'",
    "!c && (a == 1 || b != 2)",
    "a",
    "a != null && a > 0",
    "c == false || c != true",
    "!(a.b == 'x')",
]
LEFT_TO_THE_LIBRARY = [
    "has(a.b)",
    "record.a == 1",
    "a + 1 == 2",
    "a == b",
    "a.size() == 1",
    "a['b'] == 1",
    "a == 'x\\n'",
    "a == r'x'",
    "a == 1u",
    "a == 9007199254740993",
    "a < true",
    "a in [1, 'x']",
    "a in [true]",
    "(a == 1) == true",
    "!a == true",
    "'x' in a",
    "a == '''x'''",
    "int == 1",
    "a == 1 // true",
    "a == 1e3",
    "a ? true : false",
]


def compiled(expression: str, shape: Shape | None = None) -> Any:
    code = Code("k")
    Where(expression).emit_test(code, shape)
    prelude = shape.lines if shape is not None else []
    return build("test(r)", [*prelude, *code.lines, "return w"], code.constants)


def is_simple(expression: str) -> bool:
    code = Code("k")
    Where(expression).emit_test(code, None)
    return code.lines[0] == "try:"


@pytest.mark.parametrize("expression", SIMPLE)
def test_what_most_feeds_ask_needs_no_library(expression: str) -> None:
    assert is_simple(expression)


@pytest.mark.parametrize("expression", LEFT_TO_THE_LIBRARY)
def test_what_is_not_understood_is_left_to_the_library(expression: str) -> None:
    assert not is_simple(expression)


LITERALS = st.sampled_from(["'x'", "''", '"é"', "0", "1", "-2", "2.5", "true", "false", "null"])
PATHS = st.sampled_from(["a", "b", "a.b", "a.b.c", "b.a"])
ATOMS = (
    PATHS
    | st.tuples(PATHS, st.sampled_from(["==", "!=", "<", "<=", ">", ">="]), LITERALS).map(" ".join)
    | st.tuples(PATHS, st.lists(LITERALS, min_size=1, max_size=3).map(", ".join)).map(lambda t: f"{t[0]} in [{t[1]}]")
    | PATHS.map("!{}".format)
)
CONDITIONS = st.recursive(
    ATOMS,
    lambda inner: (
        st.tuples(inner, st.sampled_from(["&&", "||"]), inner).map(" ".join)
        | inner.map("({})".format)
        | inner.map("!({})".format)
    ),
    max_leaves=5,
)
NUMBERS = st.integers(-3, 3) | st.integers(-(2**63), 2**63 - 1) | st.sampled_from([2**53, 2**53 + 1, -(2**53) - 1])
FRACTIONS = st.sampled_from([Decimal("2.5"), Decimal("1.0"), Decimal("1E+400"), Decimal("-0.0"), Decimal("2.50000001")])
SCALARS = st.none() | st.booleans() | NUMBERS | FRACTIONS | st.sampled_from(["x", "", "é", "y", "\U0001f600", "\uffff"])
VALUES = st.recursive(SCALARS, lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3), max_leaves=4)
RECORDS = st.dictionaries(st.sampled_from("abc"), VALUES | st.lists(SCALARS, max_size=2), max_size=3)


def outcome(judge: Any, record: Any) -> Any:
    try:
        return judge(record)
    except Violation as violation:
        return violation.said


@example("a > 1 || a == 'x'", {"a": "x"})
@example("a == 'x' && b", {"b": 1})
@given(CONDITIONS, RECORDS)
def test_the_library_would_decide_the_same(expression: str, record: Any) -> None:
    assert outcome(compiled(expression), record) == outcome(Where(expression), record)


def test_a_path_that_cannot_be_fetched_is_not_simple() -> None:
    def fetch(path: tuple[str, ...]) -> str:
        raise KeyError(path)

    assert emit_simple(Code("k"), "a == 1", fetch) is None
