"""A link that keeps what a source hands on: what the pipeline is to a source, without the rest."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import Any, cast

from service.config.foreach import ForEach, Value
from service.config.settings import Provider as ProviderSettings
from service.errors import SourceLost, SourceRefused
from service.model import Message, Position
from service.provider import Provider
from service.sources import Receiver, Source, Tracked
from tests.site import Site

FEED = {"into": "t", "map": {}}


def configured(feed: dict[str, Any], **provider: Any) -> tuple[Source, ProviderSettings]:
    """Give a source and the settings of its provider, as config.yaml would."""
    settings = ProviderSettings.model_validate({**provider, "feeds": {"feed": {**FEED, **feed}}})
    return cast("Source", settings.feeds["feed"]), settings


class Collector:
    """Keeps messages, and holds the source up while ``room`` is not set.

    Attributes:
        parents: the rows that the feed is to call for.
    """

    def __init__(self, provider: Provider, position: Position | None = None) -> None:
        self.feed = "test.feed"
        self.provider = provider
        self.position = position
        self.notes: dict[str, Any] = {}
        self.parents: list[dict[str, Value]] = []
        self.messages: list[Message] = []
        self.groups: list[int] = []
        self.lives = 0
        self.heard = 0.0
        self.polls: list[float] = []
        self.tracked: Tracked | None = None
        self.lapses: list[float] = []
        self.emitting = 0
        self.room = asyncio.Event()
        self.room.set()
        self.receiver: Receiver | None = None
        self._poke = asyncio.Event()
        self._changed = asyncio.Event()

    async def emit(self, messages: Sequence[Message]) -> None:
        self.emitting += len(messages)
        self._changed.set()
        await self.room.wait()
        self.messages += messages
        self.groups.append(len(messages))
        if messages[-1].position is not None:
            self.position = messages[-1].position
        self._changed.set()

    async def rows(self, _each: ForEach) -> Sequence[Mapping[str, Value]]:
        return list(self.parents)

    async def settled(self) -> None:
        await self.room.wait()

    @property
    def full(self) -> bool:
        return not self.room.is_set()

    @contextlib.contextmanager
    def listen(self, receiver: Receiver) -> Iterator[None]:
        self.receiver = receiver
        self._changed.set()
        try:
            yield
        finally:
            self.receiver = None

    def alive(self, ago: float = 0.0) -> None:
        self.lives += 1
        self.heard = time.monotonic() - ago
        self._changed.set()

    def missed(self, ago: float) -> None:
        self.lapses.append(ago)

    def follow(self, subscriptions: Tracked | None) -> None:
        self.tracked = subscriptions or self.tracked
        self._changed.set()

    async def wait_until(self, moment: float) -> None:
        self.polls.append(moment)
        self._changed.set()
        self._poke.clear()
        try:
            async with asyncio.timeout(max(0.0, moment - time.time())):
                await self._poke.wait()
        except TimeoutError:
            return

    def poll(self) -> None:
        """Ask for a poll by hand."""
        self._poke.set()

    @property
    def bodies(self) -> list[bytes]:
        return [message.body for message in self.messages]

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition holds that this link can make true."""
        async with asyncio.timeout(20):
            while not condition():
                self._changed.clear()
                await self._changed.wait()


class Run:
    """A source at work beside the test."""

    def __init__(self) -> None:
        self.ended = asyncio.Event()
        self.error: SourceLost | SourceRefused | None = None
        self.task: asyncio.Task[None] | None = None

    async def watch(self, source: Source, link: Collector) -> None:
        try:
            await source.run(link)
        except (SourceLost, SourceRefused) as error:
            self.error = error
        finally:
            self.ended.set()

    async def end(self) -> None:
        """Wait until the source ends by itself, and raise what it raised."""
        async with asyncio.timeout(20):
            await self.ended.wait()
        if self.error is not None:
            raise self.error

    async def cancel(self) -> None:
        """Cancel the source and wait for it."""
        assert self.task is not None
        self.task.cancel()
        await asyncio.wait([self.task])


@contextlib.asynccontextmanager
async def running(source: Source, link: Collector) -> AsyncIterator[Run]:
    """Run a source beside the test; at the end it is cancelled."""
    run = Run()
    async with asyncio.TaskGroup() as group:
        run.task = group.create_task(run.watch(source, link))
        yield run
        run.task.cancel()


@contextlib.asynccontextmanager
async def polling(
    site: Site, feed: dict[str, Any], position: Position | None = None, **settings: Any
) -> AsyncIterator[tuple[Source, Collector]]:
    """Configure a rest feed of a site, which is not running yet, and what collects its messages."""
    source, configuration = configured(
        {"kind": "rest", "path": "/items", "every": "1h", **feed}, **{"url": site.url, **settings}
    )
    async with Provider("test", configuration) as provider:
        yield source, Collector(provider, position)
