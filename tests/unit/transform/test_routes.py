"""Several kinds of record in one feed: who takes which, and that narrow decoding changes nothing."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.config.feeds import FeedSettings
from service.config.tables import Table
from service.transform.transform import Mapped, Piece, Transform
from tests.unit.transform.making import make, message
from tests.unit.transform.test_transform import JSON

TABLES = {
    "goals": Table.model_validate({"key": "id", "columns": {"id": "text", "minute": {"type": "integer", "max": 120}}}),
    "cards": Table.model_validate({"key": "id", "version": "at", "columns": {"id": "text", "at": "integer"}}),
}
ROUTES = [
    {"where": "kind == 'goal'", "into": "goals", "map": {"id": "id", "minute": "data.minute"}},
    {"where": "kind == 'card'", "into": "cards", "map": {"id": "id", "at": "at"}, "delete_when": "data.gone == true"},
]


def routed(routes: list[dict[str, Any]], **options: Any) -> Transform:
    feed = FeedSettings.model_validate({"routes": routes, **options})
    return Transform("acme.scores", feed, TABLES, {"cards"})


def send(transform: Transform, *records: Any) -> Mapped:
    sent = message(records)
    return transform.map([Piece(sent, transform.read(sent))])


GOAL = {"kind": "goal", "id": "a", "data": {"minute": 12}}
CARD = {"kind": "card", "id": "b", "at": 3}


def test_each_record_goes_the_way_of_the_first_route_that_takes_it() -> None:
    mapped = send(routed(ROUTES), GOAL, CARD, {"kind": "corner", "id": "c"}, GOAL | {"id": "d"})
    assert mapped.rows == [("a", 12), ("b", 3, False), ("d", 12)]
    assert mapped.origins == [("goals", 0), ("cards", 1), ("goals", 3)]
    assert mapped.filtered == 1


def test_a_route_without_a_condition_takes_what_is_left() -> None:
    rest = {"into": "cards", "map": {"id": "id", "at": {"const": 0}}}
    mapped = send(routed([ROUTES[0], rest]), GOAL, {"kind": "corner", "id": "c"})
    assert mapped.origins == [("goals", 0), ("cards", 1)]
    assert mapped.filtered == 0


def test_the_feeds_own_condition_is_asked_first() -> None:
    mapped = send(routed(ROUTES, where="id != 'a'"), GOAL, CARD)
    assert (mapped.origins, mapped.filtered) == ([("cards", 1)], 1)


def test_a_refusal_names_the_table_of_its_route() -> None:
    mapped = send(routed(ROUTES), GOAL | {"data": {"minute": 200}}, {"kind": "card"}, {"kind": 1, "id": "x"}, 7)
    assert [(refusal.table, refusal.reason) for refusal in mapped.refusals] == [
        ("goals", "minute: max"),
        ("cards", "id: required"),
        (None, "record: not an object"),
    ]
    assert mapped.filtered == 1


def test_a_condition_of_a_route_that_cannot_be_computed_refuses_the_record() -> None:
    routes = [{**ROUTES[0], "where": "data.minute > 1"}, ROUTES[1]]
    (refusal,) = send(routed(routes), GOAL | {"data": {"minute": "x"}}).refusals
    assert (refusal.table, refusal.reason) == (None, "where: not computable")


def test_a_deletion_of_a_route_is_flagged() -> None:
    assert send(routed(ROUTES), CARD | {"data": {"gone": True}}).rows == [("b", 3, True)]


def test_records_of_routes_are_decoded_to_what_is_needed_of_them() -> None:
    (record,) = routed(ROUTES).read(message([GOAL | {"other": [1, 2, 3]}]))
    assert isinstance(record, msgspec.Struct)
    assert "other" not in repr(record)


COLUMNS: dict[str, Any] = {
    "plain": {"type": "json", "null": True},
    "computed": {"type": "json", "null": True},
    "sized": {"type": "integer", "null": True},
}
ASKED = [
    {"where": "a.b == 1"},
    {"where": "a.b == 'x' || c in [1, 2]"},
    {"where": "a == null || a.b.c > 1"},
    {"where": "c"},
    {"where": "a.exists(i, i.b == 1)"},
    {"where": "b['a'] == 1 && c != 'x'"},
    {"delete_when": "a.b.c == 1"},
    {"where": "a != b", "delete_when": "b.c == b.b"},
]


def one_table(options: dict[str, Any]) -> Transform:
    mapped = {
        "plain": "a.c",
        "computed": {"expr": "[a.b, c]"},
        "sized": {"expr": "b.a == null ? 0 : int(b.a)"},
    }
    table = Table.model_validate({"key": [], "mode": "append", "columns": COLUMNS})
    feed = FeedSettings.model_validate({"into": "t", "map": mapped, **options})
    return Transform("acme.scores", feed, {"t": table}, {"t"})


@given(st.lists(st.dictionaries(st.sampled_from("abc"), JSON, max_size=3), max_size=3), st.data())
def test_conditions_and_expressions_see_the_same_in_what_is_decoded_narrowly(records: Any, data: Any) -> None:
    transform = data.draw(st.sampled_from([one_table(options) for options in ASKED]))
    sent = message(records)
    narrow = transform.map([Piece(sent, transform.read(sent))])
    assert transform._read is not None
    whole = transform.map([Piece(sent, transform.decode(sent))])
    assert narrow == whole
    assert len(whole.rows) + len(whole.refusals) + whole.filtered == len(records)


@pytest.mark.parametrize("where", ["has(a.b)", "record.a == 1", "record['a b'] == 1"])
def test_conditions_that_need_the_whole_record_get_it(where: str) -> None:
    transform = make({"a": {"type": "json", "null": True}}, where=where)
    (record,) = transform.read(message([{"a": 1, "z": 2}]))
    assert record == {"a": 1, "z": 2}
