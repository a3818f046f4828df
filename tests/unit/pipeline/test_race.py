"""Redundant connections: each message once, whoever is first; what is sent twice on purpose twice."""

from itertools import count

from hypothesis import given
from hypothesis import strategies as st

from service.model import Message
from service.pipeline.race import MAX_KNOWN, WINDOW, Race

STREAM = st.lists(st.sampled_from([b"a", b"b", b"c"]), max_size=30)


@given(stream=STREAM, turns=st.lists(st.tuples(st.integers(0, 2), st.integers(1, 5)), max_size=60))
def test_every_message_is_handed_on_once_and_in_order(stream: list[bytes], turns: list[tuple[int, int]]) -> None:
    race, given_on = Race(3), []
    taken = [0, 0, 0]
    for runner, steps in [*turns, *((runner, len(stream)) for runner in range(3))]:
        piece = stream[taken[runner] : taken[runner] + steps]
        taken[runner] += len(piece)
        given_on += race.first(runner, [Message(body, 1.0) for body in piece])
    assert [message.body for message in given_on] == stream
    assert sum(runner.first for runner in race.runners) == len(stream)
    assert sum(runner.later for runner in race.runners) == 2 * len(stream)


@given(stream=STREAM, gone=st.integers(0, 30), back=st.integers(0, 30))
def test_while_one_is_away_the_other_loses_nothing_and_gains_nothing(stream: list[bytes], gone: int, back: int) -> None:
    race, given_on = Race(2), []
    for number, body in enumerate(stream):
        message = Message(body, 1.0)
        given_on += race.first(0, [message])
        if number == back > gone:
            race.again(1)
        if number < gone or number > back:
            given_on += race.first(1, [message])
    if back > gone:
        assert [message.body for message in given_on] == stream
    else:
        assert len(given_on) >= len(stream)


def test_who_was_first_and_by_how_much_is_measured() -> None:
    race = Race(2)
    for body, first, later in ((b"1", 10.0, 10.25), (b"2", 11.0, 11.75)):
        assert race.first(1, [Message(body, first)])
        assert not race.first(0, [Message(body, later)])
    ahead, behind = race.runners[1], race.runners[0]
    assert (ahead.first, ahead.later, ahead.behind) == (2, 0, 0.0)
    assert (behind.first, behind.later, behind.behind) == (0, 2, 1.0)


def test_what_is_known_is_bounded_in_time_and_number() -> None:
    race, times = Race(2), count()
    assert race.first(0, [Message(b"x", 0.0)])
    assert race.first(0, [Message(b"y", WINDOW + 1)])
    assert not race.first(1, [Message(b"x", WINDOW + 1)])  # still of the window before
    race.first(0, [Message(b"z", 3 * WINDOW)])
    race.first(0, [Message(b"z", 5 * WINDOW)])
    assert race.first(1, [Message(b"x", 5 * WINDOW)])
    for _ in range(2 * MAX_KNOWN + 10):
        race.first(0, [Message(b"%d" % next(times), 5 * WINDOW)])
    assert len(race._new) + len(race._old) <= 2 * MAX_KNOWN


def test_what_is_sent_twice_on_purpose_arrives_though_the_one_that_brought_it_first_has_died() -> None:
    race = Race(2)
    assert race.first(0, [Message(b"A", 1.0), Message(b"B", 2.0)])
    race.again(1)  # it was away meanwhile
    assert race.first(1, [Message(b"A", 3.0)])
    assert not race.first(0, [Message(b"A", 3.1)])
