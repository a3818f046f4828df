"""The spool across runs: what survives kill -9 and a restart, and who may open it."""

import asyncio
import os
import random
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.typing import EventDict

from service.buffer.spool import Spool
from service.errors import StartError
from service.model import Message
from tests.lanes import FEED, KIB, MIB, drain, messages
from tests.unit.buffer.write_for_ever import body

OpenSpool = Callable[..., Spool]


async def test_a_lane_is_the_same_after_a_restart(open_spool: OpenSpool) -> None:
    sent = messages(500, size=KIB)
    async with open_spool() as spool:
        lane = await spool.lane(FEED)
        identity = lane.id
        for start in range(0, 500, 50):
            await lane.append(sent[start : start + 50])
    async with open_spool() as spool:
        lane = await spool.lane(FEED)
        assert (lane.id, lane.last_sequence) == (identity, 500)
        assert await lane.append(messages(1)) == 501
        assert await drain(lane) == list(enumerate([*sent, *messages(1)], 1))
        assert spool.damaged == 0


GROUPS = st.lists(
    st.lists(
        st.builds(
            Message,
            st.binary(max_size=50) | st.integers(0, 40 * KIB).map(bytes),
            st.floats(0, 2e9),
            st.none() | st.dictionaries(st.text(max_size=5), st.integers(), max_size=2),
            st.none() | st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=2),
        ),
        min_size=1,
        max_size=5,
    ),
    max_size=8,
)


@settings(max_examples=40, deadline=None)
@given(GROUPS, st.data())
def test_any_messages_are_there_after_any_restarts(groups: list[list[Message]], data: st.DataObject) -> None:
    async def run(folder: Path) -> None:
        restarts = data.draw(st.sets(st.integers(0, len(groups))))
        sent: list[Message] = []
        position = None
        for index in range(len(groups) + 1):
            async with Spool(folder, 2 * MIB, [FEED], recent_bytes=0) as spool:
                lane = await spool.lane(FEED)
                assert lane.last_sequence == len(sent)
                assert lane.last_position == position
                if index == len(groups) or index in restarts:
                    assert await drain(lane) == list(enumerate(sent, 1))
                if index < len(groups):
                    await lane.append(groups[index])
                    sent += groups[index]
                    position = next((m.position for m in reversed(sent) if m.position is not None), None)

    with tempfile.TemporaryDirectory() as name:
        asyncio.run(run(Path(name)))


async def test_numbering_and_position_survive_when_all_is_forgotten(open_spool: OpenSpool) -> None:
    async with open_spool() as spool:
        lane = await spool.lane(FEED)
        identity = lane.id
        await lane.append([Message(b"page", 1.0, {"cursor": "c7"})])
        for _ in range(5):
            await lane.append(messages(10, size=10 * KIB))  # the position's own segment is long gone
            await lane.forget(lane.last_sequence)
    async with open_spool() as spool:
        lane = await spool.lane(FEED)
        assert (lane.id, lane.last_sequence, lane.last_position) == (identity, 51, {"cursor": "c7"})


async def test_forgotten_segments_leave_the_disk(open_spool: OpenSpool, path: Path) -> None:
    async with open_spool() as spool:
        lane = await spool.lane(FEED)
        for _ in range(50):
            await lane.append(messages(10, size=10 * KIB))
            await lane.forget(lane.last_sequence)
            assert len(list((path / FEED).glob("*.seg"))) <= 2


async def test_what_the_database_has_is_not_counted_after_a_restart(open_spool: OpenSpool) -> None:
    async with open_spool() as spool:
        lane = await spool.lane(FEED)
        for _ in range(10):
            await lane.append(messages(10, size=5 * KIB))
        held = lane.stat().bytes
    async with open_spool() as spool:
        lane = await spool.lane(FEED)
        assert lane.stat().bytes == spool.stat().bytes == held
        group = await lane.read(55, KIB)  # the loader reads on from what is committed
        assert group is not None
        await lane.forget(55)
        assert lane.stat().bytes == spool.stat().bytes == held * 45 // 100
        assert lane.stat().messages == 45


