"""The spool: messages in local files that survive kill -9 and power loss."""

import errno
import fcntl
import os
from collections.abc import Iterable
from pathlib import Path

import structlog

from service.buffer.files import Disk, Files
from service.buffer.recent import Recent
from service.buffer.recovery import Recovered, recover
from service.buffer.room import Room
from service.buffer.segment import SEGMENT_NAMES
from service.buffer.spool_lane import SpoolLane
from service.buffer.writer import Writer
from service.errors import StartError
from service.model import LaneStat

log = structlog.get_logger()
_LARGEST_SEGMENT = 64 << 20
_SMALLEST_SEGMENT = 64 << 10
_RECENT_BYTES = 256 << 10


class Spool:
    """Lanes in the folders ``<path>/<provider.feed>``; one process at a time.

    Args:
        path: folder of the spool; it is made when missing.
        max_bytes: the most that all lanes hold; see Room for how they share it. On the disk up to two segments per
            lane come on top.
        feeds: the feeds that will ask for a lane.
        files: the file operations; the operating system's unless a test says otherwise.
        recent_bytes: bytes of the newest messages that each lane keeps in memory besides, to be read without decoding.
    """

    durable = True

    def __init__(
        self,
        path: Path,
        max_bytes: int,
        feeds: Iterable[str],
        *,
        files: Files | None = None,
        recent_bytes: int = _RECENT_BYTES,
    ) -> None:
        self._path = path
        self._feeds = list(feeds)
        self._room = Room(max_bytes, self._feeds)
        share = max_bytes // 16 // max(1, len(self._feeds))
        self._segment_bytes = min(_LARGEST_SEGMENT, max(_SMALLEST_SEGMENT, share))
        self._disk = Disk(files or Files())
        self._recent_bytes = recent_bytes
        self._lanes: dict[str, SpoolLane] = {}
        self._lock = -1

    async def __aenter__(self) -> "Spool":
        """Take the folder.

        Raises:
            StartError: it cannot be used, or another process uses it.
        """
        try:
            await self._disk.run(self._take)
        except BaseException:
            self._disk.close()
            raise
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Close the files and let the folder go. What is not forgotten stays for the next run."""
        for lane in self._lanes.values():
            lane.release()
        self._lanes.clear()
        self._disk.close()
        os.close(self._lock)

    async def lane(self, feed: str) -> SpoolLane:
        """Open the lane of a feed, with what an earlier run left in it.

        Raises:
            StartError: its files cannot be used.
        """
        if feed not in self._lanes:
            folder = self._path / feed
            found = await self._disk.run(lambda: self._recover(folder))
            lane = found.lane or os.urandom(16)
            newest = found.segments[-1] if found.whole else None
            writer = Writer(self._disk.files, folder, lane, self._segment_bytes, newest)
            self._lanes[feed] = SpoolLane(feed, lane, found, self._room, self._disk, writer, Recent(self._recent_bytes))
        self._lanes[feed].reopen()
        return self._lanes[feed]

    def stat(self) -> LaneStat:
        """Say how full the spool is; ``full`` means that the messages of a feed wait for room."""
        return self._room.stat(sum(lane.stat().messages for lane in self._lanes.values()))

    @property
    def damaged(self) -> int:
        """Number of messages that could not be read back since the start."""
        return sum(lane.damaged for lane in self._lanes.values())

    def _take(self) -> None:
        lock = self._path / "lock"
        try:
            self._path.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise _unusable(self._path, error) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            owner = os.pread(descriptor, 20, 0).decode(errors="replace").strip()
            os.close(descriptor)
            if error.errno not in {errno.EWOULDBLOCK, errno.EACCES}:
                raise _unusable(self._path, error) from error
            raise StartError(
                f"another Headrace uses this spool: {self._path} (pid {owner or 'unknown'}); "
                "stop it, or set another buffer.path"
            ) from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        self._lock = descriptor
        self._name_strangers()

    def _name_strangers(self) -> None:
        """Log the lanes of feeds that are not configured; they are left alone."""
        for folder in self._path.iterdir():
            size = sum(path.stat().st_size for path in folder.glob(SEGMENT_NAMES)) if folder.is_dir() else 0
            if size and folder.name not in self._feeds:
                log.warning(
                    "the spool holds a feed that is not configured; it is left as it is", feed=folder.name, bytes=size
                )

    def _recover(self, folder: Path) -> Recovered:
        try:
            folder.mkdir(exist_ok=True)
            self._disk.files.sync_folder(self._path)
            return recover(self._disk.files, folder)
        except OSError as error:
            raise _unusable(folder, error) from error


def _unusable(path: Path, error: OSError) -> StartError:
    reason = error.strerror or str(error)
    return StartError(f"the spool {path} cannot be used: {reason}; see buffer.path in the configuration")
