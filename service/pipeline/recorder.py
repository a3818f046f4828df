"""The recorder: receives one feed as the daemon does, and keeps what passes in a file instead of a buffer."""

import asyncio
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

from service.config.feeds import FeedSettings
from service.config.foreach import ForEach, Value
from service.errors import SourceLost, SourceRefused
from service.model import Message
from service.pipeline.events import first_of
from service.pipeline.strand import Strand
from service.provider import Provider
from service.provider.wire import WITNESS
from service.recording.event import Event, Kind, arrived
from service.recording.writing import Writer
from service.sources import Link, Receiver, Source
from service.store.write import Cause

FLUSH_SECONDS = 0.5
"""The most that a crash can cost."""
BLOCK_BYTES = 1 << 20
"""Bytes that are worth a block before that."""
MAX_BYTES = 16 << 20
"""Bytes that may wait to be written before the source waits."""

_NAMES = r"key|token|secret|pass|sign|auth|credential|session|cookie"
_FIELD = re.compile(rf'("[^"]*(?:{_NAMES})[^"]*"\s*:\s*)("(?:\\.|[^"\\])*"?|[^,{{}}\[\]\s]+)', re.IGNORECASE)
_PARAMETER = re.compile(rf"([?&][^=&\s]*(?:{_NAMES})[^=&\s]*=)[^&\s]*", re.IGNORECASE)


class Limits(msgspec.Struct, frozen=True):
    """When a recording is complete; None for never.

    Attributes:
        messages: it has so many.
        size: its file has so many bytes.
        seconds: it lasted so long.
    """

    messages: int | None = None
    size: int | None = None
    seconds: float | None = None


class Recorder:
    """Runs the connections of a feed, and writes down what they bring: it is their hub.

    Of redundant connections only one is opened: what the others bring is the same.

    Args:
        name: ``provider.feed``.
        source: what is received from.
        provider: that it belongs to, entered.
        writer: of the recording.
        limits: of the recording.

    Attributes:
        messages: how many are recorded.
        bytes: of their bodies.
        strands: the connections.
    """

    receiver: Receiver | None = None
    full = False

    def __init__(self, name: str, source: Source, provider: Provider, writer: Writer, limits: Limits) -> None:
        self.feed = name
        self.provider = provider
        self.refused = asyncio.Event()
        self.messages = 0
        self.bytes = 0
        self._writer = writer
        self._limits = limits
        self._events: list[Event] = []
        self._held = 0
        self._changed = asyncio.Condition()
        self._enough, self._ended, self._closed = asyncio.Event(), asyncio.Event(), False
        parts = [_watched(part, Watch(self, number)) for number, part in enumerate(source.parts())]
        self.strands = [Strand(self, part, number) for number, part in enumerate(parts)]

    async def run(self, stop: asyncio.Event) -> None:
        """Record until it is enough, the source ends, the provider refuses us, or ``stop`` is set.

        Raises:
            OSError: the file cannot be written (in an ExceptionGroup).
        """
        async with asyncio.TaskGroup() as writing:
            writing.create_task(self._write(), name="recording")
            async with asyncio.TaskGroup() as receiving:
                tasks = [receiving.create_task(self._receive(strand)) for strand in self.strands]
                try:
                    async with asyncio.timeout(self._limits.seconds):
                        await first_of(stop, self._enough, self._ended, self.refused)
                except TimeoutError:
                    pass
                for task in tasks:
                    task.cancel()
            async with self._changed:
                self._closed = True
                self._changed.notify_all()

    def confirmed(self, strand: Strand, at: float) -> None:
        """Nobody asks since when a connection listens; see Hub."""

    async def rows(self, each: ForEach) -> Sequence[Mapping[str, Value]]:
        """Give no rows to call for; see Hub.

        Raises:
            SourceRefused: always, for a recording knows no database.
        """
        raise SourceRefused(f"a recording knows no database whose rows could be called for: {each.model_dump()}")

    async def take(self, strand: Strand, messages: Sequence[Message]) -> None:
        """Take messages of a connection; wait while too much waits to be written; see Hub."""
        if self._limits.messages is not None:
            messages = messages[: max(0, self._limits.messages - self.messages)]
        self.messages += len(messages)
        self.bytes += sum(len(message.body) for message in messages)
        for message in messages:
            self.note(arrived(_shown(message), strand.part), len(message.body))
        if self._limits.messages is not None and self.messages >= self._limits.messages:
            self._enough.set()
        async with self._changed:
            self._changed.notify_all()
            await self._changed.wait_for(lambda: self._held < MAX_BYTES or self._closed)

    def note(self, event: Event, size: int = 0) -> None:
        """Add an event, of about so many bytes."""
        self._events.append(event)
        self._held += size

    async def settled(self) -> None:
        """Wait for nothing: what is not written yet need not be acknowledged; see Hub."""

    def again(self, strand: Strand) -> None:
        """Nobody races; see Hub."""

    def lost(self, strand: Strand, cause: Cause) -> None:
        """What it said last is in the recording; see Hub."""

    async def _receive(self, strand: Strand) -> None:
        resumed = asyncio.Event()
        resumed.set()
        await strand.run(resumed)
        if all(each.condition == "ended" for each in self.strands):
            self._ended.set()

    async def _write(self) -> None:
        while True:
            try:
                async with asyncio.timeout(FLUSH_SECONDS), self._changed:
                    await self._changed.wait_for(lambda: self._held >= BLOCK_BYTES or self._closed)
            except TimeoutError:
                pass
            is_last = self._closed
            events, self._events, self._held = self._events, [], 0
            if events:
                await asyncio.to_thread(self._writer.write, events)
            if self._limits.size is not None and self._writer.size >= self._limits.size:
                self._enough.set()
            async with self._changed:
                self._changed.notify_all()
            if is_last:
                return


