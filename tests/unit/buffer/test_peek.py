"""Looking into a spool beside its owner: all that lies there is seen, and nothing is touched."""

from pathlib import Path

from service.buffer.peek import peek
from service.buffer.spool import Spool
from service.model import Message
from tests.lanes import FEED, KIB, MIB, drain, messages


def seen(path: Path) -> list[tuple[str, int, Message]]:
    return [
        (lane, number, message)
        for lane, group in peek(path, FEED)
        for number, message in enumerate(group.messages, group.first)
    ]


def files(path: Path) -> dict[Path, bytes]:
    return {each: each.read_bytes() for each in path.rglob("*") if each.is_file()}


async def test_messages_are_seen_while_the_owner_writes_and_reads(tmp_path: Path) -> None:
    async with Spool(tmp_path, MIB, [FEED]) as spool:
        lane = await spool.lane(FEED)
        await lane.append(messages(10))
        assert seen(tmp_path) == [(lane.id, number, message) for number, message in enumerate(messages(10), 1)]
        await lane.append(messages(5, start=10))
        await lane.forget(12)
        before = files(tmp_path)
        assert [message for _, _, message in seen(tmp_path)] == messages(15)
        assert files(tmp_path) == before
        assert len(await drain(lane)) == 3


async def test_several_segments_are_seen_in_order_and_deleted_ones_are_gone(tmp_path: Path) -> None:
    async with Spool(tmp_path, MIB, [FEED]) as spool:
        lane = await spool.lane(FEED)
        for start in range(0, 100, 10):
            await lane.append(messages(10, 2 * KIB, start))
            if start == 50:
                await lane.forget(50)
    found = [number for _, number, _ in seen(tmp_path)]
    assert found == list(range(found[0], 101))
    assert 1 < found[0] <= 51


async def test_a_torn_end_and_a_damaged_middle_are_passed_by(tmp_path: Path) -> None:
    async with Spool(tmp_path, MIB, [FEED]) as spool:
        await (await spool.lane(FEED)).append(messages(10))
    (segment,) = (tmp_path / FEED).glob("*.seg")
    whole = segment.read_bytes()
    segment.write_bytes(whole[:-7])
    assert [number for _, number, _ in seen(tmp_path)] == list(range(1, 10))
    middle = len(whole) // 2
    segment.write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])
    assert len(seen(tmp_path)) == 9
    segment.write_bytes(b"no header")
    assert seen(tmp_path) == []


def test_where_there_is_no_spool_nothing_is_seen_or_made(tmp_path: Path) -> None:
    assert seen(tmp_path / "none") == []
    assert list(tmp_path.iterdir()) == []
