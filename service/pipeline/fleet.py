"""The fleet: the lines that run, and the clients of providers that they share, each in a scope that can be closed."""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeAlias, cast

import structlog

from service.config.changes import Changes
from service.config.settings import Config
from service.errors import StartError, StoreLost
from service.pipeline.line import Line
from service.pipeline.overview import Overview
from service.provider import Provider
from service.sources import Source
from service.store.store import Store

log = structlog.get_logger()

RunLine: TypeAlias = Callable[[Line, asyncio.Event], Coroutine[Any, Any, None]]
"""Runs a line until the event is set and it has drained; owns its failures."""


class Client:
    """A provider that is open in a task of its own, so that each can be closed, in any order."""

    def __init__(self, provider: Provider) -> None:
        self.provider = provider
        self._open = asyncio.Event()
        self._closing = asyncio.Event()
        self._refused: StartError | None = None

    async def run(self) -> None:
        """Keep the provider open until ``close``."""
        try:
            async with self.provider:
                self._open.set()
                await self._closing.wait()
        except StartError as error:
            self._refused = error
            self._open.set()

    async def opened(self) -> None:
        """Wait until it is open.

        Raises:
            StartError: it cannot be.
        """
        await self._open.wait()
        if self._refused is not None:
            raise self._refused

    def close(self) -> None:
        """Let it end; no line uses it any more."""
        self._closing.set()


@dataclass(slots=True)
class Running:
    """A line, what ends it, and the task that it lives in."""

    line: Line
    stop: asyncio.Event
    task: asyncio.Task[None]


@dataclass(slots=True)
class Draft:
    """What is to run, ready to: nothing of it has begun."""

    config: Config
    clients: dict[str, Client] = field(default_factory=dict)
    lines: list[Line] = field(default_factory=list)


class Fleet:
    """Runs one line per feed, side by side.

    Args:
        lines: the group that the lines' tasks live in.
        around: the group that the clients' live in; it outlives the other.
        store: that rows go to.
        overview: that shows what runs.
        run: runs a line.
    """

    def __init__(
        self, lines: asyncio.TaskGroup, around: asyncio.TaskGroup, store: Store, overview: Overview, run: RunLine
    ) -> None:
        self._lines = lines
        self._around = around
        self._store = store
        self._overview = overview
        self._run = run
        self._floor = asyncio.Lock()
        self._clients: dict[str, Client] = {}
        self._running: dict[str, Running] = {}

    async def take(self, config: Config, changes: Changes) -> None:
        """Run what is configured in place of what ran. What did not change is not touched.

        Raises:
            StartError: a provider cannot be talked to as configured; nothing has changed.
            ConfigError: a map cannot be compiled; likewise.
            TableRefused: the database cannot be prepared for the tables; likewise.
        """
        if changes.has_tables:
            with contextlib.suppress(StoreLost):  # then it says so later, as after a start
                await self._store.review(config.tables)
        draft = await self._draft(config, changes)
        await self._end((*changes.restarted, *changes.stopped), config.shutdown_timeout)
        if self._overview.draining:
            for client in draft.clients.values():
                client.close()
            return
        if changes.has_tables:
            self._overview.prepared.clear()
            self._store.adapt(config.tables, config.deletable(), config.partial())
        self._begin(draft)

    async def _draft(self, config: Config, changes: Changes) -> Draft:
        """Make what a configuration asks for beyond what runs, and begin none of it.

        Raises:
            StartError: a provider cannot be talked to as configured.
            ConfigError: a map cannot be compiled.
        """
        draft = Draft(config)
        with contextlib.ExitStack() as undo:
            for name in changes.providers:
                client = Client(Provider(name, config.providers[name], config.secrets))
                undo.callback(client.close)
                self._around.create_task(client.run(), name=f"{name} client")
                await client.opened()
                draft.clients[name] = client
            clients, begin = self._clients | draft.clients, {*changes.started, *changes.restarted}
            for name, (_, feed) in config.feeds().items():
                if name in begin:
                    provider = clients[name.partition(".")[0]].provider
                    source = cast("Source", feed)
                    draft.lines.append(Line(name, source, provider, config, self._store, floor=self._floor))
            undo.pop_all()
        return draft

    async def _end(self, feeds: Iterable[str], within: float) -> None:
        """Let lines drain, side by side; those that take longer are cut short."""
        ending = [running for name in feeds if (running := self._running.get(name)) is not None]
        for each in ending:
            each.stop.set()
        if ending:
            _, late = await asyncio.wait([each.task for each in ending], timeout=within)
            for task in late:
                log.warning("feed ended before all was loaded", feed=task.get_name())
                task.cancel()
            if late:
                await asyncio.wait(late)

    def _begin(self, draft: Draft) -> None:
        """Run what was drafted; what it replaces has ended."""
        config = draft.config
        for name in self._clients.keys() - (config.providers.keys() - draft.clients.keys()):
            self._clients.pop(name).close()
        for name, client in self._clients.items():
            client.provider.serve(config.providers[name])
        self._clients |= draft.clients
        lines = {name: running.line for name, running in self._running.items()}
        lines |= {line.name: line for line in draft.lines}
        feeds = config.feeds()
        for line in draft.lines:
            if (repair := feeds[line.name][1].repair) is not None:
                line.repaired_by(lines[f"{line.name.partition('.')[0]}.{repair.refetch}"])
            stop = asyncio.Event()
            task = self._lines.create_task(self._run(line, stop), name=line.name)
            self._running[line.name] = Running(line, stop, task)
        self._running = {name: self._running[name] for name in feeds}
        self._overview.take(config, [running.line for running in self._running.values()])

    def stop(self) -> None:
        """Let every line drain."""
        for running in self._running.values():
            running.stop.set()

    def close(self) -> None:
        """Close the clients; no line runs any more."""
        for client in self._clients.values():
            client.close()
