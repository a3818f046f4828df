"""What is missing of a sequence, and of time: whatever was dropped, doubled or reordered, the gaps say it exactly."""

import random
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.config.sequence import Sequence
from service.model import Message
from service.pipeline import gaps as module
from service.pipeline.gaps import Gaps, away, back
from service.pipeline.standing import Standing
from service.store.write import Gap, Heard
from service.transform.numbering import Numbering
from tests.unit.transform.making import make, message


def finder(**more: Any) -> Gaps:
    made = make({"id": "integer"}, {"id": "n"}, sequence={"field": "n", **more})
    assert isinstance(made.numbering, Numbering)
    return Gaps("acme.live", made.numbering, Standing(Sequence.model_validate({"field": "n", **more})))


def hear(found: Gaps, *numbers: int, at: float = 0.0, **more: Any) -> None:
    for moment, number in enumerate(numbers):
        sent = Message(message([{"n": number, **more}]).body, at + moment)
        found.note(sent, [{"n": number, **more}])


def keep(found: Gaps, kept: dict[Any, Gap]) -> None:
    """Write down what was found out, as the store does."""
    heard = found.take()
    if heard is not None:
        kept |= heard.gaps
        found.committed(heard)


def missing(kept: dict[Any, Gap]) -> set[int]:
    numbers: set[int] = set()
    for gap in kept.values():
        assert gap.from_position is not None
        assert gap.to_position is not None
        if gap.filled_at is None:
            inner = set(range(gap.from_position + 1, gap.to_position))
            assert inner
            assert not inner & numbers
            numbers |= inner
    return numbers


@settings(deadline=None)
@given(st.data())
def test_the_open_gaps_are_the_numbers_that_never_came(data: st.DataObject) -> None:
    sent = list(range(data.draw(st.integers(2, 60))))
    lost = data.draw(st.sets(st.sampled_from(sent[1:-1] or [0])))
    came = [number for number in sent if number not in lost or number == 0]
    doubled = came + data.draw(st.lists(st.sampled_from(came), max_size=10))
    shuffled = sorted(doubled, key=lambda number: number + data.draw(st.integers(0, 12)))
    shuffled = [came[0], *shuffled]
    found, kept = finder(), dict[Any, Gap]()
    for number in shuffled:
        hear(found, number)
        if data.draw(st.booleans()):
            keep(found, kept)
    keep(found, kept)
    assert missing(kept) == set(range(max(shuffled))) - set(came)
    assert found.open == sum(gap.filled_at is None for gap in kept.values())


@settings(deadline=None)
@given(st.integers(0, 3), st.integers(5, 40), st.sets(st.integers(1, 60)), st.integers(0, 3))
def test_numbers_that_wrap_have_the_gaps_that_numbers_without_end_have(
    start: int, top: int, lost: set[int], reach: int
) -> None:
    span = top - start + 1
    luck = random.Random(reach)
    came = [0, *(number for number in range(1, 80) if number not in lost)]
    runs = [after - before for before, after in pairwise(came)]
    came.sort(key=lambda number: number + luck.randint(0, reach))
    if came[0] != 0 or max(runs) + 2 * reach >= span // 2:
        return
    plain, wrapped = finder(), finder(wraps_at=top, starts_at=start)
    hear(plain, *came)
    hear(wrapped, *(number % span + start for number in came))
    shown = [
        {(gap.from_position or 0, gap.to_position or 0) for gap in (each.take() or Heard()).gaps.values()}
        for each in (plain, wrapped)
    ]
    assert {(before % span + start, after % span + start) for before, after in shown[0]} == shown[1]


def test_a_gap_has_the_numbers_and_times_of_its_neighbours() -> None:
    found = finder()
    hear(found, 1, 2, 3)
    hear(found, 7, at=9.0)
    heard = found.take()
    assert heard is not None
    (gap,) = heard.gaps.values()
    assert (gap.cause, gap.key, gap.from_position, gap.to_position) == ("sequence", None, 3, 7)
    assert (gap.from_time, gap.to_time, gap.filled_at) == (2.0, 9.0, None)
    assert heard.numbers[""].last == 7


def test_what_is_late_within_one_turn_was_never_a_gap() -> None:
    found = finder()
    hear(found, 1, 4, 3, 2, 5)
    heard = found.take()
    assert heard is not None
    assert heard.gaps == {}


