from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import FormatError, RowRefused
from service.model import Message
from service.transform.explain import Judge
from service.transform.transform import Piece, Transform
from tests.unit.transform.making import make, message, run

FEEDS = Path("/work/shared/feeds")


def test_good_records_become_rows_and_a_bad_one_costs_only_itself() -> None:
    mapped = run(make({"a": "integer"}), {"a": 1}, {"a": "x"}, 3, {"a": 4})
    assert mapped.rows == [(1,), (4,)]
    assert [(refusal.index, refusal.reason, refusal.record) for refusal in mapped.refusals] == [
        (1, "a: number", b'{"a":"x"}'),
        (2, "record: not an object", b"3"),
    ]
    assert "acme.scores, record 3: 3 is a number, not an object [record]; set `records`" in mapped.refusals[1].detail


def test_a_refusal_carries_the_message_and_the_literal_bytes_of_the_record() -> None:
    transform = make({"a": "integer"}, records="data")
    sent = Message(b'{"data": [{"a": 1},  {"a" : 1.50}]}', 12.5)
    (refusal,) = transform.map([Piece(sent, transform.decode(sent))]).refusals
    assert refusal.record == b'{"a" : 1.50}'
    assert (refusal.feed, refusal.table, refusal.message, refusal.received_at) == ("acme.scores", "t", sent.body, 12.5)


@pytest.mark.parametrize(
    "body",
    [
        b'[{"a": "bad", "x": 1e99999999999999999999}]',
        b'{"a": "bad", "\xff": 1}',
        rb'[{"a": "bad", "x": "\ud800"}]',
    ],
)
def test_a_record_that_fails_amid_fields_that_nobody_can_read_is_refused(body: bytes) -> None:
    transform, sent = make({"a": "integer"}), Message(body, 0.0)
    try:
        records = transform.read(sent)
    except FormatError as error:  # which is the worker's to refuse
        refusal = transform.undecodable(sent, error)
    else:
        (refusal,) = transform.map([Piece(sent, records)]).refusals
    assert (refusal.reason, refusal.message) == ("json: not decodable", body)
    assert transform.refuse(sent, 0, RowRefused("t", 0, "a: unique", "taken")).message == body


def test_slices_of_a_message_count_from_their_start() -> None:
    transform = make({"a": "integer"})
    sent = message([{"a": 0}, {"a": 1}, {"a": "x"}, {"a": 3}])
    records = transform.decode(sent)
    slices = [transform.map([Piece(sent, records[start : start + 2], start)]) for start in (0, 2)]
    assert [mapped.rows for mapped in slices] == [[(0,), (1,)], [(3,)]]
    (refusal,) = slices[1].refusals
    assert (refusal.index, refusal.record) == (2, b'{"a":"x"}')


def test_a_message_that_does_not_decode_is_refused_whole() -> None:
    transform = make({"a": "integer"})
    sent = Message(b"<html>", 12.5)
    with pytest.raises(FormatError) as caught:
        transform.decode(sent)
    refusal = transform.undecodable(sent, caught.value)
    assert (refusal.reason, refusal.record, refusal.message) == ("json: not decodable", None, b"<html>")
    assert "byte 0" in refusal.detail


@pytest.mark.parametrize("body", [b"<html>", b'{"a": "would fit"}'])
def test_what_the_source_found_to_be_no_data_is_refused_unread_with_its_reason(body: bytes) -> None:
    transform = make({"a": "text"})
    sent = Message(body, 12.5, meta={"refused": "200 with a web page in place of data"})
    with pytest.raises(FormatError) as caught:
        transform.read(sent)
    refusal = transform.undecodable(sent, caught.value)
    assert (refusal.reason, refusal.detail) == ("source: no data", "200 with a web page in place of data")
    assert (refusal.record, refusal.message) == (None, body)


def test_the_record_of_a_row_that_the_database_refused_is_found_again() -> None:
    columns = {"a": {"type": "integer", "null": True, "on_invalid": "null"}, "b": "text"}
    transform = make(columns, where="b != 'skip'")
    records = [{"b": "skip"}, {"a": 1, "b": "0"}, {"a": 1}, {"a": "x", "b": "1"}, {"b": "skip"}, {"a": 2, "b": "2"}]
    sent = message(records)
    for row, (index, value) in enumerate([(1, "1"), (3, "null"), (5, "2")]):
        refused = RowRefused("t", row, "a: check_violation", "the database said so", ("a",))
        refusal = transform.refuse(sent, row, refused)
        assert refusal.index == index
        assert refusal.record == msgspec.json.encode(records[index])
        assert (refusal.reason, refusal.detail) == (
            "a: check_violation",
            (
                f'acme.scores, record {index + 1}: a ("a"): {value} is refused by the database [check_violation]: '
                "the database said so; put the rule into the configuration, change it in the database, or correct the "
                "provider"
            ),
        )


