"""The pace of a provider."""

import asyncio

import pytest

from service.config.units import Pace
from service.provider.pace import Pacer


async def times(pacer: Pacer, count: int) -> list[float]:
    loop = asyncio.get_running_loop()
    moments: list[float] = []

    async def once() -> None:
        async with pacer.place():
            moments.append(loop.time())

    async with asyncio.TaskGroup() as group:
        for _ in range(count):
            group.create_task(once())
    return moments


@pytest.mark.parametrize(("count", "requests"), [(1, 4), (2, 6), (5, 18), (30, 80)])
async def test_no_window_holds_more_than_the_count(count: int, requests: int) -> None:
    window = 0.2
    moments = await times(Pacer(Pace(count, window)), requests)
    # A loop that is late by a millisecond is not a request too many.
    assert all(later - earlier >= window - 0.002 for earlier, later in zip(moments, moments[count:], strict=False))


async def test_a_tenth_of_the_count_may_go_at_once() -> None:
    moments = await times(Pacer(Pace(50, 30)), 5)
    assert moments[-1] - moments[0] < 1


async def test_a_burst_is_followed_by_most_of_the_rate() -> None:
    moments = await times(Pacer(Pace(40, 0.4)), 76)
    assert moments[-1] - moments[0] < 4


async def test_less_than_one_in_a_second_is_one_in_more() -> None:
    moments = await times(Pacer(Pace(0.5, 0.1)), 2)
    assert moments[1] - moments[0] >= 0.198


async def test_no_limit_never_waits() -> None:
    moments = await times(Pacer(None), 100)
    assert moments[-1] - moments[0] < 1
