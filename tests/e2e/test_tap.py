"""`headrace tap` on a running daemon: what it prints, whom it lets in, and how it ends."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from signal import SIGINT, SIGTERM
from typing import Any

import aiohttp

from service.web.tap import MOST
from tests.daemon import ROOT, Daemon
from tests.unit.cli.commands import headrace

CONFIG = """\
database: {{url: "{database}"}}
http: {{host: 127.0.0.1, port: "${{HEADRACE_PORT}}", token: "${{HEADRACE_TOKEN:-}}"}}
tables:
  goals: {{key: id, columns: {{id: integer, n: {{type: integer, max: 9}}, word: {{type: text, null: true}}}}}}
providers:
  acme:
    feeds:
      posted: {{kind: webhook, unverified: true, into: goals, map: {{id: id, n: n, word: api_key}}}}
"""
TOKEN = {"HEADRACE_TOKEN": "sesame"}


@asynccontextmanager
async def running(folder: Path, database: str, environ: dict[str, str]) -> AsyncIterator[Daemon]:
    config = folder / "config.yaml"
    config.write_text(CONFIG.format(database=database))
    async with Daemon(folder, environ, config) as daemon:
        await daemon.until(lambda status: status["feeds"]["acme.posted"]["state"] in {"live", "quiet"})
        yield daemon


async def post(daemon: Daemon, document: Any) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{daemon.url}/ingest/acme/posted", json=document) as it,
    ):
        assert it.status == 202


class Tapping:
    """``headrace tap acme.posted`` with its output piped."""

    def __init__(self, daemon: Daemon, *arguments: str, **environ: str) -> None:
        self._daemon, self._arguments = daemon, arguments
        self._environ = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "HEADRACE_PORT": str(daemon.port), **environ}

    async def __aenter__(self) -> asyncio.subprocess.Process:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "service", "tap", "acme.posted", *self._arguments,
            cwd=self._daemon.folder, env=self._environ, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        return self._process

    async def __aexit__(self, *exc: object) -> None:
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()


async def first_line(process: asyncio.subprocess.Process, daemon: Daemon, document: Any) -> Any:
    """Post until the command has begun to listen and prints something."""
    assert process.stdout is not None
    reading = asyncio.ensure_future(process.stdout.readline())
    while not reading.done():
        await post(daemon, document)
        await asyncio.wait([reading], timeout=0.05)
    return json.loads(reading.result())


async def test_records_are_seen_as_json_lines_until_the_limit(tmp_path: Path, database: str) -> None:
    limited = ("--stage", "committed", "--limit", "1")
    async with running(tmp_path, database, TOKEN) as daemon, Tapping(daemon, *limited, **TOKEN) as process:
        found = await first_line(process, daemon, {"id": 1, "n": 2, "api_key": "k"})
        assert await process.wait() == 0
    assert found["row"] == {"id": 1, "n": 2, "word": "***"}
    assert found["committed_at"].endswith("Z")


async def test_ctrl_c_ends_it_cleanly_and_a_refused_record_is_explained(tmp_path: Path, database: str) -> None:
    async with running(tmp_path, database, TOKEN) as daemon, Tapping(daemon, "--stage", "refused", **TOKEN) as process:
        found = await first_line(process, daemon, {"id": 1, "n": 10})
        assert found["reason"] == "n: max"
        process.send_signal(SIGINT)
        _, err = await process.communicate()
        assert (process.returncode, err) == (0, b"")


async def test_the_daemon_that_drains_says_so_and_is_not_held_up(tmp_path: Path, database: str) -> None:
    async with running(tmp_path, database, {}) as daemon, Tapping(daemon, "--stage", "raw") as process:
        assert (await first_line(process, daemon, {"id": 1, "n": 10}))["record"] == {"id": 1, "n": 10}
        assert await daemon.stop(SIGTERM) == 0
        _, err = await process.communicate()
        assert process.returncode == 1
        assert err.decode().endswith("the feed has stopped\n")


async def test_a_daemon_that_is_killed_is_said_to_be_gone(tmp_path: Path, database: str) -> None:
    async with running(tmp_path, database, {}) as daemon, Tapping(daemon) as process:
        await first_line(process, daemon, {"id": 1, "n": 1})
        await daemon.kill()
        _, err = await process.communicate()
        assert process.returncode == 1
        assert err.decode().endswith("the daemon went away\n")


async def test_it_needs_the_token_when_one_is_set_as_the_status_does(tmp_path: Path, database: str) -> None:
    async with running(tmp_path, database, TOKEN) as daemon:
        ended = await asyncio.to_thread(headrace, tmp_path, "tap", "acme.posted", HEADRACE_PORT=str(daemon.port))
        assert (ended.code, ended.out) == (1, "")
        assert ended.err.endswith("asks for a token: set http.token as the daemon has it\n")
        daemon.headers = {}
        assert (await daemon.get("/status"))[0] == 401
        assert (await daemon.get("/tap/acme.posted"))[0] == 401


async def test_what_cannot_be_is_explained(tmp_path: Path, database: str) -> None:
    expected = {
        "acme.other": (404, "there are acme.posted"),
        "acme.posted?stage=cooked": (400, "there are raw, mapped, refused, committed"),
        "acme.posted?every=0": (400, "from 1"),
        "acme.posted?sample=1.5": (400, "above 0 and at most 1"),
        "acme.posted?sample=0.5&every=2": (400, "not both"),
        "acme.posted?limit=2": (400, "unknown: limit"),
    }
    async with running(tmp_path, database, {}) as daemon:
        for path, (status, said) in expected.items():
            found = await daemon.get(f"/tap/{path}")
            assert found[0] == status
            assert said in found[1]["error"]


async def test_no_more_than_a_few_listen_at_a_time(tmp_path: Path, database: str) -> None:
    async with running(tmp_path, database, {}) as daemon, aiohttp.ClientSession() as session:
        open_ = [await session.get(f"{daemon.url}/tap/acme.posted") for _ in range(MOST)]
        assert {response.status for response in open_} == {200}
        async with session.get(f"{daemon.url}/tap/acme.posted") as refused:
            assert refused.status == 429
        for response in open_:
            response.close()
        async with asyncio.timeout(30):
            while True:
                async with session.get(f"{daemon.url}/tap/acme.posted") as again:
                    if again.status == 200:
                        break
                await asyncio.sleep(0.05)