def test_a_row_that_the_database_refused_is_traced_back_to_its_record_past_those_that_gave_none() -> None:
    transform = make({"a": "integer"}, where="a != 1")
    sent = message([{"a": number} for number in range(4)])
    refused = [transform.refuse(sent, row, RowRefused("t", row, "a: odd", "odd")) for row in range(3)]
    assert [each.index for each in refused] == [0, 2, 3]
    other = message([{"a": 1}, {"a": 5}])
    assert transform.refuse(other, 0, RowRefused("t", 0, "a: odd", "odd")).record == b'{"a":5}'


def test_lists_are_records_only_where_a_path_begins_with_an_index() -> None:
    transform = make({"price": "decimal", "kind": "text"}, {"price": "[1][0]", "kind": "[0]"})
    assert run(transform, ["te", [Decimal("1.50")]]).rows == [(Decimal("1.50"), "te")]
    assert run(make({"a": "text"}), ["te"]).refusals[0].reason == "record: not an object"


def test_a_record_of_any_kind_is_taken_where_the_map_has_a_use_for_the_whole_alone() -> None:
    anything = [5, "x", Decimal("1.5"), True, None, ["a"], {"b": 1}]
    whole = make({"a": {"type": "json", "null": True}, "f": "text"}, {"a": "$record", "f": "$feed"}, {"key": ["f"]})
    mapped = run(whole, *anything)
    assert [(msgspec.json.decode(row[0]) if row[0] is not None else None, row[1]) for row in mapped.rows] == [
        (float(value) if type(value) is Decimal else value, "acme.scores") for value in anything
    ]
    ids = run(make({"id": "integer"}, {"id": "$record"}), 7, "8", "nine", None)
    assert ids.rows == [(7,), (8,)]
    assert [(refusal.index, refusal.reason, refusal.record) for refusal in ids.refusals] == [
        (2, "id: number", b'"nine"'),
        (3, "id: required", b"null"),
    ]
    for feed in ({"where": "a == 1"}, {"delete_when": "a == 1"}):
        assert run(make({"a": "json"}, {"a": "$record"}, **feed), 5).refusals[0].reason == "record: not an object"
    assert run(make({"a": "json", "b": "text"}, {"a": "$record", "b": "b"}), 5).refusals[0].index == 0


def test_many_bad_records_of_one_message_are_cut_out_of_it_once() -> None:
    transform = make({"a": "integer"})
    mapped = run(transform, *({"a": "x", "filler": "y" * 200} for _ in range(20_000)))
    assert len(mapped.refusals) == 20_000


@pytest.mark.skipif(not FEEDS.is_dir(), reason="the recorded payloads are not here")
def test_a_real_season_becomes_rows() -> None:
    columns = {
        "home": "text",
        "away": "text",
        "day": "date",
        "time": {"type": "time", "null": True},
        "home_score": {"type": "integer", "min": 0, "null": True},
        "round": {"type": "text", "pattern": r"Matchday \d+"},
    }
    mapping = {
        "home": "team1",
        "away": "team2",
        "day": "date",
        "time": "time",
        "round": "round",
        "home_score": "score.ft[0]",
    }
    transform = make(columns, mapping, records="matches")
    sent = Message((FEEDS / "football" / "en.1.json").read_bytes(), 0.0)
    mapped = transform.map([Piece(sent, transform.decode(sent))])
    assert len(mapped.rows) == 380
    assert mapped.refusals == []
    row = dict(zip(columns, mapped.rows[0], strict=True))
    assert (row["home"], row["away"], str(row["day"]), str(row["time"])) == (
        "Liverpool FC", "AFC Bournemouth", "2025-08-15", "20:00:00",
    )  # fmt: skip
    assert row["home_score"] == 4


