"""What the tests of commands share: a small configuration, and the whole command line run in a folder."""

import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from service.__main__ import main

CONFIG = """\
database: {url: "${DATABASE_URL:-embedded}"}
http: {port: "${PORT:-8080}", token: "${TOKEN:-}"}
tables:
  goals:
    key: id
    version: at
    columns: {id: text, at: timestamp, n: {type: integer, max: 9}, price: {type: decimal, null: true}}
providers:
  acme:
    url: "${ACME_URL:-http://127.0.0.1:9}"
    feeds:
      polled: {kind: rest, records: goals, into: goals, map: {id: id, at: when.at, n: n, price: price}}
      heard: {kind: websocket, url: "ws://127.0.0.1:9", where: "kind == 'goal'", into: goals, map: {id: a, at: b, n: c}}
"""


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


def headrace(folder: Path, *arguments: str, stdin: str = "", **environ: str) -> Ended:
    """Run the real command line as a user would, in an 80-column pipe."""
    environ = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(Path.cwd()), "COLUMNS": "80", **environ}
    command = [sys.executable, "-m", "service", *arguments]
    done = subprocess.run(
        command, cwd=folder, env=environ, input=stdin, capture_output=True, text=True, check=False, timeout=60
    )
    return Ended(done.returncode, done.stdout, done.stderr)


def command(monkeypatch: pytest.MonkeyPatch, folder: Path, *arguments: str) -> int:
    """Run a command line that ends before anything starts within this process, which is quicker; give its exit code."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.setenv("DATABASE_URL", "postgresql://127.0.0.1:9/none")
    monkeypatch.setattr(sys, "argv", ["headrace", *arguments])
    monkeypatch.setattr(sys, "path", [*sys.path])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)
