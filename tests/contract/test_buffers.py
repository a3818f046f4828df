"""What every buffer promises, whatever it is made of."""

import asyncio
import tempfile
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.buffer.memory import Memory
from service.buffer.select import open_buffer
from service.buffer.spool import Spool
from service.config.settings import BufferSettings
from service.model import Buffer, Lane, Message
from tests.lanes import FEED, KIB, MIB, drain, messages, running, until

Maker = Callable[[Path, int, Iterable[str]], Buffer]


def memory(_path: Path, max_bytes: int, feeds: Iterable[str]) -> Buffer:
    return Memory(max_bytes, feeds)


MAKERS: dict[str, Maker] = {"memory": memory, "spool": Spool, "spool from files": partial(Spool, recent_bytes=0)}


@pytest.fixture(params=MAKERS)
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., Buffer]:
    def build(max_bytes: int = MIB, feeds: Iterable[str] = (FEED,)) -> Buffer:
        return MAKERS[request.param](tmp_path / "spool", max_bytes, feeds)

    return build


async def test_messages_come_back_in_order_and_numbered_from_one(make: Callable[..., Buffer]) -> None:
    sent = messages(1000)
    async with make() as buffer:
        lane = await buffer.lane(FEED)
        assert (lane.last_sequence, lane.last_position) == (0, None)
        assert await lane.append(sent[:600]) == 600
        assert await lane.append(sent[600:]) == 1000
        assert await drain(lane) == list(enumerate(sent, 1))


async def test_appending_nothing_changes_nothing(make: Callable[..., Buffer]) -> None:
    async with make() as buffer:
        lane = await buffer.lane(FEED)
        assert await lane.append([]) == 0
        assert await lane.append(messages(2)) == 2
        assert await lane.append([]) == 2


async def test_position_and_meta_travel_with_a_message(make: Callable[..., Buffer]) -> None:
    sent = [
        Message(b"plain", 1.0),
        Message(b"", 2.0, {"cursor": "ä\u2028", "page": 2**70}),
        Message(b"\0\xff", 3.0, None, {"content_type": "text/csv", "params": {"id": None}}),
        Message(b"both", 4.25, {}, {}),
    ]
    async with make() as buffer:
        lane = await buffer.lane(FEED)
        await lane.append(sent)
        assert [message for _, message in await drain(lane)] == sent


async def test_the_last_position_is_that_of_the_newest_message_that_had_one(make: Callable[..., Buffer]) -> None:
    async with make() as buffer:
        lane = await buffer.lane(FEED)
        await lane.append([Message(b"a", 1.0, {"n": 1}), Message(b"b", 1.0, {"n": 2}), Message(b"c", 1.0)])
        assert lane.last_position == {"n": 2}
        await lane.append([Message(b"d", 1.0)])
        assert lane.last_position == {"n": 2}
        await lane.forget(4)
        assert lane.last_position == {"n": 2}


async def test_reading_goes_on_from_any_number(make: Callable[..., Buffer]) -> None:
    sent = messages(300)
    async with make() as buffer:
        lane = await buffer.lane(FEED)
        await lane.append(sent)
        for after in (0, 299, 17, 150, 16, 298):
            group = await lane.read(after, KIB)
            assert group is not None
            assert group.first == after + 1
            assert list(group.messages) == sent[after : group.last]


async def test_a_group_is_about_as_large_as_asked_for_and_never_empty(make: Callable[..., Buffer]) -> None:
    async with make() as buffer:
        lane = await buffer.lane(FEED)
        await lane.append([*messages(10, size=1000), *messages(2, size=50_000)])
        tiny = await lane.read(0, 1)
        assert tiny is not None
        assert len(tiny.messages) == 1
        some = await lane.read(0, 5200)
        assert some is not None
        assert len(some.messages) == 5
        large = await lane.read(10, 4 * KIB)
        assert large is not None
        assert large.size == 50_000


async def test_a_reader_waits_for_the_next_message(make: Callable[..., Buffer]) -> None:
    async with make() as buffer, asyncio.timeout(10):
        lane = await buffer.lane(FEED)
        await lane.append(messages(1))
        async with running(lane.read(1, KIB)) as reading:
            await asyncio.sleep(0)
            assert not reading.done()
            await lane.append(messages(1, start=1))
            group = await reading
        assert group is not None
        assert group.first == 2


async def test_a_closed_lane_hands_out_the_rest_and_then_ends(make: Callable[..., Buffer]) -> None:
    async with make() as buffer, asyncio.timeout(10):
        lane = await buffer.lane(FEED)
        await lane.append(messages(3))
        lane.close()
        group = await lane.read(0, KIB)
        assert group is not None
        assert group.last == 3
        assert await lane.read(3, KIB) is None


async def test_closing_ends_a_waiting_reader(make: Callable[..., Buffer]) -> None:
    async with make() as buffer, asyncio.timeout(10):
        lane = await buffer.lane(FEED)
        async with running(lane.read(0, KIB)) as reading:
            await asyncio.sleep(0)
            lane.close()
            assert await reading is None