@pytest.mark.skipif(not FEEDS.is_dir(), reason="the recorded payloads are not here")
def test_real_earthquakes_become_rows() -> None:
    columns = {
        "id": "text",
        "magnitude": {"type": "decimal", "min": -2, "max": 10, "null": True},
        "happened": {"type": "timestamp", "format": "epoch_ms"},
        "longitude": {"type": "float", "min": -180, "max": 180},
        "tsunami": "boolean",
        "whole": "json",
    }
    mapping = {
        "id": "id",
        "magnitude": "properties.mag",
        "happened": "properties.time",
        "longitude": "geometry.coordinates[0]",
        "tsunami": "properties.tsunami",
        "whole": "$record",
    }
    transform = make(columns, mapping, records="features", where="properties.mag > 4.0")
    sent = Message((FEEDS / "quakes" / "2.5_week.json").read_bytes(), 0.0)
    records = transform.decode(sent)
    mapped = transform.map([Piece(sent, records)])
    strong = [record for record in records if record["properties"]["mag"] > 4]
    assert mapped.refusals == []
    assert mapped.filtered == len(records) - len(strong) > 0
    assert [row[1] for row in mapped.rows] == [record["properties"]["mag"] for record in strong]
    assert mapped.rows[0][2] == datetime(2016, 4, 12, 20, 50, tzinfo=UTC)
    decode = msgspec.json.Decoder(float_hook=Decimal).decode
    assert [decode(row[5]) for row in mapped.rows] == strong


KINDS = ("text", "integer", "float", "decimal", "boolean", "timestamp", "date", "time", "uuid", "json", "bytes")
OPTIONS: dict[str, dict[str, Any]] = {
    "text": {"max_length": 5, "clean": ["collapse", "upper"]},
    "integer": {"min": 0, "max": 100},
    "timestamp": {"format": ["iso8601", "epoch_ms"], "timezone": "Europe/London"},
    "decimal": {"min": 0.5},
}
COLUMNS: dict[str, Any] = {
    f"{kind}_{number}": {"type": kind, **options}
    for kind in KINDS
    for number, options in enumerate(
        [
            {"null": True},
            {"null": True, "on_invalid": "null", **OPTIONS.get(kind, {})},
            {"null": True, "list": True, **OPTIONS.get(kind, {})},
            {
                "on_invalid": "null",
                "default": "12" if kind in {"text", "integer", "float", "decimal"} else None,
                "null": True,
            },
        ]
    )
}
SOURCES = ("a", "b.a", "a[0]", "$record.b")
MAPPING: dict[str, Any] = {name: SOURCES[number % len(SOURCES)] for number, name in enumerate(COLUMNS)}
MAPPING["text_0"] = {"from": ["a", "b"], "values": {"true": "yes", "1": "one"}, "otherwise": None}
ODD = st.sampled_from(
    ["", " ", "12", "1.50", "NaN", "2026-01-02T12:00:00Z", "2026-03-29T01:30:00", "a\0", "AAEC", "Yes", "1e400"]
)
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.decimals(allow_nan=False, allow_infinity=False) | st.text() | ODD
)
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
)
RECORDS = st.dictionaries(st.sampled_from("abc"), JSON, max_size=3)


def column_by_column(transform: Transform, record: Any) -> Any:
    """Give the row, or the first reason, that the columns' own functions come to."""
    judge: Judge = transform.routes.all[0]._judge
    verdict = judge.judge(record, message([]))
    return verdict.reason or verdict.row


def at_once(transform: Transform, record: Any) -> Any:
    """Give the row that the compiled function makes; None where it leaves the record to the columns."""
    rows: list[Any] = []
    failed: Callable[..., None] = lambda *_: None  # noqa: E731
    transform._run([Piece(message([]), [record])], rows, [].append, failed, [].append)
    return rows[0] if rows else None


ALL = make(COLUMNS, MAPPING)
EACH = {name: make({name: COLUMNS[name]}, {name: MAPPING[name]}) for name in COLUMNS}


@given(RECORDS)
def test_the_row_function_and_the_columns_own_functions_agree(record: Any) -> None:
    row = at_once(ALL, record)
    alone = [at_once(transform, record) for transform in EACH.values()]
    assert row == (None if None in alone else tuple(value for (value,) in alone))
    if row is not None:
        assert column_by_column(ALL, record) == row


@given(JSON)
def test_mapping_any_record_gives_a_row_or_a_refusal(record: Any) -> None:
    sent = message([record])
    for transform in (ALL, *EACH.values()):
        mapped = transform.map([Piece(sent, [record])])
        assert len(mapped.rows) + len(mapped.refusals) == 1


@given(st.binary())
def test_any_message_gives_records_or_a_format_error(body: bytes) -> None:
    sent = Message(body, 0.0)
    try:
        records = ALL.decode(sent)
    except FormatError as error:
        assert ALL.undecodable(sent, error).message == body  # noqa: PT017
        return
    mapped = ALL.map([Piece(sent, records)])
    assert len(mapped.rows) + len(mapped.refusals) == len(records)
