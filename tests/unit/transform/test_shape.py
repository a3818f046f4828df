from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from service.transform.shape import Shape
from service.transform.transform import Piece
from tests.unit.transform.making import make, message
from tests.unit.transform.test_transform import JSON

PATHS = ("a", "a.b", "b.a", "b.b[0].c", "b.c.a", "c[0]", "c[0].a", '"c d".e')
TRANSFORM = make(
    {f"c{number}": {"type": "json", "null": True} for number in range(len(PATHS))},
    {f"c{number}": path for number, path in enumerate(PATHS)},
)
RECORDS = st.lists(st.dictionaries(st.sampled_from(["a", "b", "c", "c d", "e"]), JSON, max_size=4), max_size=4)


@given(RECORDS)
def test_what_is_decoded_to_a_shape_maps_as_what_is_decoded_whole(records: Any) -> None:
    sent = message(records)
    narrow = TRANSFORM.map([Piece(sent, TRANSFORM.read(sent))])
    whole = TRANSFORM.map([Piece(sent, TRANSFORM.decode(sent))])
    assert narrow == whole
    assert len(whole.rows) + len(whole.refusals) == len(records)


def test_only_the_fields_of_a_map_are_read() -> None:
    (record,) = TRANSFORM.read(message([{"a": 1, "b": {"a": 2, "x": [3]}, "other": {"deep": [4]}}]))
    assert isinstance(record, msgspec.Struct)
    assert "deep" not in repr(record)


def test_a_record_that_needs_another_look_is_explained_from_the_whole_of_it() -> None:
    transform = make({"score": "integer"}, {"score": "match.scor"})
    sent = message([{"match": {"score": 1}}])
    (refusal,) = transform.map([Piece(sent, transform.read(sent))]).refusals
    assert "there is no 'scor', but 'score'" in refusal.detail


def test_a_value_that_is_no_object_where_a_path_leads_through_is_null_for_its_record_alone() -> None:
    transform = make({"n": {"type": "integer", "null": True}}, {"n": "match.n"})
    sent = message([{"match": {"n": 1}}, {"match": []}, {"match": "late"}, {"match": None}, {"match": {"n": 5}}])
    assert transform.map([Piece(sent, transform.read(sent))]).rows == [(1,), (None,), (None,), (None,), (5,)]


def test_records_under_a_path_are_read_narrowly_too() -> None:
    transform = make({"n": "integer"}, records="data.items")
    sent = message({"data": {"items": [{"n": 1}, {"n": 2}], "next": "x"}})  # type: ignore[arg-type]
    records = transform.read(sent)
    assert all(isinstance(record, msgspec.Struct) for record in records)
    assert transform.map([Piece(sent, records)]).rows == [(1,), (2,)]


def test_a_feed_that_maps_the_record_itself_gets_the_whole_of_it() -> None:
    transform = make({"raw": "json", "n": "integer"}, {"raw": "$record", "n": "n"})
    sent = message([{"n": 1, "more": [2]}])
    assert transform.map([Piece(sent, transform.read(sent))]).rows == [('{"n":1,"more":[2]}', 1)]


def test_a_whole_value_that_is_wanted_covers_what_lies_in_it() -> None:
    shape = Shape([("a", "b"), ("a",), ("a", "c", "d")])
    assert shape.lines == []
    assert shape.reach(("a", "c", "d")) == ("r.f0", ("c", "d"))
