"""Cleans up after a benchmark that died without a word: processes and PostgreSQL would outlive it.

It runs as a process of its own. What its standard input says must be ended; when that input closes, its owner is gone.
"""

import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from service.store.binaries import Binaries


class Guard:
    """The owner's end. A context manager; what was told is ended at the latest when it is left.

    Args:
        folder: everything of the benchmark lies here; it is removed.
        data: the folder of its PostgreSQL.
    """

    def __init__(self, folder: Path, data: Path) -> None:
        self._command = [sys.executable, "-m", "benchmarks.parts.guard", str(folder), str(data)]

    def __enter__(self) -> "Guard":
        # A session of its own: Ctrl-C and a terminal that closes end the owner, not the one who cleans up after it.
        self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, text=True, start_new_session=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def watch(self, group: int) -> None:
        """Have a process group ended."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{group}\n")
        self._process.stdin.flush()


def main(folder: Path, data: Path) -> None:
    """Wait for the owner's end, then end what is left."""
    groups = [int(line) for line in sys.stdin]
    for group in groups:
        with suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)
    if data.exists():
        subprocess.run(Binaries.embedded().stop(data, "immediate"), capture_output=True, check=False)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
