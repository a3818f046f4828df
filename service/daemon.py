"""The daemon: everything nested in the order in which it must end, and the signals that end it."""

import asyncio
import contextlib
import functools
import gc
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path

import structlog

from service.buffer.select import open_buffer
from service.config.changes import Changes, beginning, compare
from service.config.load import load
from service.config.settings import Config
from service.errors import ConfigError, PositionTaken, Problem, StartError, StoreLost, TableRefused
from service.model import Buffer
from service.pipeline.backoff import Backoff
from service.pipeline.fleet import Fleet
from service.pipeline.line import Line
from service.pipeline.overview import Overview
from service.store.embedded import embedded_postgres
from service.store.store import Store
from service.web.app import serve

log = structlog.get_logger()

EMBEDDED_DATA = Path("data/postgres")
WATCH_EVERY = 2.0
"""Seconds between two looks at the database."""
STOPPING = Problem("stopping", "", "the daemon is starting or stopping: ask again later")
COLLECT_EVERY = 20_000
"""New objects after which the garbage collector looks for cycles: records make many objects and no cycles, so that the
700 of the interpreter cost a tenth of the daemon's time."""


class Daemon:
    """Runs the feeds of a configuration until a signal, a bug, or the deadline of the drain.

    Args:
        config: that it begins with.
        path: of the file that is read again to reload.

    Attributes:
        overview: what the probes, the metrics and the status page show.
    """

    def __init__(self, config: Config, path: Path = Path("config.yaml")) -> None:
        self._config = config
        self._path = path
        self._stop = asyncio.Event()
        self._deadline: asyncio.Timeout | None = None
        self._around: asyncio.TaskGroup | None = None
        self._fleet: Fleet | None = None
        self._reloading = asyncio.Lock()
        self._look = asyncio.Event()
        self._failed = False
        self.overview = Overview(config)

    def stop(self) -> None:
        """Drain; asked a second time, end at once. What the buffer holds is kept in either case."""
        again = self._stop.is_set()
        grace = 0.0 if again else self._config.shutdown_timeout
        log.info("stopping", grace_s=grace)
        self.overview.draining = True
        self._stop.set()
        if self._fleet is not None:
            self._fleet.stop()
        if self._deadline is not None:
            with contextlib.suppress(RuntimeError):  # it is behind us: what is left of the way out is short
                self._deadline.reschedule(asyncio.get_running_loop().time() + grace)

    async def run(self) -> int:
        """Run; return the exit code: 0 drained (or safe in the buffer), 1 failed or cut short.

        Raises:
            StartError: the port, the spool or the embedded Postgres cannot be had.
        """
        config = self._config
        durable = config.buffer.kind != "memory"
        ends = dict.fromkeys((signal.SIGTERM, signal.SIGINT), self.stop)
        with _signals({**ends, signal.SIGHUP: self._ask_to_reload}):
            try:
                async with (
                    serve(self.overview, config.http, self.reload),
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

    async def reload(self) -> Changes | list[Problem]:
        """Read the file again and run what it says, once the reloads that were asked for before are done.

        Returns:
            What changed, or the problems for which all goes on as it was.
        """
        task = self._ask_to_reload()
        return await asyncio.shield(task) if task is not None else [STOPPING]

    def _ask_to_reload(self) -> "asyncio.Task[Changes | list[Problem]] | None":
        if self._around is None or self._fleet is None or self._stop.is_set():
            log.warning("not reloaded: the daemon is starting or stopping")
            return None
        return self._around.create_task(self._reload(self._fleet), name="reload")

    async def _run_lines(self, buffer: Buffer, store: Store) -> None:
        """Run one line per feed, side by side; the database is watched for as long as they run."""
        gc.collect()
        gc.freeze()  # what is there now stays for good: later collections need not look at it
        gc.set_threshold(COLLECT_EVERY, 5, 5)  # a lost connection that outlived one of them waits for five
        refused: StartError | None = None
        async with asyncio.TaskGroup() as around:
            async with asyncio.TaskGroup() as lines:
                run = functools.partial(self._run_line, buffer)
                fleet = self._fleet = Fleet(lines, around, store, self.overview, run)
                try:
                    await fleet.take(self._config, beginning(self._config))
                except StartError as error:  # out of the groups it comes by itself, not as one of several
                    refused = error
                else:
                    self.overview.buffer = buffer
                    self._around = around
                    watch = around.create_task(self._watch(store), name="database watch")
                    await self._stop.wait()
            if refused is None:
                watch.cancel()
            fleet.close()
        if refused is not None:
            raise refused

    async def _reload(self, fleet: Fleet) -> Changes | list[Problem]:
        """Reload after the reload before; a failure is a bug, which ends the daemon as that of a feed does."""
        problems: list[Problem] = []
        try:
            async with self._reloading:
                if self._stop.is_set():
                    return [STOPPING]
                config = await asyncio.to_thread(load, self._path, os.environ)
                changes = compare(self._config, config, str(self._path))
                await fleet.take(config, changes)
                self._config = config
        except ConfigError as error:
            problems = error.problems
        except (StartError, TableRefused) as error:
            problems = [Problem("refused", "", str(error), str(self._path))]
        except Exception:
            log.exception("reload failed")
            self._fail("draining after a failure", "see above")
            return [STOPPING]
        if problems:
            log.error("reload refused, all goes on as it was", problem=str(problems[0]), problems=len(problems))
            return problems
        if self._stop.is_set():
            return [STOPPING]
        if changes.has_tables:
            self._look.set()
        if changes:
            log.info("reloaded", **changes.named(), unchanged=len(changes.unchanged))
        else:
            log.info("nothing to reload: no feed and no table changed")
        return changes

    async def _run_line(self, buffer: Buffer, line: Line, stop: asyncio.Event) -> None:
        """Run one line; its failure is a bug, which ends the daemon, but not before the others have drained."""
        try:
            await line.run(buffer, self.overview.prepared, stop)
        except* PositionTaken as taken:
            self._fail("another daemon runs this feed", str(taken.exceptions[0]), feed=line.name)
        except* Exception:
            log.exception("feed failed", feed=line.name)
            self._fail("draining after a failure", "see above", feed=line.name)

    def _fail(self, event: str, reason: str, **of: str) -> None:
        """Note a failure that ends the daemon."""
        log.error(event, reason=reason, **of)
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
                    config = overview.config
                    await store.prepare()
                    if config is overview.config:  # a reload meanwhile may have brought other tables
                        overview.prepared.set()
                        log.info("tables ready", tables=list(config.tables))
            except (StoreLost, TableRefused) as error:
                if overview.database != str(error):
                    log.warning("database not usable", reason=str(error))
                overview.database = str(error)
                await self._pause(delays.next())
            else:
                if overview.database is not None:
                    log.info("database ready")
                overview.database = None
                delays.reset()
                await self._pause(WATCH_EVERY)

    async def _pause(self, seconds: float) -> None:
        """Wait before the next look at the database; tables that a reload brought do not wait for it."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._look.wait()
        self._look.clear()


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
def _signals(handlers: Mapping[signal.Signals, Callable[[], object]]) -> Iterator[None]:
    """Call the handlers on their signals."""
    loop = asyncio.get_running_loop()
    for number, handler in handlers.items():
        loop.add_signal_handler(number, handler)
    try:
        yield
    finally:
        for number in handlers:
            loop.remove_signal_handler(number)
