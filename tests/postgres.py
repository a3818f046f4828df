"""Real PostgreSQL clusters for tests and benchmarks: made once, stopped, killed and started at will."""

import os
import shutil
import socket
import subprocess
from pathlib import Path

import asyncpg
import pytest

from service.store.binaries import Binaries

CHEAP = {
    "fsync": "off",
    "shared_buffers": "16MB",
    "max_connections": "100",
    "max_wal_size": "256MB",
    "autovacuum": "off",
}
"""Settings for tests, which never outlive the machine."""


POSTGRES_15 = Path("/usr/lib/postgresql/15/bin")
"""Debian's PostgreSQL 15; with TLS, which the wheel's PostgreSQL 18 is built without."""

CHOSEN = os.environ.get("HEADRACE_TEST_POSTGRES")
"""The folder with ``initdb``, ``pg_ctl`` and ``postgres`` of the version to test against; unset: the wheel's."""

needs_postgres_15 = pytest.mark.skipif(not POSTGRES_15.is_dir(), reason="needs Debian's package postgresql-15")


class Cluster:
    """A PostgreSQL on 127.0.0.1, on the same port every time it is started.

    Attributes:
        data: its folder.
        port: its port.
    """

    def __init__(self, data: Path, settings: dict[str, str] | None = None, programs: Path | None = None) -> None:
        self.data = data
        self.port = free_port()
        self._programs = Path(CHOSEN) if programs is None and CHOSEN else programs
        self._binaries = Binaries.embedded() if self._programs is None else Binaries(self._programs)
        self._settings = {
            **(CHEAP if settings is None else settings),
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "port": str(self.port),
        }

    def make(self) -> None:
        """Set it up in an empty folder, or one that does not exist."""
        self.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._binaries.give(self.data)
        self._run(self._binaries.initdb(self.data, "--no-sync", "--wal-segsize=1"))

    def clone(self, data: Path) -> "Cluster":
        """Copy it, while it is stopped, to another folder and port."""
        shutil.copytree(self.data, data)
        return Cluster(data, self._settings, self._programs)

    def start(self) -> None:
        """Start it and wait until it answers."""
        self._run(self._binaries.start(self.data, self._settings))

    def stop(self) -> None:
        """Stop it: sessions are ended, nothing is lost."""
        self._run(self._binaries.stop(self.data))

    def stop_immediate(self) -> None:
        """Stop it as a crash would: the next start recovers from the log."""
        self._run(self._binaries.stop(self.data, "immediate"))

    def restart(self) -> None:
        """Stop it and start it again."""
        self.stop()
        self.start()

    def remove(self) -> None:
        """Stop it if it runs, and remove its folder."""
        subprocess.run(self._binaries.stop(self.data, "immediate"), capture_output=True, check=False)
        shutil.rmtree(self.data)

    def as_its_user(self, *command: str) -> list[str]:
        """Give a command that runs as the user that it runs as: programs of its kind refuse to be root."""
        return [*self._binaries._prefix, *command]

    def url(self, database: str = "postgres") -> str:
        """Give the URL of one of its databases."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    async def execute(self, *statements: str, database: str = "postgres") -> None:
        """Run statements as the superuser, each in a transaction of its own."""
        connection = await asyncpg.connect(self.url(database))
        try:
            for statement in statements:
                await connection.execute(statement)
        finally:
            await connection.close()

    @staticmethod
    def _run(command: list[str]) -> None:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr.decode()}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
