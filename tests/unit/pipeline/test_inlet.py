"""The inlet: groups, bounds, backpressure, and what happens to a message in hand when its source is cancelled."""

import asyncio
from collections.abc import Sequence
from typing import cast

from service.buffer.memory import Memory
from service.model import OVERHEAD, Lane, Message
from service.pipeline.conflate import Conflation
from service.pipeline.gaps import back
from service.pipeline.inlet import Inlet


def message(size: int = 100) -> Message:
    return Message(b"x" * size, 0.0)


async def lane(max_bytes: int = 1 << 20) -> Lane:
    return await Memory(max_bytes, ["a.b"]).lane("a.b")


async def test_what_is_put_arrives_in_order_and_counts_as_received_once_it_is_in_the_lane() -> None:
    kept = await lane()
    inlet = Inlet(kept, 1 << 20)
    async with asyncio.TaskGroup() as group:
        group.create_task(inlet.run())
        async with inlet:
            for number in range(10):
                await inlet.put([Message(str(number).encode(), 0.0)])
            await inlet.put([back(1.0, 1.0)])  # our own note of a gap: it was not received
            await inlet.settled()
            assert inlet.messages == 10
            assert kept.last_sequence == 11
    found = await kept.read(0, 1 << 20)
    assert found is not None
    assert [one.body for one in found.messages] == [*(str(number).encode() for number in range(10)), b""]
    assert inlet.held == 0


async def test_a_full_inlet_makes_the_source_wait_and_says_so() -> None:
    inlet = Inlet(await lane(), 3 * (100 + OVERHEAD))
    await inlet.put([message(), message(), message()])
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(inlet.put([message()]))
        while inlet.paused_since is None:
            await asyncio.sleep(0)
        assert not waiting.done()
        appending = group.create_task(inlet.run())
        await waiting
        await inlet.settled()
        appending.cancel()
    assert inlet.messages == 4
    assert inlet.paused_seconds > 0
    assert inlet.paused_since is None


async def test_a_source_cancelled_while_it_waits_for_room_has_handed_its_message_on() -> None:
    kept = await lane()
    inlet = Inlet(kept, 100 + OVERHEAD)
    await inlet.put([message()])
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(inlet.put([message(7)]))
        while inlet.paused_since is None:
            await asyncio.sleep(0)
        waiting.cancel()
    async with inlet:
        pass
    await inlet.run()
    assert kept.last_sequence == 2


async def test_a_message_larger_than_the_bound_passes_alone() -> None:
    kept = await lane()
    inlet = Inlet(kept, 10)
    await inlet.put([message(5000)])
    async with inlet:
        pass
    await inlet.run()
    assert kept.last_sequence == 1


async def test_nothing_makes_no_room_when_all_that_is_held_is_being_appended() -> None:
    class Never:
        async def fold(self, messages: Sequence[Message]) -> list[Message]:
            raise AssertionError(messages)

    inlet = Inlet(await lane(), 100 + OVERHEAD, cast("Conflation", Never()))
    await inlet.put([message(200)])
    await inlet.put([])
    assert inlet.conflated == 0