async def test_acknowledged_messages_survive_kill_9_at_any_moment(path: Path) -> None:
    chance = random.Random(7)
    acknowledged = 0
    for _ in range(12):
        last, forgotten = await write_until_killed(path, chance.randrange(1, 60))
        assert last >= acknowledged
        acknowledged = last
        async with Spool(path, 8 * MIB, [FEED]) as spool:
            lane = await spool.lane(FEED)
            assert lane.last_sequence >= acknowledged
            assert lane.last_position == {"sequence": lane.last_sequence}
            found = await drain(lane, forgotten, 256 * KIB)
            assert [sequence for sequence, _ in found] == list(range(forgotten + 1, lane.last_sequence + 1))
            assert all(message.body == body(sequence) for sequence, message in found)
            assert spool.damaged == 0
    assert acknowledged > 1000


async def write_until_killed(path: Path, lines: int) -> tuple[int, int]:
    """Let a process write, kill it without warning, and give what it last acknowledged and forgot."""
    script = Path(__file__).with_name("write_for_ever.py")
    process = await asyncio.create_subprocess_exec(sys.executable, script, path, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    async with asyncio.timeout(20):
        said = [await process.stdout.readline() for _ in range(lines)]
        process.send_signal(signal.SIGKILL)
        said += (await process.stdout.read()).splitlines(keepends=True)
        await process.wait()
    last, forgotten = map(int, next(line for line in reversed(said) if line.endswith(b"\n")).split())
    return last, forgotten


async def test_a_second_headrace_is_refused_and_told_who_has_the_spool(open_spool: OpenSpool, path: Path) -> None:
    async with open_spool() as spool:
        await spool.lane(FEED)
        with pytest.raises(StartError) as refused:
            await open_spool().__aenter__()
        assert str(refused.value) == (
            f"another Headrace uses this spool: {path} (pid {os.getpid()}); stop it, or set another buffer.path"
        )
    async with open_spool():
        pass


def put_file(path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    path.touch()


def forbid_writing(path: Path) -> bool:
    """Take the right to write away; say whether it is still there."""
    path.mkdir()
    path.chmod(0o500)
    return os.access(path, os.W_OK)


async def test_a_file_in_the_place_of_the_folder_is_one_clear_sentence(open_spool: OpenSpool, path: Path) -> None:
    put_file(path)
    with pytest.raises(StartError, match=f"the spool {path} cannot be used: File exists; see buffer.path"):
        await open_spool().__aenter__()


async def test_a_file_in_the_place_of_a_lane_is_one_clear_sentence(open_spool: OpenSpool, path: Path) -> None:
    put_file(path / FEED)
    async with open_spool() as spool:
        with pytest.raises(StartError, match=f"the spool {path / FEED} cannot be used: File exists"):
            await spool.lane(FEED)


async def test_a_folder_without_rights_is_one_clear_sentence(open_spool: OpenSpool, path: Path) -> None:
    if forbid_writing(path):
        pytest.skip("root may write anywhere")
    with pytest.raises(StartError, match="cannot be used: Permission denied"):
        await open_spool().__aenter__()


async def test_a_feed_that_is_no_longer_configured_is_named_and_left_alone(path: Path, logs: list[EventDict]) -> None:
    async with Spool(path, MIB, [FEED, "acme.old"]) as spool:
        await (await spool.lane("acme.old")).append(messages(10))
    async with Spool(path, MIB, [FEED]) as spool:
        await spool.lane(FEED)
    (warning,) = logs
    (segment,) = (path / "acme.old").glob("*.seg")
    assert warning["log_level"] == "warning"
    assert (warning["feed"], warning["bytes"]) == ("acme.old", segment.stat().st_size)
    async with Spool(path, MIB, [FEED, "acme.old"]) as spool:
        assert len(await drain(await spool.lane("acme.old"))) == 10
