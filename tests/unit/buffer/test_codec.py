"""Entries: whatever goes in comes out, and nothing damaged passes for sound."""

from hypothesis import given
from hypothesis import strategies as st

from service.buffer.codec import OVERHEAD, decode, encode, entry_size, measure, resync
from service.model import Message

LIMIT = 1 << 63
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
OBJECT = st.none() | st.dictionaries(st.text(), JSON, max_size=3)
MESSAGES = st.lists(st.builds(Message, st.binary(max_size=200), st.floats(allow_nan=False), OBJECT, OBJECT), max_size=8)
FIRST = st.integers(1, 1 << 40)


def stored(first: int, messages: list[Message]) -> bytes:
    return encode(first, messages, measure(messages)[0])


@given(FIRST, MESSAGES)
def test_any_messages_come_back_equal_and_take_the_measured_size(first: int, messages: list[Message]) -> None:
    data = stored(first, messages)
    assert len(data) == measure(messages)[1]
    assert decode(data, first, LIMIT) == (messages, len(data))


@given(FIRST, MESSAGES, st.data())
def test_a_cut_gives_a_prefix(first: int, messages: list[Message], data: st.DataObject) -> None:
    whole = stored(first, messages)
    cut = data.draw(st.integers(0, len(whole)))
    found, used = decode(whole[:cut], first, LIMIT)
    assert found == messages[: len(found)]
    assert used == len(stored(first, found)) <= cut


@given(FIRST, MESSAGES.filter(bool), st.data())
def test_a_flipped_bit_ends_what_is_believed(first: int, messages: list[Message], data: st.DataObject) -> None:
    damaged = bytearray(stored(first, messages))
    bit = data.draw(st.integers(0, len(damaged) * 8 - 1))
    damaged[bit // 8] ^= 1 << bit % 8
    found, used = decode(bytes(damaged), first, LIMIT)
    assert used <= bit // 8
    assert found == messages[: len(found)]


def test_reading_stops_before_the_limit_and_at_a_wrong_number() -> None:
    messages = [Message(b"body", 1.0)] * 5
    data = stored(7, messages)
    assert len(decode(data, 7, 10)[0]) == 3
    assert decode(data, 8, LIMIT) == ([], 0)


def test_an_entry_tells_its_size() -> None:
    data = stored(1, [Message(b"x" * 72, 1.0)])
    assert entry_size(data) == OVERHEAD + 72
    assert entry_size(data[:5]) == OVERHEAD


@given(FIRST, MESSAGES.filter(bool), st.binary(min_size=2 * OVERHEAD, max_size=300))
def test_the_next_sound_entry_is_found_behind_any_garbage(first: int, messages: list[Message], garbage: bytes) -> None:
    data = garbage + stored(first + 2, messages)
    assert resync(data, first, LIMIT) == (len(garbage), first + 2)


@given(st.binary(max_size=2000) | st.integers(0, 100_000).map(bytes))
def test_garbage_and_zeros_hold_no_entry(garbage: bytes) -> None:
    assert resync(garbage, 1, LIMIT) is None


def test_entries_beyond_the_limit_are_not_taken_for_the_next() -> None:
    data = stored(20, [Message(b"a copy of another segment", 1.0)])
    assert resync(data, 5, 20) is None
    assert resync(data, 21, 30) is None


def test_a_sequence_number_is_found_where_its_upper_bytes_change() -> None:
    first = (1 << 24) - 1
    data = b"??" + stored(first + 1, [Message(b"body", 1.0)])
    assert resync(data + bytes(OVERHEAD), first, LIMIT) == (2, first + 1)


def test_bodies_made_to_look_like_entries_do_not_hold_up_a_start() -> None:
    fake = (1 << 20).to_bytes(4, "little") + bytes(4) + (2).to_bytes(8, "little") + bytes(12)
    assert resync(fake * (1 << 16), 1, LIMIT) is None
