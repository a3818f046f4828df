"""A strand: one connection of a feed, which it keeps alive for ever."""

import asyncio
import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import structlog

from service.config.foreach import ForEach, Value
from service.errors import SourceLost, SourceRefused
from service.model import Message, Position
from service.pipeline.backoff import CEILING, Backoff
from service.provider import Provider
from service.sources import Receiver, Source, Tracked
from service.store.write import Cause

log = structlog.get_logger()

HEALTHY_AFTER = 30.0
"""Seconds that a connection must live before the delays start from the floor again."""


class Hub(Protocol):
    """What the strands of a feed have in common."""

    feed: str
    provider: Provider
    refused: asyncio.Event
    receiver: Receiver | None

    @property
    def full(self) -> bool:
        """Whether messages wait for room."""

    async def take(self, strand: "Strand", messages: Sequence[Message]) -> None:
        """Take messages of a strand, in order; wait while there is no room."""

    async def rows(self, each: ForEach) -> Sequence[Mapping[str, Value]]:
        """Give the rows to call for; see Link."""

    async def settled(self) -> None:
        """Wait until everything taken is safe."""

    def again(self, strand: "Strand") -> None:
        """Note that a strand connects again."""

    def confirmed(self, strand: "Strand", at: float) -> None:
        """Note that a strand listens, to all that it subscribes to."""

    def lost(self, strand: "Strand", cause: Cause) -> None:
        """Note that a strand does not listen any more, or not to all that it subscribes to."""


class Polls:
    """Counts the polls of a source, so that one can be waited for that began after something."""

    def __init__(self) -> None:
        self._begun = 0
        self._done = 0
        self._asked = 0
        self._ended = asyncio.Event()

    def begin(self) -> None:
        """Note that a poll begins."""
        self._begun += 1

    def end(self) -> bool:
        """Note that the poll is complete; say whether there is time until the next."""
        self._done = self._begun
        self._ended.set()
        return self._begun >= self._asked

    def ask(self) -> int:
        """Ask for a poll that begins from now on; return its number."""
        self._asked = self._begun + 1
        return self._asked

    async def done(self, number: int) -> None:
        """Wait until a poll of that number, or a later one, is complete."""
        while self._done < number:
            self._ended.clear()
            await self._ended.wait()


