"""A feed at run time: keeps a source running for ever, and knows what state it is in."""

import asyncio
import contextlib
import time
from collections.abc import Iterator, Sequence

import structlog

from service.errors import SourceLost, SourceRefused
from service.model import Message, Position
from service.pipeline.backoff import CEILING, Backoff
from service.pipeline.inlet import Inlet
from service.provider import Provider
from service.sources import Receiver, Source

log = structlog.get_logger()

HEALTHY_AFTER = 30.0
"""Seconds that a connection must live before the delays start from the floor again."""
QUIET_AFTER = 60.0
"""Seconds without a message after which a feed that answers is called quiet."""
FULL_AFTER = 1.0
"""Seconds that a source must wait for room before its feed is called full."""


class Feed:
    """Runs one source again and again; it is the source's link to the rest.

    Attributes:
        feed: ``provider.feed``.
        position: of the newest message handed on.
        last_message_at: seconds since the epoch, or None.
        last_error: why the source last stopped, without secrets.
        next_poll_at: seconds since the epoch, or None for a source that does not poll.
        reconnects: how often the source was started again.
        receiver: takes what is posted to the feed, while its source listens.
        ended: set once the source has no more to give.
        refused: set once the provider refused us.
        gaps: how often a source that cannot be asked for what it missed was away after it had been live.
    """

    def __init__(self, feed: str, source: Source, provider: Provider, inlet: Inlet) -> None:
        self.feed = feed
        self.provider = provider
        self.position: Position | None = None
        self.last_message_at: float | None = None
        self.last_error: str | None = None
        self.next_poll_at: float | None = None
        self.reconnects = 0
        self.gaps = 0
        self.receiver: Receiver | None = None
        self.ended = asyncio.Event()
        self.refused = asyncio.Event()
        self._source = source
        self._inlet = inlet
        self._condition = "starting"
        self._alive_since: float | None = None
        self._attempt: asyncio.Timeout | None = None
        self._resumed = asyncio.Event()
        self._resumed.set()
        self._poke = asyncio.Event()
        self._backoff = Backoff()

    # What the source calls.

    async def emit(self, messages: Sequence[Message]) -> None:
        """Hand on messages; see Link."""
        if not messages:
            return
        self.alive()
        newest = messages[-1]
        self.last_message_at = newest.received_at
        for message in reversed(messages):
            if message.position is not None:
                self.position = message.position
                break
        await self._inlet.put(messages)

    async def settled(self) -> None:
        """Wait until everything handed on is safe; see Link."""
        await self._inlet.settled()

    def alive(self) -> None:
        """Note a sign of life; see Link."""
        if self._alive_since is None:
            self._alive_since = time.monotonic()
        if self._condition != "live":
            self._condition = "live"
            log.info("feed live", feed=self.feed)

    async def wait_until(self, moment: float) -> None:
        """Wait for the next poll; see Link."""
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
        return self._inlet.full

    @contextlib.contextmanager
    def listen(self, receiver: Receiver) -> Iterator[None]:
        """Let what is posted to the feed be received; see Link."""
        self.receiver = receiver
        try:
            yield
        finally:
            self.receiver = None

    # What the operator calls.

    def poll(self) -> None:
        """Poll now."""
        self._poke.set()

    def pause(self) -> None:
        """Stop receiving until resumed; what was received goes on to the database."""
        self._resumed.clear()
        if self._attempt is not None:
            self._attempt.reschedule(asyncio.get_running_loop().time())

    def resume(self) -> None:
        """Receive again."""
        self._resumed.set()

    @property
    def up(self) -> bool:
        """Whether the provider answers."""
        return self._condition == "live" and self._resumed.is_set()

    @property
    def state(self) -> str:
        """The state in the words of ``/status``."""
        if not self._resumed.is_set():
            return "paused"
        waiting = self._inlet.paused_since
        if waiting is not None and time.monotonic() - waiting > FULL_AFTER:
            return "full"
        if self._condition == "live" and time.time() - (self.last_message_at or 0) > QUIET_AFTER:
            return "quiet"
        return self._condition

    # The life of the source.

    async def run(self, stop: asyncio.Event) -> None:
        """Receive until ``stop`` is set."""
        async with asyncio.TaskGroup() as group:
            receiving = group.create_task(self._receive(), name=f"{self.feed} source")
            await stop.wait()
            receiving.cancel()

    async def _receive(self) -> None:
        while True:
            await self._resumed.wait()
            self._alive_since = None
            self.next_poll_at = None
            try:
                async with asyncio.timeout(None) as self._attempt:
                    await self._source.run(self)
            except SourceRefused as refused:
                self.refused.set()
                await self._rest("parked", refused.reason, CEILING)
            except SourceLost as lost:
                await self._rest("reconnecting", lost.reason, max(self._delay(), lost.retry_after or 0.0))
            except OSError as error:  # TimeoutError included: that of our own pause, too
                if self._attempt is not None and self._attempt.expired():
                    log.info("feed paused", feed=self.feed)
                    continue
                await self._rest("reconnecting", str(error) or type(error).__name__, self._delay())
            else:
                log.info("feed ended", feed=self.feed)
                self._condition = "ended"
                self.ended.set()
                return

    def _delay(self) -> float:
        if self._alive_since is not None and time.monotonic() - self._alive_since >= HEALTHY_AFTER:
            self._backoff.reset()
        return self._backoff.next()

    async def _rest(self, condition: str, reason: str, delay: float) -> None:
        """Say what happened, once per change, and wait."""
        if self._condition != condition or self.last_error != reason:
            log.warning("feed not live", feed=self.feed, state=condition, reason=reason, retry_in_s=round(delay, 1))
        if self._alive_since is not None and not self._source.replayable:
            self.gaps += 1
        self._condition = condition
        self.last_error = reason
        self.reconnects += 1
        await self.wait_until(time.time() + delay)
