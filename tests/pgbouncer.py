"""A pgbouncer in transaction mode between the tests and a cluster; Debian's package of that name is needed."""

import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from tests.postgres import Cluster, free_port

PROGRAM = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
needs_pgbouncer = pytest.mark.skipif(PROGRAM is None, reason="needs Debian's package pgbouncer")

_SETTINGS = """\
[databases]
* = host=127.0.0.1 port={server}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = {users}
pool_mode = transaction
default_pool_size = {size}
logfile = {log}
"""


class Bouncer:
    """Gives many clients few sessions, a new one for each transaction; on the same port every time it is started."""

    def __init__(self, cluster: Cluster, folder: Path, *, size: int = 3) -> None:
        self.port = free_port()
        self._cluster = cluster
        self._file = folder / "pgbouncer.ini"
        users = folder / "users.txt"
        users.write_text('"postgres" ""\n')
        log = folder / "pgbouncer.log"
        self._file.write_text(_SETTINGS.format(server=cluster.port, port=self.port, users=users, log=log, size=size))
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, database: str) -> str:
        """Give the URL of one of the cluster's databases, by way of the bouncer."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Start it and wait until it listens."""
        command = self._cluster.as_its_user(str(PROGRAM), "--quiet", str(self._file))
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
        while self._process.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.01)
        assert self._process.stderr is not None
        raise RuntimeError(self._process.stderr.read().decode())

    def stop(self) -> None:
        """Stop it at once, in the middle of whatever it does."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.communicate()
            self._process = None