@pytest.mark.parametrize(
    ("more", "numbers", "causes"),
    [
        ({"reset_below": 2}, [(5, {}), (1, {}), (2, {})], ["reset"]),
        ({"reset_below": 2}, [(5, {}), (3, {})], []),
        ({"epoch": "e"}, [(5, {"e": "a"}), (1, {"e": "b"}), (2, {"e": "b"})], ["reset"]),
        ({"epoch": "e"}, [(5, {"e": "a"}), (6, {}), (7, {"e": "a"})], []),
        ({"reset_when": "full == true"}, [(5, {}), (90, {"full": True}), (91, {})], []),
        ({"reset_when": "full == true"}, [(5, {}), (2, {"full": True}), (4, {})], ["sequence"]),
        ({"previous": "p"}, [(5, {"p": 2}), (9, {"p": 5}), (20, {"p": 9})], []),
        ({"previous": "p"}, [(5, {"p": 2}), (9, {"p": 6})], ["sequence"]),
        ({"key": "k"}, [(5, {"k": "a"}), (1, {"k": "b"}), (6, {"k": "a"}), (3, {"k": "b"})], ["sequence"]),
    ],
)
def test_what_a_number_means_follows_from_the_settings(
    more: dict[str, Any], numbers: list[tuple[int, dict[str, Any]]], causes: list[str]
) -> None:
    found = finder(**more)
    for number, fields in numbers:
        hear(found, number, **fields)
    heard = found.take()
    assert heard is not None
    assert [gap.cause for gap in heard.gaps.values()] == causes


def test_a_sequence_that_goes_back_for_long_began_anew_though_nothing_says_so() -> None:
    found = finder()
    hear(found, 5000)
    hear(found, *range(1, 1010))
    heard = found.take()
    assert heard is not None
    assert [gap.cause for gap in heard.gaps.values()] == ["reset"]
    hear(found, 1012)
    again = found.take()
    assert again is not None
    assert [(gap.from_position, gap.to_position) for gap in again.gaps.values()] == [(1009, 1012)]


def test_a_message_that_did_not_decode_is_why_its_number_is_missing() -> None:
    found = finder()
    hear(found, 1)
    found.undecoded()
    hear(found, 3)
    hear(found, 6)
    heard = found.take()
    assert heard is not None
    assert [gap.cause for gap in heard.gaps.values()] == ["refused", "sequence"]


def test_a_restart_goes_on_where_the_sequence_stood_and_knows_its_open_gaps() -> None:
    first = finder()
    hear(first, 1, 2, 6)
    heard = first.take()
    assert heard is not None
    second = finder()
    second.recall(heard, 2.0)
    assert [gap.from_position for gap in second.due.values()] == [2]
    hear(second, 4, 7, 9)
    later = second.take()
    assert later is not None
    assert sorted((gap.from_position, gap.to_position) for gap in later.gaps.values()) == [(2, 4), (4, 6), (7, 9)]


def test_time_away_is_a_gap_from_what_was_heard_before_until_all_is_heard_again() -> None:
    found = Gaps("acme.live")
    found.note(Message(b"x", 5.0), [])
    assert found.mark(away("restart", None, 8.0))
    heard = found.take()
    assert heard is not None
    (gap,) = heard.gaps.values()
    assert (gap.cause, gap.from_time, gap.to_time) == ("restart", 5.0, None)
    found.committed(heard)
    assert not found.due
    found.mark(away("reconnect", 4.0, 9.0))  # another connection had been silent for longer
    found.mark(back(11.0, 11.0))
    heard = found.take()
    assert heard is not None
    (gap,) = heard.gaps.values()
    assert (gap.cause, gap.from_time, gap.to_time) == ("restart", 4.0, 11.0)
    found.committed(heard)
    assert list(found.due) == [gap.id]
    assert found.found == 1


def test_a_feed_that_never_heard_anything_has_missed_nothing() -> None:
    found = Gaps("acme.live")
    found.mark(away("restart", None, 8.0))
    found.mark(back(9.0, 9.0))
    assert found.take() is None


def test_numbers_that_go_on_fill_the_time_away_and_numbers_that_jump_do_not() -> None:
    for number, filled in ((4, True), (5, False)):
        found = finder()
        hear(found, 1, 2, 3)
        found.mark(away("reconnect", 2.0, 3.0))
        found.mark(back(4.0, 4.0))
        found.take()
        hear(found, number, at=5.0)
        hear(found, number + 1, at=6.0)
        heard = found.take()
        assert heard is not None
        assert [gap.filled_by for gap in heard.gaps.values() if gap.cause == "reconnect"] == ["acme.live"] * filled


def test_more_gaps_than_anybody_looks_at_become_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_A_MINUTE", 3)
    found = finder()
    for number in range(0, 40, 2):
        sent = Message(b"", number / 10)
        found.note(sent, [{"n": number}])
    heard = found.take()
    assert heard is not None
    *told, rest = heard.gaps.values()
    assert [gap.from_position for gap in told] == [0, 2, 4]
    assert (rest.from_position, rest.from_time, rest.to_time) == (None, 0.6, 3.8)
