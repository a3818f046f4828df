"""The tap: what listeners see of records that pass, and that the feed never waits for them."""

import asyncio
import itertools
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.config.feeds import FeedSettings
from service.config.tables import Table
from service.errors import FormatError
from service.model import Message, Refusal
from service.pipeline.batch import Parsed
from service.pipeline.listener import QUEUED, Listener, every, sampled
from service.pipeline.tap import LARGEST, REST, TURN, Tap
from service.transform.transform import Piece, Transform

COLUMNS = {
    "id": "text",
    "n": {"type": "integer", "max": 9, "null": True},
    "price": {"type": "decimal", "null": True},
    "extra": {"type": "json", "null": True},
    "opened_by": {"type": "text", "null": True},
}
TABLE = Table.model_validate({"key": "id", "columns": COLUMNS})
MAP = {"id": "id", "n": "n", "price": "price", "extra": "extra", "opened_by": "api_key"}
SETTINGS = FeedSettings.model_validate({"into": "goals", "map": MAP})
TRANSFORM = Transform("acme.scores", SETTINGS, {"goals": TABLE})


def tap(clock: Callable[[], float] = lambda: 0.0) -> Tap:
    return Tap(TRANSFORM, {"goals": TABLE}, clock)


def parsed(*bodies: str) -> Parsed:
    messages = [Message(body.encode(), 1767355200.25 + number) for number, body in enumerate(bodies)]
    pieces = [Piece(message, TRANSFORM.read(message)) for message in messages]
    result = Parsed(received=sum(len(piece.records) for piece in pieces))
    result.add(TRANSFORM.map(pieces), messages)
    return result


async def seen(listener: Listener) -> list[Any]:
    lines = await listener.read(10)
    return [json.loads(line) for line in (lines or b"").splitlines()]


@given(st.integers(1, 50), st.lists(st.integers(0, 200), max_size=20))
def test_every_so_many_of_the_records_are_chosen_however_they_come(number: int, slices: list[int]) -> None:
    listener, passed, chosen = Listener("mapped", every(number)), 0, []
    for count in slices:
        chosen += [passed + at for at in listener.choose(count)]
        passed += count
    assert chosen == list(range(0, passed, number))


@given(st.floats(0.01, 1))
def test_a_sample_takes_about_its_share(share: float) -> None:
    listener = Listener("mapped", sampled(share))
    chosen = [at for _ in range(20) for at in listener.choose(1000)]
    deviation = (20_000 * share * (1 - share)) ** 0.5
    assert abs(len(chosen) - 20_000 * share) <= 6 * deviation


async def test_mapped_rows_are_shown_by_column_with_exact_digits_and_no_secret() -> None:
    tested = tap()
    with tested.listening("mapped", every(1)) as listener:
        tested.parsed(
            parsed('{"id": "a", "n": 1}', '{"id": "b", "price": 2.10, "extra": {"token": "t"}, "api_key": "k"}')
        )
        lines = (await listener.read(10) or b"").decode()
    first, second = map(json.loads, lines.splitlines())
    assert first["row"] == {"id": "a", "n": 1, "price": None, "extra": None, "opened_by": "***"}
    assert (first["stage"], first["feed"], first["table"]) == ("mapped", "acme.scores", "goals")
    assert first["received_at"] == "2026-01-02T12:00:00.250Z"
    assert second["received_at"] == "2026-01-02T12:00:01.250Z"
    assert '"price":2.10' in lines
    assert second["row"]["extra"] == {"token": "***"}
    assert second["row"]["opened_by"] == "***"


async def test_of_a_delta_only_the_columns_that_it_carries_are_shown_and_it_deletes_nothing() -> None:
    settings = FeedSettings.model_validate({"into": "goals", "map": MAP, "partial": True})
    transform = Transform("acme.scores", settings, {"goals": TABLE})
    message = Message(b'{"id": "a", "n": 3}', 1767355200.25)
    result = Parsed(received=1)
    result.add(transform.map([Piece(message, transform.read(message))]), [message])
    each = Tap(transform, {"goals": TABLE}, lambda: 0.0)
    with each.listening("mapped", every(1)) as listener:
        each.parsed(result)
        (item,) = await seen(listener)
    assert item["row"] == {"id": "a", "n": 3}
    assert "deletes" not in item


async def test_raw_records_are_whole_though_only_what_is_mapped_was_decoded() -> None:
    tested = tap()
    with tested.listening("raw", every(1)) as listener:
        tested.parsed(parsed('[{"id": "a", "other": [1]}, {"id": "b", "password": "p"}]'))
        (first, second) = await seen(listener)
    assert first["record"] == {"id": "a", "other": [1]}
    assert second["record"] == {"id": "b", "password": "***"}


async def test_records_of_a_page_that_takes_long_to_decode_are_shown_too() -> None:
    tested = tap()
    with tested.listening("raw", every(1)) as listener:
        tested.parsed(parsed("[" + ",".join(['{"id": "a", "n": 1, "more": [1, 2, 3]}'] * 20_000) + "]"))
        assert (await seen(listener))[0]["record"] == {"id": "a", "n": 1, "more": [1, 2, 3]}


