"""One run of one contestant: from the first data that it asks for to the last row that PostgreSQL shows."""

import asyncio
import os
import signal
import statistics
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from benchmarks.parts.database import Database, onlooker
from benchmarks.parts.providers import Provider
from benchmarks.parts.work import Work

ROOT = Path(__file__).parents[2]
PATIENCE = 300.0
"""Seconds after which a contestant that is not done has failed."""
LOOK = 0.02


@dataclass(frozen=True)
class Place:
    """Where a contestant works: the database, the port of the provider, a folder of its own."""

    url: str
    port: int
    folder: Path


@dataclass(frozen=True)
class Contestant:
    """A program that does the work, and runs until it is ended: only then can its CPU be read.

    Attributes:
        command: gives its command line; it may write files to the folder first.
        table: where its rows are looked for.
        environ: beside the benchmark's own environment.
    """

    command: Callable[[Place], list[str]]
    table: str = "matches"
    environ: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Run:
    """What was measured.

    Attributes:
        seconds: from the first data asked for to the last row seen.
        messages: how many there were.
        cpu: seconds of CPU of the contestant, all its processes.
        postgres: seconds of CPU of PostgreSQL.
        startup: seconds from the start of the process to the first data that it asked for.
        peak: MiB of memory that its processes held at most, each by itself.
    """

    seconds: float
    messages: int
    cpu: float
    postgres: float
    startup: float = 0.0
    peak: float = 0.0

    @property
    def rate(self) -> float:
        """Rows per second."""
        return self.messages / self.seconds


class Failed(Exception):  # noqa: N818  as the errors of the service are named
    """A contestant ended, or was not done in time; the message has the end of its log."""


def median(runs: Sequence[Run], of: Callable[[Run], float]) -> float:
    """Give the median of a figure."""
    return statistics.median(map(of, runs))


@asynccontextmanager
async def running(contestant: Contestant, place: Place, base: Database) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a contestant in a process group of its own, and end all of it."""
    command = contestant.command(place)
    environ = {**os.environ, "PYTHONPATH": str(ROOT), **contestant.environ}
    with (place.folder / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *command, cwd=place.folder, env=environ, stdin=asyncio.subprocess.PIPE, stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip
    base.guard.watch(process.pid)
    try:
        yield process
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


def cpu(pid: int) -> float:
    """Give the CPU seconds of a process and those below it, the ended ones that were waited for too."""
    root = psutil.Process(pid)
    return sum(sum(process.cpu_times()[:4]) for process in [root, *root.children(recursive=True)])


def peak(pid: int) -> float:
    """Give the most memory that a process, and those below it, ever held, in MiB (proc(5), VmHWM)."""
    root = psutil.Process(pid)
    status = [Path(f"/proc/{one.pid}/status").read_text() for one in [root, *root.children(recursive=True)]]
    return sum(int(text.partition("VmHWM:")[2].split()[0]) for text in status if "VmHWM:" in text) / 1024


async def contest(contestant: Contestant, provider: Provider, work: Work, base: Database, folder: Path) -> Run:
    """Measure one run; the database is as ``base.fresh`` left it.

    Raises:
        Failed: it ended, or was not done in time.
    """
    place = Place(base.url, provider.port, folder)
    began = time.perf_counter()
    with provider:
        async with onlooker(base.url, work, contestant.table) as eye, running(contestant, place, base) as process:
            while not provider.started:
                _alive(process, began, folder)
                await asyncio.sleep(LOOK / 4)
            mine, its = cpu(process.pid), base.cpu()
            while not await eye.done():
                _alive(process, began, folder)
                await asyncio.sleep(LOOK)
            ended = time.perf_counter()
            started = provider.started or ended
            return Run(
                seconds=ended - started,
                messages=work.messages,
                cpu=cpu(process.pid) - mine,
                postgres=base.cpu() - its,
                startup=started - began,
                peak=peak(process.pid),
            )


def _alive(process: asyncio.subprocess.Process, began: float, folder: Path) -> None:
    late = time.perf_counter() - began > PATIENCE
    if late or process.returncode is not None:
        how = f"not done in {PATIENCE:.0f} s" if late else f"ended with {process.returncode}"
        raise Failed(f"{how}: {(folder / 'log').read_text(errors='replace')[-2000:]}")
