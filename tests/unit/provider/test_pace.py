"""The pace of a provider."""

import asyncio
from itertools import pairwise

import pytest

from service.config.units import Pace
from service.provider.pace import Pacer


async def times(pacer: Pacer, count: int, work: float = 0.0) -> list[float]:
    loop = asyncio.get_running_loop()
    moments: list[float] = []

    async def once() -> None:
        async with pacer.place():
            moments.append(loop.time())
            await asyncio.sleep(work)  # the way to the provider

    async with asyncio.TaskGroup() as group:
        for _ in range(count):
            group.create_task(once())
    return moments


async def test_no_window_holds_more_than_the_count() -> None:
    moments = await times(Pacer(Pace(5, 0.2)), 18)
    assert all(later - earlier >= 0.2 for earlier, later in zip(moments, moments[5:], strict=False))


async def test_the_whole_count_may_go_at_once() -> None:
    moments = await times(Pacer(Pace(5, 30)), 5)
    assert moments[-1] - moments[0] < 1


async def test_a_window_begins_when_the_provider_has_surely_seen_the_request() -> None:
    moments = await times(Pacer(Pace(1, 0.1)), 3, work=0.1)
    assert all(later - earlier >= 0.2 for earlier, later in pairwise(moments))


async def test_less_than_one_in_a_second_is_one_in_more() -> None:
    moments = await times(Pacer(Pace(0.5, 0.1)), 2)
    assert moments[1] - moments[0] >= 0.2


async def test_no_limit_never_waits() -> None:
    moments = await times(Pacer(None), 100)
    assert moments[-1] - moments[0] < 1


async def test_a_request_that_failed_counts_too() -> None:
    pacer = Pacer(Pace(1, 0.1))
    loop = asyncio.get_running_loop()
    with pytest.raises(OSError, match="gone"):
        async with pacer.place():
            raise OSError("gone")
    before = loop.time()
    async with pacer.place():
        assert loop.time() - before >= 0.09
