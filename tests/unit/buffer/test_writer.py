"""Writing to a disk that fails: never torn, never lost, never a crash."""

import asyncio
import errno
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from structlog.typing import EventDict

from service.buffer.files import Files
from service.buffer.spool import Spool
from service.model import Message
from tests.lanes import FEED, KIB, MIB, drain, messages, running, until

OpenSpool = Callable[..., Spool]


class FailingFiles(Files):
    """The real files, until told to fail.

    Attributes:
        write_error: what each write fails with, after half of the data; 0 to succeed.
        sync_error: what the next flush fails with; 0 to succeed.
        folder_error: what each flush of a folder fails with; 0 to succeed.
        truncate_error: what each cutting of a file fails with; 0 to succeed.
        failures: how many operations failed.
        created: how many files were begun.
        synced: inode of the file of each flush that was tried.
    """

    def __init__(self) -> None:
        self.write_error = self.sync_error = self.folder_error = self.truncate_error = 0
        self.failures = self.created = 0
        self.synced: list[int] = []

    def _fail(self, error: int) -> None:
        if error:
            self.failures += 1
            raise OSError(error, os.strerror(error))

    def write(self, descriptor: int, data: bytes, offset: int) -> None:
        super().write(descriptor, data[: len(data) // 2] if self.write_error else data, offset)
        self._fail(self.write_error)

    def create(self, path: Path) -> int:
        self.created += 1
        return super().create(path)

    def sync(self, descriptor: int) -> None:
        self.synced.append(os.fstat(descriptor).st_ino)
        error, self.sync_error = self.sync_error, 0
        self._fail(error)
        super().sync(descriptor)

    def sync_folder(self, path: Path) -> None:
        self._fail(self.folder_error)
        super().sync_folder(path)

    def truncate(self, descriptor: int, size: int) -> None:
        self._fail(self.truncate_error)
        super().truncate(descriptor, size)


@pytest.fixture
def files() -> FailingFiles:
    return FailingFiles()


def segments(path: Path) -> list[str]:
    return sorted(file.name for file in (path / FEED).iterdir())


@pytest.mark.parametrize("kept", [0, 3])
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG])
async def test_a_disk_that_refuses_makes_the_writer_wait_and_loses_nothing(
    open_spool: OpenSpool, files: FailingFiles, logs: list[EventDict], kept: int, error: int
) -> None:
    sent = messages(kept + 5)
    async with open_spool(files) as spool:
        lane = await spool.lane(FEED)
        await lane.append(sent[:kept])
        files.write_error = error
        async with running(lane.append(sent[kept:])) as appending:
            await until(lambda: files.failures >= 2 and lane.stat().full)
            assert spool.stat().full
            assert lane.last_sequence == kept
            files.write_error = 0
            assert await appending == kept + 5
        assert not spool.stat().full
        assert await drain(lane) == list(enumerate(sent, 1))
    assert [entry["log_level"] for entry in logs] == ["error", "info"]
    async with open_spool() as spool:
        assert await drain(await spool.lane(FEED)) == list(enumerate(sent, 1))


async def test_what_is_already_stored_stays_readable_on_a_full_disk(open_spool: OpenSpool, files: FailingFiles) -> None:
    async with open_spool(files) as spool:
        lane = await spool.lane(FEED)
        await lane.append(messages(3))
        files.write_error = errno.ENOSPC
        async with running(lane.append(messages(1))):
            await until(lambda: files.failures > 0)
            group = await lane.read(0, KIB)
            assert group is not None
            assert group.last == 3


async def test_a_writer_cancelled_on_a_full_disk_has_kept_nothing(
    open_spool: OpenSpool, files: FailingFiles, path: Path
) -> None:
    async with open_spool(files) as spool:
        lane = await spool.lane(FEED)
        await lane.append(messages(3))
        held = lane.stat().bytes
        files.write_error = errno.ENOSPC
        async with running(lane.append(messages(50, start=10))) as appending:
            await until(lambda: files.failures > 0)
            appending.cancel()
        files.write_error = 0
        assert (lane.last_sequence, lane.stat().bytes, lane.stat().full) == (3, held, False)
        assert spool.stat().bytes == held
        await lane.append(messages(1, start=3))
    async with open_spool() as spool:
        assert await drain(await spool.lane(FEED)) == list(enumerate(messages(4), 1))
    assert segments(path) == [f"{1:020}.seg"]


