"""The simulated providers as one: starts and stops the REST and the WebSocket server of one league."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from itertools import islice
from typing import Self

from aiohttp import web
from websockets.asyncio.server import serve

from service.demo.faults import Faults
from service.demo.league import League
from service.demo.oracle import Oracle
from service.demo.rest import Rest
from service.demo.websocket import Live


@dataclass(kw_only=True)
class Providers:
    """Simulated providers, as an async context manager. Enter and leave it in the same task.

    Attributes:
        seed: chooses the story and the moments of its faults.
        host: the address to listen on.
        rest_port: port of the REST server; 0 lets the system choose.
        websocket_port: port of the WebSocket server; 0 as well.
        speed: events a second; 0 is as fast as the subscribers' sockets take them.
        total: how many events (changes and poison records) are published; None goes on for ever.
        audience: publishing waits while there are fewer subscribers than this.
        prebuilt: make all ``total`` events before the first is sent; their versions are then older than they look.
        heartbeat: seconds between heartbeats of the WebSocket; None for silence.
        patience: seconds that a client may read nothing before it is disconnected; None for ever.
        token: what both servers ask for.
        page_size: matches on a page of the REST server.
        keep: entries that the oracle's log holds; None for all.
        faults: how badly they behave; by default not at all.
        rest: the REST server, once started.
        live: the WebSocket server, once started.
    """

    seed: int = 1
    host: str = "127.0.0.1"
    rest_port: int = 0
    websocket_port: int = 0
    speed: float = 20.0
    total: int | None = None
    audience: int = 0
    prebuilt: bool = False
    heartbeat: float | None = 5.0
    patience: float | None = 20.0
    token: str = "demo"  # noqa: S105  a simulated provider's
    page_size: int = 200
    keep: int | None = None
    faults: Faults = field(default_factory=Faults)
    rest: Rest = field(init=False, repr=False)
    live: Live = field(init=False, repr=False)
    _oracle: Oracle = field(init=False, repr=False)
    _stack: AsyncExitStack = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Refuse to build an endless story beforehand."""
        if self.prebuilt and self.total is None:
            raise ValueError("prebuilt events need a total")

    async def __aenter__(self) -> Self:
        self._oracle = Oracle(self.keep)
        league = League(self.seed, self.faults.poison, self._oracle)
        events = islice(league.events(), self.total)
        if self.prebuilt:
            events = islice(list(events), None)
        self.rest = Rest(league, self.faults, seed=self.seed, token=self.token, page_size=self.page_size)
        self.live = Live(league, events, self.faults, seed=self.seed, token=self.token, audience=self.audience)
        async with AsyncExitStack() as stack:
            await self._listen(stack)
            tasks = await stack.enter_async_context(asyncio.TaskGroup())
            stack.callback(tasks.create_task(self.live.publish(self.speed)).cancel)
            if self.heartbeat is not None:
                stack.callback(tasks.create_task(self.live.beat(self.heartbeat)).cancel)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *exc: object) -> None:
        # Not told of the block's own error: the task group would wrap it in an ExceptionGroup.
        await self._stack.aclose()

    async def _listen(self, stack: AsyncExitStack) -> None:
        runner = web.AppRunner(self.rest.app(), access_log=None, shutdown_timeout=1.0)
        stack.push_async_callback(runner.cleanup)
        await runner.setup()
        site = web.TCPSite(runner, self.host, self.rest_port)
        await site.start()
        self.rest_port = runner.addresses[0][1]
        server = await stack.enter_async_context(
            serve(
                self.live.serve,
                self.host,
                self.websocket_port,
                process_request=self.live.admit,
                compression=None,  # see Live: frames are written as they were made
                ping_timeout=self.patience,
                close_timeout=1.0,
            )
        )
        self.websocket_port = next(iter(server.sockets)).getsockname()[1]

    @property
    def rest_url(self) -> str:
        """The base URL of the REST provider."""
        return f"http://{self.host}:{self.rest_port}/v4"

    @property
    def websocket_url(self) -> str:
        """The URL of the WebSocket provider."""
        return f"ws://{self.host}:{self.websocket_port}/live"

    def oracle(self) -> Oracle:
        """Give what must be in the table now, and what was published so far."""
        return self._oracle

    def cut(self) -> None:
        """Cut every WebSocket connection now."""
        self.live.cut()

    async def finished(self) -> None:
        """Wait until all ``total`` events were handed to the subscribers' sockets."""
        await self.live.finished.wait()
