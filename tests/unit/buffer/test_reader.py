"""Rot: what is damaged in the middle is named and skipped, and never handed out."""

import asyncio
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.typing import EventDict

from service.buffer.spool import Spool
from tests.lanes import FEED, KIB, MIB, drain, messages

OpenSpool = Callable[..., Spool]
SENT = messages(300, size=KIB)
ENTRY = KIB + 28


@pytest.fixture
async def segments(open_spool: OpenSpool, path: Path) -> list[Path]:
    """The files of a lane that holds SENT: four of 70 messages, and the newest with 20."""
    async with open_spool() as spool:
        lane = await spool.lane(FEED)
        for start in range(0, 300, 10):
            await lane.append(SENT[start : start + 10])
    found = sorted((path / FEED).glob("*.seg"))
    assert [int(file.stem) for file in found] == [1, 71, 141, 211, 281]
    return found


def flip(segment: Path, offset: int, bit: int = 0) -> None:
    data = bytearray(segment.read_bytes())
    data[offset] ^= 1 << bit
    segment.write_bytes(data)


def from_end(segment: Path, entries: int) -> int:
    """Give the offset of an entry, counted from the end of the file."""
    return segment.stat().st_size - entries * ENTRY


async def test_a_flipped_bit_in_old_data_is_named_and_skipped(
    open_spool: OpenSpool, segments: list[Path], logs: list[EventDict]
) -> None:
    offset = from_end(segments[1], 30)  # message 111
    flip(segments[1], offset + 200)
    rotten = read(segments[1])
    async with open_spool() as spool:
        lane = await spool.lane(FEED)
        assert await drain(lane) == [pair for pair in enumerate(SENT, 1) if pair[0] != 111]
        assert spool.damaged == 1
        await lane.forget(300)
    (alarm,) = logs
    assert alarm["log_level"] == "error"
    assert alarm["segment"] == str(segments[1])
    assert (alarm["offset"], alarm["first_sequence"], alarm["last_sequence"]) == (offset, 111, 111)
    assert read(Path(alarm["kept"])) == rotten


def read(path: Path) -> bytes:
    return path.read_bytes()


async def test_a_flipped_bit_in_the_newest_segment_is_rot_and_not_a_torn_tail(
    open_spool: OpenSpool, segments: list[Path]
) -> None:
    flip(segments[-1], from_end(segments[-1], 15) + 40)  # message 286
    async with open_spool() as spool:
        lane = await spool.lane(FEED)
        assert lane.last_sequence == 300
        await lane.append(SENT[:1])
        found = await drain(lane)
        assert found == [pair for pair in enumerate([*SENT, SENT[0]], 1) if pair[0] != 286]
        assert spool.damaged == 1


async def test_rot_in_what_is_already_loaded_is_no_alarm(
    open_spool: OpenSpool, segments: list[Path], logs: list[EventDict]
) -> None:
    flip(segments[0], from_end(segments[0], 60))
    async with open_spool() as spool:
        assert await drain(await spool.lane(FEED), after=15) == list(enumerate(SENT, 1))[15:]
        assert spool.damaged == 0
    assert logs == []


async def test_the_rotten_end_of_an_old_segment_is_rot(open_spool: OpenSpool, segments: list[Path]) -> None:
    shorten(segments[2], 2 * ENTRY + 5)  # messages 208 to 210
    async with open_spool() as spool:
        found = await drain(await spool.lane(FEED))
        assert [number for number, _ in found] == [*range(1, 208), *range(211, 301)]
        assert spool.damaged == 3


def shorten(segment: Path, count: int) -> None:
    segment.write_bytes(segment.read_bytes()[:-count])


async def test_a_missing_segment_is_a_hole_that_is_named(open_spool: OpenSpool, segments: list[Path]) -> None:
    remove(segments[2])
    async with open_spool() as spool:
        found = await drain(await spool.lane(FEED))
        assert [number for number, _ in found] == [*range(1, 141), *range(211, 301)]
        assert spool.damaged == 70


def remove(segment: Path) -> None:
    segment.unlink()


@settings(max_examples=40, deadline=None)
@given(
    flips=st.lists(st.tuples(st.integers(0, 3), st.floats(0, 1, exclude_max=True), st.integers(0, 7)), max_size=4),
    size=st.integers(1, 300 * KIB),
)
def test_flipped_bits_anywhere_cost_only_the_messages_they_hit(flips: list[tuple[int, float, int]], size: int) -> None:
    """Nothing wrong is ever handed out, and every message is either there or counted as damaged."""

    async def run(folder: Path) -> None:
        async with Spool(folder, MIB, [FEED]) as spool:
            lane = await spool.lane(FEED)
            for start in range(0, 100, 10):
                await lane.append(messages(10, size=2 * KIB, start=start))
        damage(folder, flips)
        async with Spool(folder, MIB, [FEED], recent_bytes=0) as spool:
            lane = await spool.lane(FEED)
            found = await drain(lane, max_bytes=size)
            assert lane.last_sequence == 100  # the newest segment is sound
            assert spool.damaged == 100 - len(found) <= len(flips)
            expected = dict(enumerate(messages(100, size=2 * KIB), 1))
            assert all(message == expected[number] for number, message in found)

    with tempfile.TemporaryDirectory() as name:
        asyncio.run(run(Path(name)))


def damage(folder: Path, flips: list[tuple[int, float, int]]) -> None:
    old = sorted((folder / FEED).glob("*.seg"))[:-1]
    for index, place, bit in flips:
        segment = old[index % len(old)]
        flip(segment, int(place * segment.stat().st_size), bit)