async def test_a_new_file_counts_only_when_its_name_is_on_the_disk_too(
    open_spool: OpenSpool, files: FailingFiles, path: Path
) -> None:
    async with open_spool(files) as spool:
        lane = await spool.lane(FEED)
        files.folder_error = errno.EIO
        async with running(lane.append(messages(4))) as appending:
            await until(lambda: files.failures > 0)
            assert lane.last_sequence == 0
            files.folder_error = 0
            assert await appending == 4
    assert segments(path) == [f"{1:020}.seg"]


@pytest.mark.parametrize("truncate_error", [0, errno.EIO])
async def test_a_failed_flush_is_never_repeated_on_the_same_file(
    open_spool: OpenSpool, files: FailingFiles, path: Path, truncate_error: int
) -> None:
    sent = messages(12)
    async with open_spool(files) as spool:
        lane = await spool.lane(FEED)
        await lane.append(sent[:4])
        files.sync_error, files.truncate_error = errno.EIO, truncate_error
        assert await lane.append(sent[4:8]) == 8
        assert await lane.append(sent[8:]) == 12
        first, second, third, fourth = files.synced
        assert first == second  # this one failed
        assert third == fourth != first
        assert await drain(lane) == list(enumerate(sent, 1))
    assert segments(path) == [f"{1:020}.seg", f"{5:020}.seg"]
    async with open_spool() as spool:
        # Where the failed group could not be cut off, it lies in both files: it is read once.
        assert await drain(await spool.lane(FEED)) == list(enumerate(sent, 1))
        assert spool.damaged == 0


async def test_a_new_segment_that_cannot_be_flushed_is_written_anew(open_spool: OpenSpool, files: FailingFiles) -> None:
    async with open_spool(files) as spool:
        lane = await spool.lane(FEED)
        files.sync_error = errno.EIO
        assert await lane.append(messages(4)) == 4
        assert files.created == 2
        assert await drain(lane) == list(enumerate(messages(4), 1))


async def test_a_write_that_fails_and_cannot_be_cut_off_leaves_no_phantoms(
    open_spool: OpenSpool, files: FailingFiles
) -> None:
    """Half of a group stays behind; another group with the same numbers follows and must be the one that counts."""
    async with open_spool(files) as spool:
        lane = await spool.lane(FEED)
        await lane.append(messages(2))
        files.write_error, files.truncate_error = errno.ENOSPC, errno.EIO
        async with running(lane.append(messages(10, start=50))) as appending:
            await until(lambda: files.failures >= 2)
            appending.cancel()
        files.write_error = 0
        await lane.append(messages(1, start=2))
        await lane.append(messages(1, start=3))
    async with open_spool() as spool:
        assert await drain(await spool.lane(FEED)) == list(enumerate(messages(4), 1))
        assert spool.damaged == 0


async def test_a_cancelled_write_that_had_begun_is_kept_whole(open_spool: OpenSpool) -> None:
    async with open_spool() as spool:
        lane = await spool.lane(FEED)
        async with running(lane.append(messages(20_000))) as appending:
            await asyncio.sleep(0)  # it measures, takes room and hands the write to a thread without a pause
            appending.cancel()
        assert appending.cancelled()
        assert lane.last_sequence == 20_000
        assert lane.stat().bytes == spool.stat().bytes > 0
        assert await drain(lane, max_bytes=MIB) == list(enumerate(messages(20_000), 1))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 400 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=400k", "none", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("only root may mount a small disk")
    yield folder
    subprocess.run(["umount", folder], check=True)


async def test_a_really_full_disk_holds_the_writer_up_until_messages_are_loaded(small_disk: Path) -> None:
    sent = messages(1000, size=KIB)
    async with Spool(small_disk / "spool", MIB, [FEED], recent_bytes=0) as spool:
        lane = await spool.lane(FEED)

        async def write() -> None:
            for start in range(0, 1000, 10):
                await lane.append(sent[start : start + 10])

        async with running(write()) as writing:
            await until(lambda: lane.stat().full)
            assert 200 < lane.last_sequence < 400
            found: list[Message] = []
            while len(found) < 1000:
                group = await lane.read(len(found), 20 * KIB)
                assert group is not None
                found += group.messages
                await lane.forget(group.last)
            await writing
        assert found == sent
