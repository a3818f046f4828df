"""The budget of a provider: no window holds more than it may, and what the provider says is obeyed."""

import asyncio
import itertools
import time

import pytest

from service.config.units import Pace
from service.errors import SourceLost
from service.provider.budget import Budget
from service.provider.limits import Limit


async def times(budget: Budget, count: int, weight: int = 1) -> list[float]:
    """Give when each of so many requests, asked for at once, had its turn."""
    moments: list[float] = []

    async def once() -> None:
        await budget.take(weight)
        moments.append(time.monotonic())

    async with asyncio.TaskGroup() as group:
        for _ in range(count):
            group.create_task(once())
    return moments


def holds(moments: list[float], pace: Pace, weight: int = 1) -> bool:
    """Whether no window has more; a loop that is late by two milliseconds is not a request too many."""
    most = int(pace.count // weight)
    return all(b - a >= pace.seconds - 0.002 for a, b in zip(moments, moments[most:], strict=False))


@pytest.mark.parametrize(("count", "requests"), [(1, 4), (2, 6), (5, 18), (30, 80)])
async def test_no_window_holds_more_than_the_count(count: int, requests: int) -> None:
    pace = Pace(count, 0.2)
    assert holds(await times(Budget([pace]), requests), pace)


async def test_several_windows_hold_at_once() -> None:
    short, long = Pace(5, 0.1), Pace(20, 0.8)
    moments = await times(Budget([short, long]), 50)
    assert holds(moments, short)
    assert holds(moments, long)


async def test_a_heavy_request_counts_for_as_many() -> None:
    pace = Pace(20, 0.2)
    moments = await times(Budget([pace], heaviest=5), 16, weight=5)
    assert holds(moments, pace, weight=5)


async def test_a_request_as_heavy_as_the_limit_has_the_window_to_itself() -> None:
    moments = await times(Budget([Pace(5, 0.1)], heaviest=5), 3, weight=5)
    assert all(later - earlier >= 0.098 for earlier, later in itertools.pairwise(moments))


async def test_a_tenth_goes_at_once_and_the_rest_in_its_time() -> None:
    moments = await times(Budget([Pace(40, 0.4)]), 76)
    assert moments[3] - moments[0] < 0.1
    assert moments[-1] - moments[0] < 4


async def test_less_than_one_in_a_second_is_one_in_more() -> None:
    moments = await times(Budget([Pace(0.5, 0.1)]), 2)
    assert moments[1] - moments[0] >= 0.198


async def test_no_limit_never_waits() -> None:
    moments = await times(Budget([]), 100)
    assert moments[-1] - moments[0] < 1


async def test_turns_are_given_in_the_order_in_which_they_are_asked_for() -> None:
    budget, order = Budget([Pace(20, 0.2)], heaviest=3), list[int]()

    async def once(number: int) -> None:
        await budget.take(3 if number % 2 else 1)
        order.append(number)

    async with asyncio.TaskGroup() as group:
        for number in range(12):
            group.create_task(once(number))
    assert order == list(range(12))


async def test_a_provider_that_asks_for_silence_gets_it_from_all() -> None:
    budget = Budget([])
    budget.hold(0.2)
    started = time.monotonic()
    moments = await times(budget, 3)
    assert all(moment - started >= 0.2 for moment in moments)


async def test_a_shorter_silence_does_not_cut_a_longer_one() -> None:
    budget = Budget([])
    budget.hold(0.2)
    budget.hold(0.01)
    assert budget.wait() > 0.1


async def test_a_long_silence_is_told_to_the_feed_and_not_waited_for() -> None:
    budget = Budget([])
    budget.hold(3600)
    with pytest.raises(SourceLost, match="used up for 3600 s") as lost:
        await budget.take()
    assert lost.value.retry_after == pytest.approx(3600, abs=1)


async def test_what_is_left_may_be_sent_and_no_more_until_the_reset() -> None:
    budget = Budget([])
    budget.note([Limit("x", 2, 0.3)])
    started = time.monotonic()
    moments = await times(budget, 3)
    assert [moment - started >= 0.3 for moment in moments] == [False, False, True]


async def test_an_answer_that_was_overtaken_gives_nothing_back() -> None:
    budget = Budget([])
    budget.note([Limit("x", 2, 10)])
    await budget.take(2)
    budget.note([Limit("x", 2, 10)])
    assert budget.wait() > 9


async def test_a_new_window_counts_anew() -> None:
    budget = Budget([])
    budget.note([Limit("x", 0, 0.01)])
    await budget.take()
    budget.note([Limit("x", 5, 10)])
    assert budget.wait() == 0


async def test_each_limit_that_the_provider_names_holds() -> None:
    budget = Budget([])
    budget.note([Limit("second", 10, 0.1), Limit("day", 0, 50)])
    assert budget.wait() > 49
    budget.note([Limit("second", 10, 0.1)])
    assert budget.wait() > 49


async def test_limits_without_end_take_no_memory_without_end() -> None:
    budget = Budget([])
    for number in range(1000):
        budget.note([Limit(str(number), 1, 1000)])
    assert len(budget._limits) <= 32


async def test_a_request_heavier_than_was_foreseen_waits_for_an_empty_bucket_not_for_ever() -> None:
    moments = await times(Budget([Pace(10, 0.1)]), 2, weight=7)
    assert moments[1] - moments[0] >= 0.06