async def test_a_lane_that_is_opened_again_goes_on_where_it_was(make: Callable[..., Buffer]) -> None:
    async with make() as buffer, asyncio.timeout(10):
        lane = await buffer.lane(FEED)
        await lane.append(messages(3))
        lane.close()
        again = await buffer.lane(FEED)
        assert again.id == lane.id
        await again.append(messages(1, start=3))
        async with running(again.read(4, KIB)) as reading:
            await asyncio.sleep(0)
            assert not reading.done()
        assert await drain(again) == list(enumerate(messages(4), 1))


async def test_forgotten_messages_are_not_read_again(make: Callable[..., Buffer]) -> None:
    async with make() as buffer:
        lane = await buffer.lane(FEED)
        await lane.append(messages(10))
        await lane.forget(4)
        await lane.forget(2)
        group = await lane.read(0, KIB)
        assert group is not None
        assert group.first == 5
        assert lane.stat().messages == 6


async def test_nothing_is_held_once_all_is_forgotten(make: Callable[..., Buffer]) -> None:
    async with make(max_bytes=MIB) as buffer:
        lane = await buffer.lane(FEED)
        for _ in range(40):
            await lane.append(messages(100, size=1000))
            await drain(lane, lane.last_sequence - 100)
            await lane.forget(lane.last_sequence)
            assert (lane.stat().bytes, lane.stat().messages) == (0, 0)
            assert (buffer.stat().bytes, buffer.stat().messages) == (0, 0)
        assert lane.last_sequence == 4000


async def test_room_is_given_back_group_by_group(make: Callable[..., Buffer]) -> None:
    async with make() as buffer:
        lane = await buffer.lane(FEED)
        await lane.append(messages(30))
        one = lane.stat().bytes // 30
        after = 0
        while after < 30:
            group = await lane.read(after, KIB)
            assert group is not None
            assert len(group.messages) < 12
            after = group.last
            await lane.forget(after)
            assert lane.stat().bytes == buffer.stat().bytes == (30 - after) * one


async def test_a_reader_that_falls_behind_misses_nothing(make: Callable[..., Buffer]) -> None:
    sent = messages(700, size=KIB)
    async with make() as buffer:
        lane = await buffer.lane(FEED)
        await lane.append(sent[:10])
        group = await lane.read(0, MIB)
        assert group is not None
        for start in range(10, 700, 30):
            await lane.append(sent[start : start + 30])
        assert await drain(lane, group.last, 60 * KIB) == list(enumerate(sent, 1))[group.last :]


async def test_a_full_buffer_makes_the_writer_wait_until_room_is_given_back(make: Callable[..., Buffer]) -> None:
    async with make(max_bytes=MIB) as buffer, asyncio.timeout(10):
        lane = await buffer.lane(FEED)
        await lane.append(messages(1, size=900 * KIB))
        await lane.append(messages(1, size=50 * KIB))
        assert not lane.stat().full
        async with running(lane.append(messages(1, size=200 * KIB))) as appending:
            await until(lambda: lane.stat().full)
            assert buffer.stat().full
            assert buffer.stat().bytes <= buffer.stat().max_bytes == MIB
            assert lane.last_sequence == 2
            group = await lane.read(0, KIB)
            assert group is not None
            await lane.forget(group.last)
            assert await appending == 3
        assert not lane.stat().full
        assert not buffer.stat().full


async def test_a_writer_cancelled_while_it_waits_for_room_has_kept_nothing(make: Callable[..., Buffer]) -> None:
    async with make(max_bytes=MIB) as buffer:
        lane = await buffer.lane(FEED)
        await lane.append(messages(1, size=900 * KIB))
        held = lane.stat().bytes
        async with running(lane.append(messages(5, size=100 * KIB))) as appending:
            await until(lambda: lane.stat().full)
            appending.cancel()
        assert (lane.last_sequence, lane.stat().bytes, lane.stat().full) == (1, held, False)
        await lane.forget(1)
        assert await lane.append(messages(1)) == 2
        assert await drain(lane, 1) == [(2, messages(1)[0])]


@pytest.mark.parametrize("steps", range(6))
async def test_a_writer_cancelled_at_any_step_has_kept_all_or_nothing(make: Callable[..., Buffer], steps: int) -> None:
    async with make() as buffer:
        lane = await buffer.lane(FEED)
        await lane.append(messages(2))
        async with running(lane.append(messages(3, start=2))) as appending:
            for _ in range(steps):
                await asyncio.sleep(0)
            appending.cancel()
        kept = lane.last_sequence
        assert kept in {2, 5}
        assert await lane.append(messages(1, start=kept)) == kept + 1
        assert await drain(lane) == list(enumerate(messages(kept + 1), 1))


