"""Room: who gets it, who waits, and that the sum never exceeds the bound."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from service.buffer.room import Room


def free(room: Room, feed: str, size: int) -> bool:
    """Take room if that does not wait."""
    taking = room.take(feed, size)
    try:
        taking.send(None)
    except StopIteration:
        return True
    taking.close()
    return False


async def test_one_lane_alone_may_use_everything() -> None:
    room = Room(1000, ["a"])
    assert free(room, "a", 900)
    assert not free(room, "a", 101)
    assert free(room, "a", 100)
    assert room.most() == 1000


async def test_the_others_shares_stay_free() -> None:
    room = Room(1000, ["a", "b"])
    assert room.most() == 750
    assert free(room, "a", 750)
    assert not free(room, "a", 1)
    assert free(room, "b", 250)
    assert not free(room, "b", 1)
    room.give("a", 600)
    assert free(room, "b", 400)
    assert room.used() == 800


async def test_a_share_is_sure_even_beside_a_group_larger_than_the_room() -> None:
    room = Room(1000, ["a", "b"])
    assert free(room, "a", 5000)
    assert free(room, "b", 100)
    assert free(room, "b", 150)
    assert not free(room, "b", 1)


async def test_a_feed_that_joins_later_gets_a_share() -> None:
    room = Room(1000, ["a"])
    room.join("b", 0)
    assert room.most() == 750


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(-300, 160)), max_size=60))
def test_lanes_that_append_within_their_share_never_exceed_the_bound(steps: list[tuple[str, int]]) -> None:
    asyncio.run(walk(steps))


async def walk(steps: list[tuple[str, int]]) -> None:
    room = Room(1000, "abc")
    used = dict.fromkeys("abc", 0)
    for feed, amount in steps:
        if amount < 0:
            given_back = min(-amount, used[feed])
            room.give(feed, given_back)
            used[feed] -= given_back
        elif free(room, feed, amount):
            used[feed] += amount
        else:
            assert used[feed] + amount > 1000 // 2 // 3
        assert room.used() == sum(used.values()) <= 1000
