"""Webhooks at the running daemon: what it answers, and that whatever was answered with 202 is in the table."""

import asyncio
import gzip
import hmac
import itertools
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

from tests.daemon import Daemon, balanced, rows
from tests.postgres import Cluster

SECRET = b"hunter2hunter2"
CONFIG = """\
database: {url: "${DATABASE_URL}"}
buffer: {path: ./spool, max_bytes: 1MiB}
http: {host: 127.0.0.1, port: "${HEADRACE_PORT}", token: "${HEADRACE_TOKEN:-}"}
tables:
  goals:
    key: [id]
    columns: {id: integer, player: text, event: text}
providers:
  acme:
    feeds:
      goals:
        kind: webhook
        signature: {header: X-Sign, prefix: "sha256=", secret: hunter2hunter2}
        params: {event: X-Event}
        max_body: 64KiB
        into: goals
        map: {id: id, player: player, event: $params.event}
      polled: {kind: rest, url: "http://127.0.0.1:9/", into: goals, map: {id: id, player: player, event: e}}
"""


class Sender:
    """A provider that posts goals, each again until it is answered with 202.

    Attributes:
        accepted: the numbers of the goals that were.
        refused: the answers that were no 202, 0 for none at all.
        waits: what Retry-After said.
    """

    def __init__(self, daemon: Daemon, padding: int = 0) -> None:
        self.accepted: list[int] = []
        self.refused: list[int] = []
        self.waits: set[str | None] = set()
        self._url = f"{daemon.url}/ingest/acme/goals"
        self._padding = padding
        self._numbers = itertools.count(1)

    async def post(self, session: aiohttp.ClientSession, body: bytes, **headers: str) -> int:
        signed = {"X-Sign": f"sha256={hmac.digest(SECRET, body, 'sha256').hex()}", "X-Event": "goal", **headers}
        try:
            async with session.post(self._url, data=body, headers=signed) as response:
                self.waits.add(response.headers.get("Retry-After"))
                return response.status
        except aiohttp.ClientError:
            return 0

    async def send(self, senders: int, until: asyncio.Event) -> None:
        """Post from several senders at once until told to stop."""
        async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as group:
            for _ in range(senders):
                group.create_task(self._insist(session, until))

    async def _insist(self, session: aiohttp.ClientSession, until: asyncio.Event) -> None:
        for number in self._numbers:
            body = orjson.dumps({"id": number, "player": f"p{number}", "padding": "x" * self._padding})
            while (status := await self.post(session, body)) != 202:
                self.refused.append(status)
                if until.is_set():
                    return
                await asyncio.sleep(0.02)
            self.accepted.append(number)
            if until.is_set():
                return


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG)
    return path


@pytest.fixture
async def daemon(database: str, tmp_path: Path, config: Path) -> AsyncIterator[Daemon]:
    async with Daemon(tmp_path, {"DATABASE_URL": database, "HEADRACE_TOKEN": "commander"}, config) as daemon:
        await daemon.until(lambda status: status["feeds"]["acme.goals"]["state"] in {"live", "quiet"})
        yield daemon


def _settled(status: dict[str, Any]) -> bool:
    return bool(status["ledger"]["in_flight"] == 0 and status["buffer"]["messages"] == 0)


async def _until_loaded(daemon: Daemon, database: str, wanted: set[int]) -> dict[str, Any]:
    """Wait until all is loaded; everything that was accepted must be there then."""
    status = await daemon.until(_settled)
    found = {row["id"] for row in await rows(database, "select id from goals")}
    assert wanted - found == set()
    assert balanced(status)
    return status


async def test_kill_9_loses_nothing_that_was_answered_with_202(daemon: Daemon, database: str) -> None:
    sender, over = Sender(daemon), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(sender.send(8, over))
        for target in (200, 600, 1000):
            while len(sender.accepted) < target:
                await asyncio.sleep(0.01)
            await daemon.kill()
            await daemon.start()
        await daemon.until(lambda status: status["feeds"]["acme.goals"].get("messages", 0) > 50)
        over.set()
    await _until_loaded(daemon, database, set(sender.accepted))
    assert 0 in sender.refused  # it was away while they were posting


async def test_a_full_buffer_asks_senders_to_come_again_and_loses_nothing(
    cluster: Cluster, tmp_path: Path, config: Path
) -> None:
    database = cluster.url("postgres")
    async with Daemon(tmp_path, {"DATABASE_URL": database}, config) as daemon:
        await daemon.until(lambda status: bool(status["ready"]))
        await asyncio.to_thread(cluster.stop)
        sender, over = Sender(daemon, padding=60_000), asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(sender.send(4, over))
            while sender.refused.count(429) < 20:
                await asyncio.sleep(0.01)
            assert (await daemon.get("/readyz"))[0] == 503
            await asyncio.to_thread(cluster.start)
            before = len(sender.accepted)
            while len(sender.accepted) < before + 20:
                await asyncio.sleep(0.01)
            over.set()
        assert set(sender.refused) == {429}
        assert sender.waits == {None, "5"}
        await _until_loaded(daemon, database, set(sender.accepted))


async def test_what_the_endpoint_answers(daemon: Daemon, database: str) -> None:
    sender = Sender(daemon)
    body = orjson.dumps({"id": 1, "player": "Ada"})
    async with aiohttp.ClientSession() as session:

        async def answer(path: str, **options: Any) -> int:
            async with session.post(daemon.url + path, **options) as response:
                return response.status

        assert await sender.post(session, body) == 202
        assert await sender.post(session, gzip.compress(body), **{"Content-Encoding": "gzip"}) == 202
        assert await sender.post(session, body, **{"X-Sign": "sha256=00"}) == 401
        assert await sender.post(session, b"x" * (64 << 10 | 1)) == 413
        assert await sender.post(session, b"no JSON") == 202
        assert await answer("/ingest/acme/nobody", data=body) == 404
        assert await answer("/ingest/acme/polled", data=body) == 404
        assert await answer("/feeds/acme.goals/pause", headers=daemon.headers) == 202
        while (status := await sender.post(session, body)) != 503:
            assert status == 202
        assert await answer("/feeds/acme.goals/resume", headers=daemon.headers) == 202
        while (status := await sender.post(session, body)) != 202:
            assert status == 503
    await daemon.until(_settled)
    assert await rows(database, "select * from goals") == [{"id": 1, "player": "Ada", "event": "goal"}]
    (refused,) = await rows(database, "select reason, message from headrace.quarantine")
    assert refused == {"reason": "json: not decodable", "message": b"no JSON"}
    assert "hunter2" not in daemon.log.read_text()


async def test_a_sender_that_hangs_up_in_the_middle_leaves_no_trace(daemon: Daemon, database: str) -> None:
    for _ in range(3):
        _, writer = await asyncio.open_connection("127.0.0.1", daemon.port)
        writer.write(b"POST /ingest/acme/goals HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{")
        await writer.drain()
        writer.transport.abort()
    async with aiohttp.ClientSession() as session:
        assert await Sender(daemon).post(session, orjson.dumps({"id": 7, "player": "Ada"})) == 202
    await daemon.until(_settled)
    assert [row["id"] for row in await rows(database, "select id from goals")] == [7]
    assert "Traceback" not in daemon.log.read_text()
