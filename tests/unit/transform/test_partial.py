"""Deltas: which columns a record carries, and that the row function and the columns' own functions agree on it."""

from typing import Any

import pytest
from hypothesis import given

from service.config.feeds import FeedSettings
from service.config.tables import Table
from service.transform.transform import Transform
from tests.unit.transform.making import make, message, run
from tests.unit.transform.test_transform import COLUMNS, MAPPING, RECORDS, at_once

NUMBER = {"type": "integer", "null": True}


def delta(columns: dict[str, Any], mapping: dict[str, Any], record: Any, **more: Any) -> tuple[Any, set[str]] | str:
    """Give the values and the columns that a record carries, besides its id, or the reason of its refusal."""
    transform = make({"id": "text", **columns}, {"id": "id", **mapping}, partial=True, **more)
    mapped = run(transform, {"id": "x", **record})
    if mapped.refusals:
        return mapped.refusals[0].reason
    *values, carried = mapped.rows[0]
    names = ["id", *columns]
    return values[1:], {name for n, name in enumerate(names) if carried >> n & 1} - {"id"}


def test_an_absent_field_is_not_carried_and_an_explicit_null_is() -> None:
    columns, mapping = {"a": NUMBER, "b": NUMBER, "c": NUMBER}, {"a": "a", "b": "b", "c": "s.c"}
    assert delta(columns, mapping, {"a": 1, "b": None}) == ([1, None, None], {"a", "b"})
    assert delta(columns, mapping, {"s": {"c": None}}) == ([None, None, None], {"c"})
    parents: tuple[Any, ...] = ({}, None, "late", [3])
    for parent in parents:  # the path is not there: what was known of it stays
        assert delta(columns, mapping, {"s": parent}) == ([None, None, None], set())


def test_of_several_paths_any_will_do() -> None:
    columns, mapping = {"a": NUMBER}, {"a": {"from": ["x", "y.z[1]"]}}
    assert delta(columns, mapping, {"y": {"z": [1, 2]}}) == ([2], {"a"})
    assert delta(columns, mapping, {"x": None, "y": {"z": [1, 2]}}) == ([2], {"a"})
    assert delta(columns, mapping, {"x": None}) == ([None], {"a"})
    assert delta(columns, mapping, {"y": {"z": [1]}}) == ([None], set())


def test_constants_and_the_envelope_are_always_carried_and_an_unmapped_column_never() -> None:
    columns = {"k": "text", "f": "text", "raw": {"type": "json", "null": True}, "u": NUMBER}
    mapping = {"k": {"const": "z"}, "f": "$feed", "raw": "$record"}
    assert delta(columns, mapping, {}) == (["z", "acme.scores", '{"id":"x"}', None], {"k", "f", "raw"})
    assert delta({"u": NUMBER}, {"u": "$record.u"}, {}) == ([None], set())
    assert delta({"u": NUMBER}, {"u": "$record.u"}, {"u": 3}) == ([3], {"u"})


def test_an_expression_is_computed_if_any_field_that_it_names_is_there() -> None:
    columns, mapping = {"sum": NUMBER}, {"sum": {"expr": "has(s.h) ? s.h + 1 : s.a"}}
    assert delta(columns, mapping, {"s": {"h": 1}}) == ([2], {"sum"})
    assert delta(columns, mapping, {"s": {"a": 4}}) == ([4], {"sum"})
    assert delta(columns, mapping, {"s": {"x": 4}}) == ([None], set())
    assert delta(columns, {"sum": {"expr": "h + 1"}}, {}) == ([None], set())  # null + 1 would be refused
    assert delta(columns, {"sum": {"expr": "h + 1"}}, {"h": None}) == "sum: expr"
    assert delta(columns, {"sum": {"expr": "2"}}, {}) == ([2], {"sum"})


def test_a_default_is_for_a_new_row_and_never_for_a_null() -> None:
    columns = {"a": {**NUMBER, "default": 7}, "b": {"type": "integer", "default": 8}}
    mapping = {"a": {"from": "a", "default": 9}, "b": "b"}
    assert delta(columns, mapping, {}) == ([9, 8], set())
    assert delta(columns, mapping, {"a": None}) == ([None, 8], {"a"})
    assert delta(columns, mapping, {"b": None}) == "b: required"