class Strand:
    """Runs one part of a source again and again; it is the source's link to the rest.

    Attributes:
        part: number of the part of the feed that it receives.
        copy: number among those that receive the same.
        position: where it stands.
        condition: ``starting``, ``live``, ``reconnecting``, ``parked`` or ``ended``.
        last_error: why the source last stopped, without secrets.
        next_poll_at: seconds since the epoch, or None.
        reconnects: how often the source was started again.
        resumed: whether the provider was to go on from a position when the connection was begun.
        heard: the last sign of life of the connection, in seconds since the epoch, or None.
        tracked: its subscriptions, or rows, while it has any.
        notes: what its source remembers; see Link.
    """

    def __init__(self, hub: Hub, source: Source, part: int = 0, copy: int = 0) -> None:
        self.feed = hub.feed
        self.provider = hub.provider
        self.part = part
        self.copy = copy
        self.position: Position | None = None
        self.condition = "starting"
        self.last_error: str | None = None
        self.next_poll_at: float | None = None
        self.reconnects = 0
        self.resumed = False
        self.heard: float | None = None
        self.tracked: Tracked | None = None
        self.notes: dict[str, Any] = {}
        self._hub = hub
        self._source = source
        self._alive_since: float | None = None
        self._is_confirmed = False
        self._polls = Polls()
        self._attempt: asyncio.Timeout | None = None
        self._poke = asyncio.Event()
        self._backoff = Backoff()

    # What the source calls.

    async def emit(self, messages: Sequence[Message]) -> None:
        """Hand on messages; see Link."""
        if messages:
            self.alive()
            await self._hub.take(self, messages)

    async def rows(self, each: ForEach) -> Sequence[Mapping[str, Value]]:
        """Give the rows to call for; see Link."""
        return await self._hub.rows(each)

    async def settled(self) -> None:
        """Wait until everything handed on is safe; see Link."""
        await self._hub.settled()

    def alive(self, ago: float = 0.0) -> None:
        """Note a sign of life; see Link."""
        at = time.time() - ago
        if self.heard is None or at > self.heard:
            self.heard = at
        if not self._is_confirmed and (self.tracked is None or self.tracked.is_heard()):
            self._is_confirmed = True
            self._hub.confirmed(self, at)
        if self._alive_since is None:
            self._alive_since = time.monotonic()
        if self.condition != "live":
            self.condition = "live"
            log.info("feed live", feed=self.feed, **self._which())

    def missed(self, ago: float) -> None:
        """Note that something was not heard; see Link."""
        if self._is_confirmed:
            self._is_confirmed = False
            self.heard = time.time() - ago
            self._hub.lost(self, "stale")

    def follow(self, subscriptions: Tracked | None) -> None:
        """Show how these subscriptions do; see Link."""
        self.tracked = subscriptions

    async def wait_until(self, moment: float) -> None:
        """Wait for the next poll; see Link."""
        if self._polls.end():
            await self._pause(moment)
        self._polls.begin()

    async def _pause(self, moment: float) -> None:
        """Wait until a moment, or until a poll is asked for by hand."""
        self.next_poll_at = moment
        self._poke.clear()
        try:
            async with asyncio.timeout(max(0.0, moment - time.time())):
                await self._poke.wait()
        except TimeoutError:
            pass

    @property
    def full(self) -> bool:
        """Whether messages wait for room; see Link."""
        return self._hub.full

    @contextlib.contextmanager
    def listen(self, receiver: Receiver) -> Iterator[None]:
        """Let what is posted to the feed be received; see Link."""
        self._hub.receiver = receiver
        try:
            yield
        finally:
            self._hub.receiver = None

    # What the feed calls.

    def poll(self) -> None:
        """Poll now."""
        self._poke.set()

    async def polled(self) -> None:
        """Wait until a poll is complete that begins after this; ask for it, unless the last one failed."""
        number = self._polls.ask()
        if self.condition not in {"reconnecting", "parked"}:
            self._poke.set()
        await self._polls.done(number)

    def pause(self) -> None:
        """End the connection that there is."""
        if self._attempt is not None:
            self._attempt.reschedule(asyncio.get_running_loop().time())
            self._attempt = None

    @property
    def stale(self) -> bool:
        """Whether one of its subscriptions has had no data for too long."""
        return self.tracked is not None and self.tracked.counts().get("stale", 0) > 0

    def status(self) -> dict[str, Any]:
        """Say how it does, in the words of ``/status``."""
        shown: dict[str, Any] = {
            "state": "stale" if self.condition == "live" and self.stale else self.condition,
            "last_error": self.last_error,
            "reconnects": self.reconnects,
        }
        if self.tracked is not None:
            shown[self.tracked.what] = self.tracked.counts()
            shown["troubles"] = dict(list(self.tracked.troubles().items())[:20])
        return shown

    async def run(self, resumed: asyncio.Event, delay: float = 0.0) -> None:
        """Receive for ever, or until the source has ended; not while ``resumed`` is cleared.

        Args:
            resumed: cleared while the feed is paused.
            delay: seconds before the first connection.
        """
        if delay:
            await self._pause(time.time() + delay)
        first = True
        while True:
            await resumed.wait()
            if not first:
                self._hub.again(self)
            first = False
            self._alive_since = None
            self.heard, self._is_confirmed = None, False
            self.resumed = self._source.resumes(self.position)
            self.next_poll_at = None
            self._polls.begin()
            attempt = asyncio.timeout(None)
            try:
                async with attempt:
                    await self._attempted(attempt)
            except SourceRefused as refused:
                self._hub.refused.set()
                await self._rest("parked", refused.reason, CEILING)
            except SourceLost as lost:
                await self._rest("reconnecting", lost.reason, max(self._delay(), lost.retry_after or 0.0))
            except OSError as error:  # TimeoutError included: that of our own pause, too
                if attempt.expired():
                    log.info("feed paused", feed=self.feed, **self._which())
                    self._hub.lost(self, "paused")
                    continue
                await self._rest("reconnecting", str(error) or type(error).__name__, self._delay())
            else:
                log.info("feed ended", feed=self.feed, **self._which())
                self.condition = "ended"
                return

    async def _attempted(self, attempt: asyncio.Timeout) -> None:
        """Run the source, which a pause can end as long as it runs."""
        self._attempt = attempt
        try:
            await self._source.run(self)
        finally:
            self._attempt = None

    def _delay(self) -> float:
        if self._alive_since is not None and time.monotonic() - self._alive_since >= HEALTHY_AFTER:
            self._backoff.reset()
        return self._backoff.next()

    async def _rest(self, condition: str, reason: str, delay: float) -> None:
        """Say what happened, once per change, and wait."""
        reason = self.provider.blanked(reason)  # its address may hold a secret, too
        if self.condition != condition or self.last_error != reason:
            shown = {"state": condition, "reason": reason, "retry_in_s": round(delay, 1), **self._which()}
            log.warning("feed not live", feed=self.feed, **shown)
        self.condition = condition
        self.last_error = reason
        self.reconnects += 1
        self._hub.lost(self, "reconnect")
        await self._pause(time.time() + delay)

    def _which(self) -> dict[str, int]:
        """Tell the connections of a feed apart in the log, where there are several."""
        return {"connection": self.part, "copy": self.copy} if self.part or self.copy else {}
