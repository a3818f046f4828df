"""Conflation of deltas: each column ends as it would have, every record is accounted for, bytes stay as they came."""

import asyncio
from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from service.config.feeds import FeedSettings
from service.config.tables import Table
from service.model import Message, Row
from service.pipeline.conflate import Conflation, gone_before
from service.transform.transform import Piece, Transform

COLUMNS = {"k": "text", **{name: {"type": "integer", "null": True} for name in "vabc"}}
TABLES = {
    "versioned": Table.model_validate({"key": "k", "version": "v", "columns": COLUMNS}),
    "bare": Table.model_validate({"key": "k", "columns": COLUMNS}),
}
VALUES = st.integers(0, 9)
RECORDS = st.fixed_dictionaries(
    {"k": st.sampled_from(["x", "y"]), "v": st.integers(0, 3)},
    optional={"a": VALUES | st.none(), "b": VALUES, "c": VALUES | st.just("no number"), "gone": st.just(True)},
)
BODIES = st.lists(st.lists(RECORDS, max_size=3).map(orjson.dumps), min_size=1, max_size=14)


def transform(name: str) -> Transform:
    settings = FeedSettings.model_validate(
        {"into": "t", "map": {column: column for column in COLUMNS}, "partial": True, "delete_when": "gone == true"}
    )
    return Transform("a.b", settings, {"t": TABLES[name]}, ["t"])


def rows_of(name: str, messages: list[Message]) -> tuple[list[Row], int]:
    tested, rows, refused = transform(name), [], 0
    for message in messages:
        mapped = tested.map([Piece(message, tested.read(message))])
        rows += mapped.rows
        refused += len(mapped.refusals)
    return rows, refused


def loaded(name: str, rows: list[Row]) -> dict[str, dict[int, tuple[int, Any]]]:
    """Load rows one after another, as the law of deltas has it; every row makes one where there is none."""
    found: dict[str, dict[int, tuple[int, Any]]] = {}
    buried: dict[str, int] = {}
    for row in rows:
        key, version = row[0], row[1] if name == "versioned" else 0
        newest = found.get(key, {1: (-1, None)})[1][0]
        if row[5] is True:
            buried[key] = max(version, buried.get(key, -1)) if name == "versioned" else -1
            if version >= newest:
                found.pop(key, None)
        elif version >= buried.get(key, -1):
            columns = found.setdefault(key, {})
            for number in (1, *(n for n in (2, 3, 4) if row[-1] >> n & 1)):
                if version >= columns.get(number, (-1, None))[0]:
                    columns[number] = (version, row[number])
    return found


@given(bodies=BODIES, name=st.sampled_from(list(TABLES)), times=st.integers(1, 2))
def test_each_column_and_the_account_are_the_same_with_conflation(bodies: list[bytes], name: str, times: int) -> None:
    messages = kept = [Message(body, float(n)) for n, body in enumerate(bodies)]
    for _ in range(times):
        kept = asyncio.run(Conflation(transform(name), TABLES[name]).fold(kept))
    rows, refused = rows_of(name, messages)
    left, left_refused = rows_of(name, kept)
    assert loaded(name, left) == loaded(name, rows)
    assert left_refused == refused
    assert len(left) + sum(gone_before(message).stale for message in kept) == len(rows)
    assert {message.body for message in kept} <= set(bodies)


def test_as_many_messages_are_left_as_it_takes_to_carry_every_column() -> None:
    frames = [{"k": "x", "v": n, "abc"[n % 3]: n} for n in range(99)] + [{"k": "x", "v": 50, "b": 1}]
    messages = [Message(orjson.dumps(frame), 0.0) for frame in frames]
    kept = asyncio.run(Conflation(transform("versioned"), TABLES["versioned"]).fold(messages))
    assert [orjson.loads(message.body)["v"] for message in kept] == [96, 97, 98]
