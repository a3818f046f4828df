"""The breaker: when it trips, what it holds up, and how it lets go."""

import asyncio
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from service.model import Message, Refusal
from service.pipeline.batch import Parsed
from service.pipeline.breaker import Breaker, Recent
from tests.lanes import running, until

SIZE = 100
runs = st.lists(st.integers(0, 60).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n))), max_size=30)


def parsed(good: int, refused: int, reason: str = "n: max") -> Parsed:
    refusal = Refusal("acme.scores", "t", reason, "a sentence", b"{}", b"{}", 1.0)
    return Parsed([Message(b"{}", 7.5)], [0], good + refused, [(1,)] * good, [refusal] * refused)


@given(runs)
def test_a_feed_is_bad_when_more_than_half_of_the_shortest_ending_of_its_runs_is_refused(
    runs: list[tuple[int, int]],
) -> None:
    recent = Recent(SIZE)
    for number, (records, refused) in enumerate(runs, 1):
        recent.add(records, refused)
        endings = [runs[start:number] for start in range(number)]
        sums = [(sum(n for n, _ in ending), sum(bad for _, bad in ending)) for ending in endings]
        large = [found for found in sums if found[0] >= SIZE]
        expected = bool(large) and 2 * large[-1][1] > large[-1][0]
        assert recent.is_bad == expected


@given(runs)
def test_no_memory_is_taken_by_what_is_long_past(runs: list[tuple[int, int]]) -> None:
    recent = Recent(SIZE)
    for records, refused in runs:
        recent.add(records, refused)
        assert 0 <= recent.refused <= recent.records < SIZE + 60


async def test_a_small_bad_batch_at_the_start_trips_nothing() -> None:
    breaker = Breaker("acme.scores", SIZE)
    assert await breaker.admit(parsed(0, SIZE - 1))
    assert await breaker.admit(parsed(SIZE, 0))
    assert breaker.reason is None


async def test_half_of_the_records_may_be_bad_but_not_one_more() -> None:
    breaker = Breaker("acme.scores", SIZE)
    assert await breaker.admit(parsed(50, 50))
    async with running(breaker.admit(parsed(49, 51))) as held:
        await until(lambda: breaker.reason is not None)
        assert not held.done()


async def test_what_is_held_up_goes_on_when_resumed_and_is_not_judged_again() -> None:
    told: list[str] = []
    breaker = Breaker("acme.scores", SIZE, lambda: told.append("tripped"))
    with capture_logs() as logs:
        async with running(breaker.admit(parsed(10, 200))) as held:
            await until(lambda: breaker.reason is not None)
            assert breaker.oldest == pytest.approx(7.5)
            assert str(breaker.reason).startswith("200 of the last 210 records were refused, the latest for 'n: max'")
            breaker.resume()
            assert await held
        assert await breaker.admit(parsed(0, SIZE - 1))
        assert not breaker.reason
        assert not breaker.oldest
    assert told == ["tripped"]
    assert [line["event"] for line in logs] == ["feed parked", "feed loads again"]


async def test_records_that_still_fail_trip_it_again() -> None:
    breaker = Breaker("acme.scores", SIZE)
    for _ in range(2):
        async with running(breaker.admit(parsed(0, SIZE))) as held:
            await until(lambda: breaker.reason is not None)
            breaker.resume()
            assert await held


async def test_repeats_count_as_sound() -> None:
    breaker, repeats = Breaker("acme.scores", SIZE), parsed(160, 40)
    repeats.repeats = list(range(160))
    for each in (repeats, parsed(0, 60)):
        async with asyncio.timeout(10):
            assert await breaker.admit(each)


async def test_records_that_nobody_wants_do_not_count() -> None:
    breaker, sifted = Breaker("acme.scores", SIZE), parsed(0, 60)
    sifted.filtered = 1000
    assert await breaker.admit(sifted)
    async with running(breaker.admit(sifted)):
        await until(lambda: breaker.reason is not None)


@pytest.mark.parametrize("kept", [True, False])
async def test_at_the_end_what_can_be_had_again_is_left_and_the_rest_goes_on(kept: bool) -> None:
    breaker = Breaker("acme.scores", SIZE)
    async with running(breaker.admit(parsed(0, SIZE))) as held:
        await until(lambda: breaker.reason is not None)
        breaker.end(kept=kept)
        assert await held is not kept
    assert await breaker.admit(parsed(0, SIZE)) is not kept


async def test_it_may_trip_after_the_end_too() -> None:
    breaker = Breaker("acme.scores", SIZE)
    breaker.end(kept=True)
    assert await breaker.admit(parsed(SIZE, 0))
    assert not await breaker.admit(parsed(0, SIZE))
    assert breaker.reason is not None


async def test_rows_that_the_database_refuses_hold_up_what_follows() -> None:
    breaker = Breaker("acme.scores", SIZE)
    breaker.written(60, Counter({"n: check_violation": 30}))
    breaker.written(60, Counter({"n: check_violation": 30}))
    assert breaker.reason is None
    breaker.written(60, Counter({"n: check_violation": 31}))
    assert "the latest for 'n: check_violation'" in str(breaker.reason)
    async with running(breaker.admit(parsed(1, 0))) as held:
        await asyncio.sleep(0)
        assert not held.done()


async def test_switched_off_it_never_trips() -> None:
    breaker = Breaker("acme.scores", 0)
    assert await breaker.admit(parsed(0, 10_000))
    breaker.written(10_000, Counter({"n: max": 10_000}))
    assert await breaker.admit(parsed(0, 10_000))