def test_a_null_is_refused_where_a_column_may_not_be_null_and_absence_is_not() -> None:
    assert delta({"a": "integer"}, {"a": "a"}, {"a": None}) == "a: required"
    assert delta({"a": "integer"}, {"a": "a"}, {}) == ([None], set())
    sent = {"id": "x", "a": None}
    (refusal,) = run(make({"id": "text", "a": "integer"}, {"id": "id", "a": "a"}, partial=True), sent).refusals
    assert "a (a) is null, and the column may not be null [required]; leave the field out" in refusal.detail


def test_key_and_version_are_needed_in_every_record() -> None:
    columns = {"id": "text", "at": "integer", "n": NUMBER}
    transform = make(columns, {"id": "id", "at": "at", "n": "n"}, {"version": "at"}, partial=True)
    mapped = run(transform, {"id": "x", "n": 1}, {"at": 1}, {"id": "x", "at": 2})
    assert [refusal.reason for refusal in mapped.refusals] == ["at: required", "id: required"]
    assert mapped.rows == [("x", 2, None, 0b011)]


def test_a_value_that_may_become_null_overwrites_and_a_bad_one_is_refused() -> None:
    assert delta({"a": {**NUMBER, "on_invalid": "null"}}, {"a": "a"}, {"a": "x"}) == ([None], {"a"})
    assert delta({"a": {**NUMBER, "on_invalid": "null", "default": 3}}, {"a": "a"}, {"a": "x"}) == ([None], {"a"})
    assert delta({"a": NUMBER}, {"a": "a"}, {"a": "x"}) == "a: number"


def test_words_that_are_translated_are_carried_with_their_field() -> None:
    columns, mapping = {"s": {"type": "text", "null": True}}, {"s": {"from": "s", "values": {"l": "live"}}}
    assert delta(columns, mapping, {"s": "l"}) == (["live"], {"s"})
    assert delta(columns, mapping, {}) == ([None], set())


def test_routes_are_partial_one_by_one_and_rows_say_so() -> None:
    tables = {"t": Table.model_validate({"key": "id", "columns": {"id": "text", "n": NUMBER}})}
    mapped = {"into": "t", "map": {"id": "id", "n": "n"}}
    routes = [{**mapped, "where": "kind == 'delta'", "partial": True, "delete_when": "gone == true"}, mapped]
    transform = Transform("acme.scores", FeedSettings.model_validate({"routes": routes}), tables, ["t"])
    sent = [{"kind": "delta", "id": "x"}, {"kind": "all", "id": "y"}, {"kind": "delta", "id": "z", "gone": True}]
    assert run(transform, *sent).rows == [("x", None, False, 1), ("y", None, False), ("z", None, True)]
    assert [transform.attempt(message(sent), record).carried for record in sent] == [frozenset({"id"}), None, None]


ALWAYS = "acme"
ALL = make({"always": "text", **COLUMNS}, {"always": {"const": ALWAYS}, **MAPPING}, {"key": ["always"]}, partial=True)


@given(RECORDS)
def test_the_row_function_and_the_columns_own_functions_agree_on_deltas(record: Any) -> None:
    row = at_once(ALL, record)
    verdict = ALL.routes.all[0]._judge.judge(record, message([]))
    if row is None:
        assert verdict.reason or verdict.row is not None  # refused, or given nulls
    else:
        assert verdict.row == row
    carried = {"always"}
    for name, source in ALL.routes.all[0].map.items():
        for path in source.from_:
            value: Any = {"$record": record, **record}
            for step in path.replace("[0]", ".0").split("."):
                if isinstance(value, list):
                    value = value[0] if value and step == "0" else KeyError
                else:
                    value = value.get(step, KeyError) if isinstance(value, dict) else KeyError
            carried |= {name} if value is not KeyError else set()
    assert verdict.carried is None or verdict.carried == carried


@pytest.mark.parametrize("columns", [63, 64, 200])
def test_a_table_may_have_any_number_of_columns(columns: int) -> None:
    transform = make({"id": "text", **{f"c{n}": NUMBER for n in range(columns)}}, partial=True, dedupe="10m")
    (row,) = run(transform, {"id": "x", f"c{columns - 1}": 1}).rows
    assert row[-1] == 1 | 1 << columns
