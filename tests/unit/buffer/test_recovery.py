"""Opening what a crash left: torn tails are cut and kept aside, and the lane goes on."""

import asyncio
import errno
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.typing import EventDict

from service.buffer.files import Files
from service.buffer.spool import Spool
from service.model import Message
from tests.lanes import FEED, KIB, MIB, drain, messages

OpenSpool = Callable[..., Spool]
SENT = messages(10)


class NoCutting(Files):
    """The real files on a disk that lets nothing be cut."""

    def truncate(self, descriptor: int, size: int) -> None:
        raise OSError(errno.ENOSPC, f"cannot cut {descriptor} to {size}")


@pytest.fixture
async def newest(open_spool: OpenSpool, path: Path) -> Path:
    """The file of a lane that holds SENT."""
    async with open_spool() as spool:
        await (await spool.lane(FEED)).append(SENT)
    (segment,) = files(path, "*.seg")
    return segment


def files(path: Path, pattern: str) -> list[Path]:
    return sorted((path / FEED).glob(pattern))


def cut(segment: Path, count: int) -> bytes:
    """Cut bytes off; give what is left of the last entry."""
    os.truncate(segment, segment.stat().st_size - count)
    return segment.read_bytes()[-128 + count :]


def add(segment: Path, data: bytes) -> None:
    with segment.open("ab") as file:
        file.write(data)


async def test_a_torn_tail_is_cut_and_kept_aside(
    open_spool: OpenSpool, path: Path, newest: Path, logs: list[EventDict]
) -> None:
    piece = cut(newest, 7)
    async with open_spool() as spool:
        lane = await spool.lane(FEED)
        assert lane.last_sequence == 9
        assert await lane.append(SENT[9:]) == 10
        assert await drain(lane) == list(enumerate(SENT, 1))
        assert spool.damaged == 0
    (aside,) = files(path, "*.seg.torn-*")
    assert aside.read_bytes() == piece
    assert [entry["log_level"] for entry in logs] == ["warning"]
    assert files(path, "*.seg") == [newest]


@pytest.mark.parametrize("garbage", [b"\xff" * 1000, bytes(4096), b"{}"])
async def test_garbage_behind_the_tail_is_cut_and_kept_aside(
    open_spool: OpenSpool, path: Path, newest: Path, garbage: bytes
) -> None:
    add(newest, garbage)
    async with open_spool() as spool:
        lane = await spool.lane(FEED)
        assert await lane.append(SENT) == 20
        assert await drain(lane) == list(enumerate([*SENT, *SENT], 1))
    (aside,) = files(path, "*.seg.torn-*")
    assert aside.read_bytes() == garbage


@settings(max_examples=50, deadline=None)
@given(groups=st.lists(st.integers(1, 5), min_size=1, max_size=4), data=st.data())
def test_a_file_cut_at_any_byte_keeps_the_messages_before_it(groups: list[int], data: st.DataObject) -> None:
    async def run(folder: Path) -> None:
        async with Spool(folder, MIB, [FEED]) as spool:
            lane = await spool.lane(FEED)
            for count in groups:
                await lane.append(messages(count, start=lane.last_sequence))
        segment = folder / FEED / f"{1:020}.seg"
        size = segment.stat().st_size
        left = data.draw(st.integers(0, size))
        os.truncate(segment, left)
        whole = max(0, sum(groups) - -(-(size - left) // 128))
        async with Spool(folder, MIB, [FEED], recent_bytes=0) as spool:
            lane = await spool.lane(FEED)
            assert lane.last_sequence == whole
            await lane.append(messages(3, start=whole))
            assert await drain(lane) == list(enumerate(messages(whole + 3), 1))
            assert spool.damaged == 0

    with tempfile.TemporaryDirectory() as name:
        asyncio.run(run(Path(name)))


@pytest.mark.parametrize("content", [b"", b"HRSPO", b"x" * 500])
async def test_a_segment_that_a_crash_left_without_a_message_is_put_aside(
    open_spool: OpenSpool, path: Path, newest: Path, content: bytes
) -> None:
    add(newest.with_name(f"{11:020}.seg"), content)
    async with open_spool() as spool:
        lane = await spool.lane(FEED)
        assert lane.last_sequence == 10
        assert await lane.append(SENT) == 20
        assert await drain(lane) == list(enumerate([*SENT, *SENT], 1))
    assert [file.read_bytes() for file in files(path, "*.torn-*")] == [content][: len(content)]


async def test_a_tail_that_cannot_be_cut_is_followed_by_a_new_segment(
    open_spool: OpenSpool, path: Path, newest: Path
) -> None:
    cut(newest, 7)
    async with open_spool(NoCutting()) as spool:
        lane = await spool.lane(FEED)
        assert await lane.append(SENT[9:]) == 10
    async with open_spool() as spool:
        assert await drain(await spool.lane(FEED)) == list(enumerate(SENT, 1))
        assert spool.damaged == 0
    assert [file.stem for file in files(path, "*.seg")] == [f"{1:020}", f"{10:020}"]


async def test_a_damaged_header_costs_no_message(open_spool: OpenSpool, newest: Path) -> None:
    overwrite(newest, 3, b"?")
    async with open_spool() as spool:
        lane = await spool.lane(FEED)
        assert lane.last_sequence == 10
        assert await drain(lane) == list(enumerate(SENT, 1))
        identity = lane.id
        await lane.append(SENT)
    async with open_spool() as spool:
        lane = await spool.lane(FEED)
        assert (lane.id, lane.last_sequence) == (identity, 20)
        assert len(await drain(lane, max_bytes=KIB)) == 20


def overwrite(segment: Path, offset: int, data: bytes) -> None:
    with segment.open("r+b") as file:
        file.seek(offset)
        file.write(data)


async def test_a_database_that_was_put_back_to_before_the_buffer_is_told(
    open_spool: OpenSpool, path: Path, logs: list[EventDict]
) -> None:
    async with open_spool() as spool:
        lane = await spool.lane(FEED)
        for _ in range(40):  # more than a segment holds
            sequence = await lane.append([Message(bytes(32 * KIB), 1.0)])
            await lane.forget(sequence)
    assert not [entry for entry in logs if entry["log_level"] == "error"]
    async with open_spool() as spool:
        lane = await spool.lane(FEED)
        await lane.forget(3)
    (told,) = [entry for entry in logs if entry["log_level"] == "error"]
    assert told["event"].startswith("the database ends before the buffer begins")
    assert (told["feed"], told["loaded"]) == (FEED, 3)
    assert told["buffer_begins"] > 4
