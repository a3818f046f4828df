"""Simulated providers: frames and pages made beforehand, served by a process of its own."""

import asyncio
import multiprocessing
import os
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from types import TracebackType

from aiohttp import web
from websockets.asyncio.server import ServerConnection, serve

from benchmarks.parts.frames import STAMP
from tests.postgres import free_port

fork = multiprocessing.get_context("fork")  # what was made beforehand is inherited, not copied
BURST = 200
"""Frames that are written at once when the sender goes as fast as it can."""
TICK = 0.001


class Provider:
    """A provider in a process of its own. A context manager, which may be entered many times.

    Attributes:
        port: on 127.0.0.1.
        sent: messages that were handed to the sockets.
    """

    def __init__(self) -> None:
        self.port = free_port()
        self.sent = fork.Value("q", 0)
        self._started = fork.Value("d", 0.0)
        self._owner = os.getpid()

    def __enter__(self) -> "Provider":
        self.sent.value, self._started.value = 0, 0.0
        up = fork.Event()
        self._process = fork.Process(target=lambda: asyncio.run(self._run(up.set)), daemon=True)
        self._process.start()
        up.wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Not terminate(): a forked process still has the owner's handler of SIGTERM, and its pipe.
        self._process.kill()
        self._process.join()

    @property
    def started(self) -> float | None:
        """When the contestant asked for the first data (``time.perf_counter``, which processes share); else None."""
        return self._started.value or None

    def start(self) -> None:
        """Note that the work begins; in the provider's process."""
        if not self._started.value:
            self._started.value = time.perf_counter()

    async def serve(self) -> None:
        """Serve; in the provider's process. Returns once it listens."""
        raise NotImplementedError

    async def _run(self, up: Callable[[], None]) -> None:
        await self.serve()
        up()
        while os.getppid() == self._owner:  # else the benchmark was killed
            await asyncio.sleep(1)


class Sockets(Provider):
    """A WebSocket per feed, at ``/NUMBER``. All begin once every feed has subscribed.

    Args:
        frames: by feed.
        rate: messages a second, in all; None for as fast as they are taken.
        stamped: whether each message carries, as its version, the moment when it was due to be sent.
    """

    def __init__(self, frames: list[list[bytes]], rate: float | None = None, *, stamped: bool = False) -> None:
        super().__init__()
        self._frames = frames
        self._rate = rate
        self._stamped = stamped
        self._ready: asyncio.Barrier

    async def serve(self) -> None:
        """Listen."""
        self._ready = asyncio.Barrier(len(self._frames))
        await serve(self._feed, "127.0.0.1", self.port, compression=None, ping_interval=None)

    async def _feed(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        frames = self._frames[int(connection.request.path.strip("/") or 0)]
        await connection.recv()
        await self._ready.wait()
        self.start()
        # The frames go out as they are: the sender must not be the limit.
        await (self._burst(connection, frames) if self._rate is None else self._paced(connection, frames))
        await connection.wait_closed()

    async def _burst(self, connection: ServerConnection, frames: list[bytes]) -> None:
        for first in range(0, len(frames), BURST):
            part = frames[first : first + BURST]
            await self._write(connection, part)

    async def _paced(self, connection: ServerConnection, frames: list[bytes]) -> None:
        """Send each message when it is due, however late earlier ones were: a slow receiver does not hide delays."""
        assert self._rate is not None
        rate, sent = self._rate / len(self._frames), 0
        began, clock = time.time(), time.perf_counter()
        while sent < len(frames):
            due = min(len(frames), int((time.perf_counter() - clock) * rate) + 1)
            part = frames[sent : min(due, sent + BURST)]
            if self._stamped:
                part = [_stamped(frame, began + (sent + place) / rate) for place, frame in enumerate(part)]
            await self._write(connection, part)
            sent += len(part)
            await asyncio.sleep(TICK if sent >= due else 0)

    async def _write(self, connection: ServerConnection, frames: list[bytes]) -> None:
        connection.transport.write(b"".join(frames))
        await connection.drain()
        self.sent.value += len(frames)


def _stamped(frame: bytes, moment: float) -> bytes:
    stamp = datetime.fromtimestamp(moment, UTC).isoformat(timespec="microseconds").encode()
    return frame[: STAMP.start] + stamp + frame[STAMP.stop :]


class Pages(Provider):
    """Answers GET requests with bodies made beforehand; ``Link`` leads from one page to the next (RFC 8288).

    Args:
        bodies: by path: content type, body, and the path that follows, if any.
    """

    def __init__(self, bodies: Mapping[str, tuple[str, bytes, str | None]]) -> None:
        super().__init__()
        self._bodies = bodies

    async def serve(self) -> None:
        """Listen."""
        app = web.Application()
        app.router.add_get("/{path:.*}", self._answer)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", self.port).start()

    async def _answer(self, request: web.Request) -> web.Response:
        found = self._bodies.get(request.path)
        if found is None:
            raise web.HTTPNotFound
        kind, body, following = found
        if not request.path.startswith("/sample"):
            self.start()
        links = {"Link": f'<http://127.0.0.1:{self.port}{following}>; rel="next"'} if following else {}
        return web.Response(body=body, content_type=kind, headers=links)
