from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.transform.violations import Violation
from service.transform.where import Where
from tests.unit.transform.making import make, run


@pytest.mark.parametrize(
    ("expression", "record", "wanted"),
    [
        ("type == 'score'", {"type": "score"}, True),
        ("type == 'score'", {}, False),
        ("type == null", {}, True),
        ("data.kind == 'x'", {"data": {"kind": "x"}}, True),
        ("data.kind == 'x'", {"data": {}}, False),
        ("data.kind == 'x'", {"data": None}, False),
        ("data.kind == 'x'", {}, False),
        ("a.b.c == null", {}, True),
        ("record.a.b == 1", {"a": {"b": 1}}, True),
        ("record.a.b == 1", {}, False),
        ("record['a'] == 1 && a == 1", {"a": 1}, True),
        ("record[0] == 'te'", ["te", 1], True),
        ("odds > 1.5", {"odds": Decimal("1.6")}, True),
        ("n == 3", {"n": 3}, True),
        ("has(data.kind)", {"data": {"kind": None}}, True),
        ("has(data.kind)", {"data": {}}, False),
        ("!has(data.kind) || data.kind == 'x'", {}, True),
        ("items.exists(i, i.x == 1)", {"items": [{}, {"x": 1}]}, True),
        ("items.all(i, i.x == 1)", {"items": [{}, {"x": 1}]}, False),
        ("tags.size() == 2", {"tags": ["a", "b"]}, True),
        ("name.startsWith('A')", {"name": "Arsenal"}, True),
        ("'k' in data && data.k.j == 1", {"data": {"k": {"j": 1}}}, True),
        ("data['kind'] == 'x'", {"data": {}}, False),
        ("type(x) == int", {"x": 1}, True),
        ("x == 'data.kind' // data.kind", {"x": "data.kind"}, True),
        ("live", {"live": True}, True),
        ("live", {}, False),
        ("live", {"live": None}, False),
        ("true", {}, True),
    ],
)
def test_a_record_is_wanted_where_the_expression_is_true(expression: str, record: Any, wanted: bool) -> None:
    assert Where(expression)(record) is wanted


@pytest.mark.parametrize(
    ("expression", "record", "said"),
    [
        ("a > 1", {"a": "x"}, "No such overload"),
        ("a > 1", {}, "No such overload"),
        ("a.b == 1", {"a": "text"}, "No such overload"),
        ("1 / n == 1", {"n": 0}, "division by zero"),
        ("nothing(a)", {"a": 1}, "Undefined variable or function"),
        ("name", {"name": "x"}, "`where: name` is text, neither true nor false"),
        ("size(name)", {"name": "x"}, "`where: size(name)` is a number, neither true nor false"),
    ],
)
def test_an_expression_that_cannot_be_evaluated_is_a_violation(expression: str, record: Any, said: str) -> None:
    with pytest.raises(Violation) as caught:
        Where(expression)(record)
    assert caught.value.rule == "where"
    assert said in caught.value.said


def test_only_what_the_expression_names_is_looked_at() -> None:
    huge = {"kind": "x", "odd": {"n": 10**4000}}
    assert Where("data.kind == 'x'")({"data": huge}) is True


def test_filtered_records_are_counted_and_broken_ones_refused() -> None:
    transform = make({"a": "integer"}, where="a > 1")
    mapped = run(transform, {"a": 1}, {"a": 2}, {"a": "x"}, {"a": 3})
    assert mapped.rows == [(2,), (3,)]
    assert mapped.filtered == 1
    assert [refusal.reason for refusal in mapped.refusals] == ["where: not computable"]
    assert mapped.refusals[0].record == b'{"a":"x"}'
    assert "`where: a > 1` cannot be evaluated" in mapped.refusals[0].detail


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.decimals(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "c", "x"]), inner, max_size=3)
    ),
)
EXPRESSIONS = [
    "a.b == 1",
    "a.b.c > 2",
    "has(a.b) && a.b.x == 1",
    "a.exists(i, i.x > 1)",
    "record.a[0] == b",
    "a == b",
    "a",
]


@given(JSON, st.sampled_from([Where(expression) for expression in EXPRESSIONS]))
def test_any_record_is_wanted_or_not_or_a_violation(record: Any, where: Where) -> None:
    try:
        assert where(record) in {True, False}
    except Violation as violation:
        assert violation.rule == "where"  # noqa: PT017
