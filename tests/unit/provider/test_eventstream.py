from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from service.provider.eventstream import Event, EventStream

PARTS = [
    "data", "data: ", "data:", ":", " ", "\n", "\r", "\r\n", "\n\n", "event: tick", "event", "id: 7", "id", "id: a\0b",
    "retry: 1500", "retry: 1.5", "retry: \u0663", '{"n": 1}', "comment", "\ufeff", "\u2028", "\x0b", "\x85", "é", "🏟",
]  # fmt: skip
streams = st.lists(st.sampled_from(PARTS), max_size=60).map("".join)


def whole(text: str) -> tuple[list[Event], float | None]:
    """Parse a whole stream, step by step as the standard has it."""
    events, data, name, pending, retry = [], "", "", None, None
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    lines = text.split("\n")[:-1]
    for line in lines:
        if line == "":
            if data != "":
                events.append(Event(name or "message", pending, data[:-1].encode()))
            data, name = "", ""
            continue
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            name = value
        elif field == "data":
            data += value + "\n"
        elif field == "id" and "\0" not in value:
            pending = value
        elif field == "retry" and value.isascii() and value.isdigit():
            retry = int(value) / 1000
    return events, retry


@example("data: x\r\ndata: y\n\n", [8, 8])
@given(streams, st.lists(st.integers(0, 200), max_size=20))
def test_any_chunking_gives_the_events_of_the_standard(text: str, cuts: list[int]) -> None:
    data, stream, events = text.encode(), EventStream(), list[Event]()
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    for start, end in pairwise(places):
        events += stream.feed(data[start:end])
    assert (events, stream.retry) == whole(text)


@given(streams)
def test_one_byte_at_a_time_gives_the_same(text: str) -> None:
    stream, events = EventStream(), list[Event]()
    for byte in text.encode():
        events += stream.feed(bytes([byte]))
    assert (events, stream.retry) == whole(text)


def test_the_examples_of_the_standard() -> None:
    stocks = b"data: YHOO\ndata: +2\ndata: 10\n\n"
    assert EventStream().feed(stocks) == [Event("message", None, b"YHOO\n+2\n10")]
    comments = b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n"
    assert EventStream().feed(comments) == [
        Event("message", "1", b"first event"),
        Event("message", "", b"second event"),
        Event("message", "", b" third event"),
    ]
    empty = b"data\n\ndata\ndata\n\ndata:"
    assert EventStream().feed(empty) == [Event("message", None, b""), Event("message", None, b"\n")]


def test_an_id_is_taken_when_its_event_has_ended_with_or_without_data() -> None:
    stream = EventStream("before")
    assert stream.feed(b"id: 5\n") == []
    assert stream.last_id == "before"
    stream.feed(b"\n")
    assert stream.last_id == "5"
    assert stream.feed(b"data: x\n\n") == [Event("message", "5", b"x")]


@pytest.mark.parametrize(("chunk", "held"), [(b"data: " + b"x" * 1000, 1006), (b"data: x\n" * 500, 1000), (b"\xef", 1)])
def test_what_is_held_is_told(chunk: bytes, held: int) -> None:
    stream = EventStream()
    stream.feed(chunk)
    assert stream.held == held
    stream.feed(b"\n\n")
    assert stream.held == 0


def test_bytes_that_are_no_utf_8_stay_as_they_came() -> None:
    assert EventStream().feed(b"data: \xff\xfe\n\n") == [Event("message", None, b"\xff\xfe")]