async def test_a_parked_feed_does_not_stop_the_others(make: Callable[..., Buffer]) -> None:
    feeds = ["acme.parked", "acme.alive", "acme.third"]
    async with make(max_bytes=MIB, feeds=feeds) as buffer, asyncio.timeout(20):
        parked, alive = await buffer.lane("acme.parked"), await buffer.lane("acme.alive")

        async def fill() -> None:
            while True:
                await parked.append(messages(10, size=KIB))

        async with running(fill()):
            await until(lambda: parked.stat().full)
            for _ in range(20):
                sent = messages(50, size=KIB)
                await alive.append(sent)
                first = alive.last_sequence - 49
                assert await drain(alive, first - 1) == list(enumerate(sent, first))
                await alive.forget(alive.last_sequence)
                assert buffer.stat().bytes <= MIB
            assert parked.stat().full


async def test_an_empty_lane_takes_a_group_that_is_larger_than_the_buffer(make: Callable[..., Buffer]) -> None:
    async with make(max_bytes=MIB) as buffer, asyncio.timeout(10):
        lane = await buffer.lane(FEED)
        huge = messages(3, size=MIB)
        assert await lane.append(huge) == 3
        async with running(lane.append(messages(1))) as appending:
            await until(lambda: lane.stat().full)
            assert await drain(lane) == list(enumerate(huge, 1))
            await lane.forget(3)
            assert await appending == 4


async def test_lanes_have_identities_of_their_own(make: Callable[..., Buffer]) -> None:
    async with make(feeds=["a.a", "a.b"]) as buffer:
        one, other = await buffer.lane("a.a"), await buffer.lane("a.b")
        assert one.id != other.id
        assert len(bytes.fromhex(one.id)) == 16
        await one.append(messages(1))
        assert other.last_sequence == 0


async def test_a_number_is_never_used_twice_even_when_the_database_knows_more(make: Callable[..., Buffer]) -> None:
    async with make() as buffer, asyncio.timeout(10):
        lane = await buffer.lane(FEED)
        await lane.append(messages(3))
        async with running(lane.read(10, KIB)) as reading:
            await until(lambda: lane.last_sequence == 10)
            assert await lane.append(messages(2, start=10)) == 12
            group = await reading
        assert group is not None
        assert (group.first, group.last) == (11, 12)
        assert await drain(lane, 11) == [(12, messages(1, start=11)[0])]


Step = tuple[str, int]
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(1, 400)),
        st.tuples(st.just("read"), st.integers(1, 40 * KIB)),
        st.tuples(st.just("forget"), st.integers(0, 100)),
        st.tuples(st.just("rewind"), st.integers(0, 100)),
        st.tuples(st.just("yield"), st.integers(1, 5)),
    ),
    max_size=40,
)


@pytest.mark.parametrize("maker", MAKERS)
@settings(max_examples=60, deadline=None)
@given(writes=st.lists(st.tuples(st.integers(1, 60), st.integers(0, 2000)), max_size=25), steps=STEPS)
def test_one_writer_and_one_reader_in_any_interleaving_lose_and_reorder_nothing(
    maker: str, writes: list[tuple[int, int]], steps: list[Step]
) -> None:
    """The reader reads, forgets and goes back at will while the writer appends; both are held to a plain list."""
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(interleave(MAKERS[maker](Path(folder), MIB // 4, [FEED]), writes, steps))


async def interleave(buffer: Buffer, writes: list[tuple[int, int]], steps: list[Step]) -> None:
    groups = [messages(count, size, start=index * 100) for index, (count, size) in enumerate(writes)]
    sent = [message for group in groups for message in group]
    async with buffer, asyncio.timeout(30):
        lane = await buffer.lane(FEED)

        async def write() -> None:
            for group in groups:
                await lane.append(group)
            lane.close()

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(write())
            await check(lane, sent, steps, max((len(m.body) + 200 for m in sent), default=0) * 60)


async def check(lane: Lane, sent: list[Message], steps: list[Step], largest: int) -> None:
    after = forgotten = 0
    for step, amount in [*steps, *[("read", 8 * KIB), ("forget", 100)] * (len(sent) + 1)]:
        match step:
            case "read":
                if after == lane.last_sequence:  # it may have to wait, and a full lane gets nothing more to read
                    forgotten = after
                    await lane.forget(after)
                group = await lane.read(after, amount)
                if group is None:
                    assert after == len(sent)
                    break
                assert group.first == after + 1
                assert list(group.messages) == sent[after : group.last]
                after = group.last
            case "forget":
                forgotten = max(forgotten, after * amount // 100)
                await lane.forget(forgotten)
            case "rewind":
                after = forgotten + (after - forgotten) * amount // 100
            case _:
                await asyncio.sleep(0)
        stat = lane.stat()
        assert 0 <= stat.bytes <= max(MIB // 4, largest)
        assert stat.messages == lane.last_sequence - forgotten
    await lane.forget(len(sent))
    assert lane.stat().bytes == 0


@pytest.mark.parametrize(("kind", "durable"), [("memory", False), ("spool", True)])
async def test_the_configuration_chooses_the_buffer(tmp_path: Path, kind: str, durable: bool) -> None:
    chosen = BufferSettings.model_validate({"kind": kind, "path": str(tmp_path / "spool")})
    async with open_buffer(chosen, [FEED]) as buffer:
        assert buffer.durable is durable
        assert buffer.stat().max_bytes == chosen.max_bytes
        assert (await buffer.lane(FEED)).last_sequence == 0
