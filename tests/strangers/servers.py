"""Providers that nobody here wrote: httpbin (PyPI) and json-server (npm), installed once and run on loopback.

Each is pinned, with the digests of what is installed, by files beside this one. They are kept outside the checkout.
"""

import fcntl
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
import venv
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Any

import pytest

from tests.postgres import free_port

PINS = Path(__file__).parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "headrace-tests"
PATIENCE = 60.0
"""Seconds that a server may take to answer, or to be installed, four times over."""
_HTTPBIN = """
from httpbin import app
from werkzeug.serving import WSGIRequestHandler
WSGIRequestHandler.protocol_version = "HTTP/1.1"
app.run(port={port}, threaded=True)
"""


@contextmanager
def httpbin() -> Iterator[str]:
    """Run httpbin; give its address."""
    folder = _installed("httpbin", PINS / "httpbin.txt", _install_httpbin)
    port = free_port()
    with _running([str(folder / "bin" / "python"), "-c", _HTTPBIN.format(port=port)], folder, port) as url:
        yield url


@contextmanager
def json_server(folder: Path) -> Iterator[str]:
    """Run json-server with ``db.json`` of a folder; give its address."""
    if shutil.which("npm") is None or shutil.which("node") is None:
        pytest.skip("needs node and npm")
    modules = _installed("json-server", PINS / "package-lock.json", _install_json_server) / "node_modules"
    port = free_port()
    command = ["node", str(modules / "json-server" / "lib" / "cli" / "bin.js")]
    with _running([*command, "--host", "127.0.0.1", "--port", str(port), "--quiet", "db.json"], folder, port) as url:
        yield url


def change(url: str, method: str, document: Any = None) -> None:
    """Change what a server holds, past everything that is tested."""
    body = json.dumps(document).encode() if document is not None else None
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"}, method=method)
    with urllib.request.urlopen(request, timeout=PATIENCE) as response:
        response.read()


def asked(url: str) -> Any:
    """Give what a server says, past everything that is tested."""
    with urllib.request.urlopen(url, timeout=PATIENCE) as response:
        return json.load(response)


def _installed(name: str, pins: Path, install: Callable[[Path], None]) -> Path:
    """Give the folder of what is installed, by whichever test needs it first; skip where it cannot be."""
    digest = blake2b(pins.read_bytes() + sys.version.encode(), digest_size=6).hexdigest()
    folder = CACHE / f"{name}-{digest}"
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "installed").exists():
            shutil.rmtree(folder, ignore_errors=True)
            try:
                install(folder)
            except (subprocess.SubprocessError, OSError) as error:
                said = getattr(error, "stderr", None) or str(error)
                pytest.skip(f"{name} cannot be installed here: {said[-300:]}")
            (folder / "installed").touch()
    return folder


def _install_httpbin(folder: Path) -> None:
    venv.create(folder, with_pip=True)
    pip = [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--require-hashes",
        "--only-binary",
        ":all:",
    ]
    _run([str(folder / "bin" / "python"), *pip, "-r", str(PINS / "httpbin.txt")], PINS)


def _install_json_server(folder: Path) -> None:
    folder.mkdir()
    for name in ("package.json", "package-lock.json"):
        shutil.copy(PINS / name, folder)
    _run(["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel", "error"], folder)


def _run(command: list[str], folder: Path) -> None:
    subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, timeout=4 * PATIENCE)


@contextmanager
def _running(command: list[str], folder: Path, port: int) -> Iterator[str]:
    """Run a server until the block ends; it answers when the block begins."""
    url = f"http://127.0.0.1:{port}"
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            limit = time.monotonic() + PATIENCE
            while not _answers(url):
                assert process.poll() is None, f"{command} ended with {process.returncode}"
                assert time.monotonic() < limit, f"{command} does not answer"
                time.sleep(0.05)
            yield url
        finally:
            process.kill()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
