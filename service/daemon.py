"""The daemon: everything nested in the order in which it must end, and the signals that end it."""

import asyncio
import contextlib
import gc
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import cast

import structlog

from service.buffer.select import open_buffer
from service.config.settings import Config
from service.errors import PositionTaken, StoreLost, TableRefused
from service.model import Buffer
from service.pipeline.backoff import Backoff
from service.pipeline.line import Line
from service.pipeline.overview import Overview
from service.provider import Provider
from service.sources import Source
from service.store.embedded import embedded_postgres
from service.store.store import Store
from service.web.app import serve

log = structlog.get_logger()

EMBEDDED_DATA = Path("data/postgres")
WATCH_EVERY = 2.0
"""Seconds between two looks at the database."""
COLLECT_EVERY = 20_000
"""New objects after which the garbage collector looks for cycles: records make many objects and no cycles, so that the
700 of the interpreter cost a tenth of the daemon's time."""


class Daemon:
    """Runs the feeds of a configuration until a signal, a bug, or the deadline of the drain.

    Attributes:
        overview: what the probes, the metrics and the status page show.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._stop = asyncio.Event()
        self._deadline: asyncio.Timeout | None = None
        self._failed = False
        self.overview = Overview(config)

    def stop(self) -> None:
        """Drain; asked a second time, end at once. What the buffer holds is kept in either case."""
        again = self._stop.is_set()
        grace = 0.0 if again else self._config.shutdown_timeout
        log.info("stopping", grace_s=grace)
        self.overview.draining = True
        self._stop.set()
        if self._deadline is not None:
            self._deadline.reschedule(asyncio.get_running_loop().time() + grace)

    async def run(self) -> int:
        """Run; return the exit code: 0 drained (or safe in the buffer), 1 failed or cut short.

        Raises:
            StartError: the port, the spool or the embedded Postgres cannot be had.
        """
        config = self._config
        durable = config.buffer.kind != "memory"
        with _signals(self.stop):
            try:
                async with (
                    serve(self.overview, config.http),
                    open_buffer(config.buffer, list(config.feeds())) as buffer,
                    database(config) as url,
                    Store(config.database, config.tables, url, config.deletable(), config.partial()) as store,
                    asyncio.timeout(None) as self._deadline,
                ):
                    if config.database.url.get_secret_value() == "embedded":
                        self.overview.database_url = url
                    await self._run_lines(buffer, store)
            except TimeoutError:
                if self._deadline is None or not self._deadline.expired():
                    raise
                log.warning("stopped before all was loaded", kept_in_buffer=durable)
                self._failed |= not durable
        log.info("stopped", uptime_s=round(time.monotonic() - self.overview.started, 1))
        return 1 if self._failed else 0

    async def _run_lines(self, buffer: Buffer, store: Store) -> None:
        """Run one line per feed, side by side; the database is watched for as long as they run."""
        config, overview = self._config, self.overview
        gc.collect()
        gc.freeze()  # what is there now stays for good: later collections need not look at it
        gc.set_threshold(COLLECT_EVERY, 5, 5)  # a lost connection that outlived one of them waits for five
        async with contextlib.AsyncExitStack() as stack, asyncio.TaskGroup() as around:
            floor = asyncio.Lock()
            for name, settings in config.providers.items():
                provider = await stack.enter_async_context(Provider(name, settings, config.secrets))
                overview.lines += [
                    Line(f"{name}.{feed}", cast("Source", source), provider, config, store, floor=floor)
                    for feed, source in settings.feeds.items()
                ]
            for name, (_, feed) in config.feeds().items():
                if feed.repair is not None:
                    overview.connect(name, f"{name.partition('.')[0]}.{feed.repair.refetch}")
            overview.buffer = buffer
            watch = around.create_task(self._watch(store), name="database watch")
            async with asyncio.TaskGroup() as lines:
                for line in overview.lines:
                    lines.create_task(self._run_line(line, buffer), name=line.name)
            watch.cancel()

    async def _run_line(self, line: Line, buffer: Buffer) -> None:
        """Run one line; its failure is a bug, which ends the daemon, but not before the others have drained."""
        try:
            await line.run(buffer, self.overview.prepared, self._stop)
        except* PositionTaken as taken:
            self._fail("another daemon runs this feed", line, str(taken.exceptions[0]))
        except* Exception:
            log.exception("feed failed", feed=line.name)
            self._fail("draining after a failure", line, "see above")

    def _fail(self, event: str, line: Line, reason: str) -> None:
        """Note a failure that ends the daemon."""
        log.error(event, feed=line.name, reason=reason)
        self._failed = True
        if not self._stop.is_set():
            self.stop()

    async def _watch(self, store: Store) -> None:
        """Prepare the tables as soon as the database answers, then keep an eye on it."""
        overview, delays = self.overview, Backoff(ceiling=WATCH_EVERY)
        while True:
            try:
                if overview.prepared.is_set():
                    await store.ping()
                else:
                    await store.prepare()
                    overview.prepared.set()
                    log.info("tables ready", tables=list(self._config.tables))
            except (StoreLost, TableRefused) as error:
                if overview.database != str(error):
                    log.warning("database not usable", reason=str(error))
                overview.database = str(error)
                await asyncio.sleep(delays.next())
            else:
                if overview.database is not None:
                    log.info("database ready")
                overview.database = None
                delays.reset()
                await asyncio.sleep(WATCH_EVERY)


@contextlib.asynccontextmanager
async def database(config: Config) -> AsyncIterator[str]:
    """Give the URL of the database, running one if that is what is configured."""
    url = config.database.url.get_secret_value()
    if url != "embedded":
        yield url
        return
    async with embedded_postgres(EMBEDDED_DATA) as url:
        log.info("embedded postgres ready", url=url)
        yield url


@contextlib.contextmanager
def _signals(handler: Callable[[], None]) -> Iterator[None]:
    """Call the handler on SIGTERM and SIGINT."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, handler)
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
