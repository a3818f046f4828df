"""What the spool asks of the operating system: files, threads to wait for them in, and news of a disk in trouble."""

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import structlog

log = structlog.get_logger()
Result = TypeVar("Result")
_THREADS = 8


class Files:
    """The file operations of the spool, as one object so that a test can hand in a disk that fails."""

    def create(self, path: Path) -> int:
        """Create an empty file, or empty what a failed attempt left; give its descriptor."""
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)

    def open(self, path: Path) -> int:
        """Open a file for reading and writing; give its descriptor."""
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)

    def read(self, descriptor: int, size: int, offset: int) -> bytes:
        """Read; fewer bytes only at the end of the file."""
        return os.pread(descriptor, size, offset)

    def write(self, descriptor: int, data: bytes, offset: int) -> None:
        """Write all of the data: one call, and another only after a short write."""
        written = os.pwrite(descriptor, data, offset)
        while written < len(data):
            written += os.pwrite(descriptor, memoryview(data)[written:], offset + written)

    def sync(self, descriptor: int) -> None:
        """Wait until data and size of the file are on the disk."""
        os.fdatasync(descriptor)

    def sync_folder(self, path: Path) -> None:
        """Wait until the names in a folder are on the disk; see fsync(2) on why a new file needs it."""
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def truncate(self, descriptor: int, size: int) -> None:
        """Cut the file."""
        os.ftruncate(descriptor, size)

    def unlink(self, path: Path) -> None:
        """Delete the file."""
        path.unlink(missing_ok=True)


class Disk:
    """The threads in which files are read, written and flushed, and whether the disk takes what is written.

    Args:
        files: the file operations.
    """

    def __init__(self, files: Files) -> None:
        self.files = files
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="spool")
        self._refused: set[str] = set()

    async def run(self, job: Callable[[], Result]) -> Result:
        """Do a job in a thread.

        A cancellation waits for its end, because a write cannot be called back, and its outcome is lost on the caller;
        whoever needs it takes it within the job.
        """
        interrupted, future = await self.finish(job)
        if interrupted is not None:
            raise interrupted
        return future.result()

    async def finish(self, job: Callable[[], Result]) -> tuple[asyncio.CancelledError | None, asyncio.Future[Result]]:
        """Do a job in a thread to its end, cancelled or not; give the cancellation and the job's outcome."""
        future = asyncio.get_running_loop().run_in_executor(self._threads, job)
        interrupted: asyncio.CancelledError | None = None
        while not future.done():
            try:
                await asyncio.wait([future])
            except asyncio.CancelledError as cancelled:
                interrupted = cancelled
        future.exception()  # looked at here, so that asyncio never reports it as forgotten
        return interrupted, future

    def refused(self, feed: str, error: OSError) -> None:
        """Note that a write failed; logged when it is the first."""
        if not self._refused:
            log.error("the spool's disk refuses writes: feeds wait, nothing is lost", feed=feed, error=str(error))
        self._refused.add(feed)

    def accepted(self, feed: str) -> None:
        """Note that a write succeeded; logged when every feed's does again."""
        if feed in self._refused:
            self._refused.discard(feed)
            if not self._refused:
                log.info("the spool's disk takes writes again", feed=feed)

    def close(self) -> None:
        """Let the threads end."""
        self._threads.shutdown()
