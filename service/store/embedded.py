"""The embedded PostgreSQL: a real server of our own, started before the daemon's work and stopped after it."""

import asyncio
import fcntl
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from urllib.parse import quote

from service.errors import StartError
from service.store.binaries import Binaries

STARTUP_SECONDS = 60.0
"""The longest to wait for a server that another process is starting."""

_SOCKET_PATH_LIMIT = 107
"""The longest path of a Unix socket on Linux, see unix(7)."""


@asynccontextmanager
async def embedded_postgres(data: Path) -> AsyncIterator[str]:
    """Run a PostgreSQL with its data under ``data``; yield its URL, which ``psql`` takes too.

    The process that holds ``data``.lock owns the server: it starts it, or adopts the one that a killed predecessor
    left running, and stops it at the end. Another process meanwhile only connects.

    Raises:
        StartError: the server is not installed, may not run here, or does not start.
    """
    data = _place(data)
    binaries = Binaries.embedded()
    with _owner(data.with_name(f"{data.name}.lock")) as owned:
        if not owned:
            await _wait_until_ready(data)
            yield _url(data)
            return
        await _make(binaries, data)
        try:
            if await _run(binaries.status(data)) is not None:
                await _start(binaries, data)
            yield _url(data)
        finally:
            await _run(binaries.stop(data))


def _place(data: Path) -> Path:
    """Make the folder above the data."""
    data.parent.mkdir(parents=True, exist_ok=True)
    return data.absolute()


async def _make(binaries: Binaries, data: Path) -> None:
    """Make the cluster unless it exists; one that is half made, by a process that was killed, is made anew."""
    if (data / "PG_VERSION").exists():
        return
    draft = data.with_name(f"{data.name}.new")
    if draft.exists():
        shutil.rmtree(draft)
    draft.mkdir(mode=0o700)
    binaries.give(draft)
    if (complaint := await _run(binaries.initdb(draft))) is not None:
        raise StartError(f"the embedded PostgreSQL cannot be set up in {data}: {complaint}")
    draft.rename(data)


async def _start(binaries: Binaries, data: Path) -> None:
    _forget_stranger(data / "postmaster.pid")
    log = data / "server.log"
    log.unlink(missing_ok=True)
    settings = {"listen_addresses": "", "unix_socket_directories": str(_socket_folder(binaries, data)), "port": "5432"}
    if (complaint := await _run(binaries.start(data, settings))) is not None:
        lines = log.read_text(errors="replace").splitlines() if log.exists() else []
        reason = next((line for line in lines if "FATAL" in line), complaint)
        raise StartError(f"the embedded PostgreSQL does not start: {reason}; its log is {log}")


def _socket_folder(binaries: Binaries, data: Path) -> Path:
    """Give the folder of the Unix socket: the data's, which is private, unless that path is too long."""
    if len(os.fsencode(data / ".s.PGSQL.5432")) <= _SOCKET_PATH_LIMIT:
        return data
    folder = Path(tempfile.gettempdir()) / f"headrace-{data.stat().st_ino}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.geteuid():
        raise StartError(f"{folder} belongs to somebody else; remove it, or choose a shorter path than {data}")
    binaries.give(folder)
    return folder


def _forget_stranger(pidfile: Path) -> None:
    """Remove a pid file whose number now belongs to some other program, as after the restart of a container.

    Postgres looks only at whether the process lives, and would refuse to start.
    """
    try:
        pid = pidfile.read_text().split("\n", 1)[0]
        if Path(f"/proc/{int(pid)}/comm").read_text().strip() != "postgres":
            pidfile.unlink()
    except (OSError, ValueError):
        return  # no pid file, no such process (Postgres sees to that), or no /proc on this system


def _url(data: Path) -> str:
    """Give the URL of a running cluster; the fifth line of its pid file is the folder of its socket."""
    folder = (data / "postmaster.pid").read_text().splitlines()[4]
    return f"postgresql://postgres@/postgres?host={quote(folder)}"


async def _wait_until_ready(data: Path) -> None:
    """Wait for the server of another process; the eighth line of its pid file turns to ``ready``."""
    try:
        async with asyncio.timeout(STARTUP_SECONDS):
            while not _ready(data / "postmaster.pid"):  # noqa: ASYNC110  another process sets no event of ours
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise StartError(
            f"another Headrace holds {data}.lock, but its PostgreSQL is not ready after {STARTUP_SECONDS:.0f} s"
        ) from None


def _ready(pidfile: Path) -> bool:
    try:
        lines = pidfile.read_text().splitlines()
    except OSError:
        return False
    return len(lines) > 7 and lines[7].strip() == "ready"


async def _run(command: list[str]) -> str | None:
    """Run a command; return None when it succeeds, else its complaint.

    It has a session of its own, so that Ctrl-C in the terminal reaches the daemon and not the database.
    """
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    _, complaint = await process.communicate()
    if process.returncode == 0:
        return None
    return complaint.decode(errors="replace").strip().rpartition("\n")[2] or f"exit code {process.returncode}"


@contextmanager
def _owner(path: Path) -> Iterator[bool]:
    """Try to own the lock file; the system gives it back when the process ends, however it ends."""
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