async def test_refused_records_are_shown_with_the_reason() -> None:
    tested = tap()
    with tested.listening("refused", every(1)) as listener, tested.listening("mapped", every(1)) as other:
        tested.parsed(parsed('[{"id": "a", "n": 10, "secret": 1}, {"id": "b"}]'))
        (found,) = await seen(listener)
        assert len(await seen(other)) == 1
    assert (found["reason"], found["record"]) == ("n: max", {"id": "a", "n": 10, "secret": "***"})
    assert "10 is more than the maximum 9" in found["detail"]


async def test_of_what_does_not_decode_no_secret_is_shown() -> None:
    tested = tap()
    with tested.listening("refused", every(1)) as listener:
        body = b'{"token": ["abc", "def"], oops'
        tested.committed({}, [Refusal("acme.scores", None, "json: not decodable", "told", None, body, 1.0)])
        (found,) = await seen(listener)
    assert found["record"] == '{"token":"***"'


async def test_committed_rows_and_what_the_database_refused_are_shown() -> None:
    tested = tap()
    refusal = Refusal("acme.scores", "goals", "n: check_violation", "told", b'{"id":"a"}', b"", 1.0)
    with tested.listening("committed", every(2)) as rows, tested.listening("refused", every(1)) as refused:
        tested.committed({"goals": [("a", 1), ("b", 2), ("c", 3)]}, [refusal])
        assert [found["row"]["id"] for found in await seen(rows)] == ["a", "c"]
        assert [found["reason"] for found in await seen(refused)] == ["n: check_violation"]


async def test_a_listener_that_does_not_read_misses_records_and_is_told_how_many() -> None:
    listener = Listener("mapped", every(1))
    for number in range(QUEUED + 5):
        listener.put(b"%d\n" % number)
    *lines, missed = (await listener.read(10) or b"").splitlines()
    assert len(lines) == QUEUED
    assert json.loads(missed) == {"missed": 5}


async def test_listeners_rest_after_their_turn_and_what_passes_meanwhile_is_counted() -> None:
    ticks = itertools.count()
    tested = tap(lambda: next(ticks) * TURN / 10)
    records = parsed("[" + ",".join(f'{{"id": "{number}"}}' for number in range(500)) + "]")
    with tested.listening("mapped", every(1)) as listener:
        tested.parsed(records)
        tested.parsed(records)
        *lines, missed = await seen(listener)
        assert missed == {"missed": 1000 - len(lines)}
        assert 5 < len(lines) < 15
        while b'"row"' not in (await listener.read(0) or b""):
            tested.parsed(records)
        assert next(ticks) > REST * 10


async def test_what_is_too_long_is_shortened() -> None:
    tested = tap()
    with tested.listening("raw", every(1)) as listener:
        tested.parsed(parsed(f'{{"id": "a", "text": "{"x" * LARGEST}"}}', '{"id": "b"}'))
        first, second = await seen(listener)
    assert first["shortened"]
    assert len(json.dumps(first)) < 1000
    assert second["record"] == {"id": "b"}


@given(st.integers(1, 5000))
@settings(max_examples=20, deadline=None)
def test_a_record_of_any_depth_stops_nobody(depth: int) -> None:
    tested = tap()
    with tested.listening("raw", every(1)):
        try:
            found = parsed('[{"id": "a", "deep": ' + "[" * depth + "]" * depth + "}]")
        except FormatError:
            return
        tested.parsed(found)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@settings(deadline=None)
@given(st.lists(st.dictionaries(st.sampled_from([*MAP.values(), "more"]), anything, max_size=6), max_size=3))
def test_whatever_a_record_holds_is_shown_as_json(records: list[Any]) -> None:
    tested = tap()
    with (
        tested.listening("raw", every(1)) as raw,
        tested.listening("refused", every(1)) as refused,
        tested.listening("mapped", every(1)) as mapped,
    ):
        found = parsed(json.dumps(records))
        tested.parsed(found)
        tested.committed({"goals": found.rows}, found.refusals)
        lines = b"".join(asyncio.run(listener.read(0)) or b"" for listener in (raw, refused, mapped))
        assert all(isinstance(json.loads(line), dict) for line in lines.splitlines() if line)


async def test_a_feed_that_stops_says_so_once() -> None:
    tested = tap()
    with tested.listening("raw", every(1)) as listener:
        async with tested:
            tested.parsed(Parsed())
        assert await seen(listener) == [{"ended": "the feed has stopped"}]
        assert await listener.read(10) is None
    assert tested.listeners == []


async def test_silence_is_an_empty_line() -> None:
    assert await Listener("raw", every(1)).read(0.001) == b"\n"


@pytest.mark.parametrize("stage", ["raw", "mapped", "refused", "committed"])
async def test_nobody_hears_of_other_stages(stage: Any) -> None:
    tested = tap()
    with tested.listening(stage, every(1)) as listener:
        tested.parsed(Parsed())
        tested.committed({"goals": []}, [])
        assert await listener.read(0.001) == b"\n"