class Watch:
    """Writes down what happens on one connection, without secrets; see Witness."""

    def __init__(self, recorder: Recorder, connection: int) -> None:
        self._recorder = recorder
        self._connection = connection

    def opened(self, address: str) -> None:
        """Note a connection; see Witness."""
        self._note("open", address)

    def sent(self, text: str) -> None:
        """Note what we sent; see Witness."""
        self._note("sent", text)

    def heard(self, text: str | bytes) -> None:
        """Note what is no data; see Witness."""
        self._note("heard", text)

    def closed(self, reason: str) -> None:
        """Note that a connection, or a poll, has ended."""
        self._note("close", reason)

    def _note(self, kind: Kind, text: str | bytes) -> None:
        said = without_secrets(self._recorder.provider.blanked(text))
        self._recorder.note(Event(time.time(), kind, self._connection, said), len(said))


class Watched(Source):
    """A part of a source, with somebody who watches it."""

    kind: Literal["watched"] = "watched"
    part: Any
    """What is run."""
    watch: Any
    """Who watches."""

    async def run(self, link: Link) -> None:
        """Run the part; see Source."""
        watching = WITNESS.set(self.watch)
        try:
            await self.part.run(link)
        except (SourceLost, SourceRefused) as error:
            self.watch.closed(error.reason)
            raise
        except OSError as error:
            self.watch.closed(str(error) or type(error).__name__)
            raise
        except asyncio.CancelledError:
            self.watch.closed("closed by us: the recording ends")
            raise
        else:
            self.watch.closed("the source has ended")
        finally:
            WITNESS.reset(watching)


def without_secrets(text: str) -> str:
    """Blank out what stands in JSON, or in an address, under a name that sounds secret."""
    return _PARAMETER.sub(r"\1***", _FIELD.sub(r'\1"***"', text))


def excerpt(feed: FeedSettings, provider: Provider) -> Mapping[str, Any]:
    """Give the settings of a feed that are not its defaults, without secrets."""
    settings = feed.model_dump_json(by_alias=True, exclude_unset=True, serialize_as_any=True, warnings=False)
    found: dict[str, Any] = msgspec.json.decode(without_secrets(provider.blanked(settings)))
    return found


def _watched(part: Source, watch: Watch) -> Watched:
    common = {name: getattr(part, name) for name in FeedSettings.model_fields}
    return Watched.model_construct(**common, part=part, watch=watch)


def _shown(message: Message) -> Message:
    """Give a message whose parameters hold no secret."""
    params = (message.meta or {}).get("params")
    if not isinstance(params, Mapping) or not any(re.search(_NAMES, name, re.IGNORECASE) for name in params):
        return message
    shown = {name: "***" if re.search(_NAMES, name, re.IGNORECASE) else value for name, value in params.items()}
    return msgspec.structs.replace(message, meta={**(message.meta or {}), "params": shown})
