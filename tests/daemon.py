"""The daemon as a real process: started, asked, signalled and killed as an operator would."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg

from tests.postgres import free_port

ROOT = Path(__file__).parent.parent
CONFIG = ROOT / "config.yaml"
PATIENCE = 60.0
"""Seconds after which a condition that does not come true fails the test."""


class Daemon:
    """``headrace run`` with the top-level configuration, its files below a folder of the test's.

    Attributes:
        url: of its web server.
        headers: with the token, if there is one.
        process: the running process.
    """

    def __init__(self, folder: Path, environ: dict[str, str], config: Path = CONFIG) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.folder = folder
        self.log = folder / "daemon.log"
        self.headers = {"Authorization": f"Bearer {environ['HEADRACE_TOKEN']}"} if "HEADRACE_TOKEN" in environ else {}
        self._config = config
        self._environ = {**os.environ, "PYTHONPATH": str(ROOT), "HEADRACE_PORT": str(self.port), **environ}
        self.process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it; it need not be ready when this returns."""
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "service", "run", "-c", str(self._config),
                cwd=self.folder, env=self._environ, stdout=log, stderr=log,
            )  # fmt: skip

    async def __aenter__(self) -> "Daemon":
        await self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self.process is not None and self.process.returncode is None:
            self.process.kill()
            await self.process.wait()

    async def get(self, path: str) -> tuple[int, Any]:
        """Ask one of its endpoints; 0 and None while it does not answer."""
        try:
            async with (
                aiohttp.ClientSession() as session,
                session.get(self.url + path, headers=self.headers) as response,
            ):
                is_json = response.content_type == "application/json"
                return response.status, await (response.json() if is_json else response.text())
        except aiohttp.ClientError:
            return 0, None

    async def status(self) -> dict[str, Any]:
        """Give the document of ``/status``, empty while it does not answer."""
        return (await self.get("/status"))[1] or {}

    async def until(self, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Wait until its status fulfils the condition."""
        limit = time.monotonic() + PATIENCE
        status: dict[str, Any] = {}
        while time.monotonic() < limit:
            status = await self.status()
            if status and condition(status):
                return status
            await asyncio.sleep(0.05)
        raise AssertionError(f"not in {PATIENCE} s; last status {status}\n{self.log.read_text()[-4000:]}")

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Signal it, and give the exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        async with asyncio.timeout(PATIENCE):
            return await self.process.wait()

    async def kill(self) -> None:
        """Kill -9."""
        assert self.process is not None
        self.process.kill()
        await self.process.wait()


async def rows(url: str, query: str) -> list[dict[str, Any]]:
    """Give what a query finds."""
    connection = await asyncpg.connect(url)
    try:
        return [dict(record) for record in await connection.fetch(query)]
    finally:
        await connection.close()


def balanced(status: dict[str, Any]) -> bool:
    """Say whether the ledger balances."""
    account = dict(status["ledger"])
    received = account.pop("received")
    return bool(received == sum(account.values()))
