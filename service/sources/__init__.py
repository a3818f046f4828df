"""Sources: how each kind of feed talks to its provider, one file a kind: its settings and one ``run``."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Protocol

from service.config.feeds import FeedSettings
from service.model import Message, Position
from service.provider import Provider


class Link(Protocol):
    """What a source is given: its provider, where it left off, and a way to hand on what it receives.

    Attributes:
        feed: ``provider.feed``.
        provider: the shared client: base URL, credentials, rate limit.
        position: where to resume: that of the newest message handed on, in this run or an earlier one.
    """

    feed: str
    provider: Provider
    position: Position | None

    async def emit(self, messages: Sequence[Message]) -> None:
        """Hand on messages, in order. Waits while the inlet is full: that wait is the backpressure."""

    async def settled(self) -> None:
        """Wait until everything handed on is safe in the buffer."""

    def alive(self) -> None:
        """Say that the provider answers (a poll without news, a heartbeat, an acknowledgement)."""

    async def wait_until(self, moment: float) -> None:
        """Wait until the moment (seconds since the epoch) of the next poll, or until a poll is asked for by hand.

        The moment is shown as ``next_poll_at``.
        """


class Source(FeedSettings):
    """One live feed. It knows its protocol and nothing else.

    It never retries, reconnects, counts, queues or stops itself: the pipeline calls ``run`` again after a pause, with
    the position of the last message that it handed on, and cancels it to stop.
    """

    @abstractmethod
    async def run(self, link: Link) -> None:
        """Receive until cancelled, or for as long as one connection lasts; returning means that the feed has ended.

        Raises:
            SourceLost: the provider cannot be reached, closed the connection, fell silent or asked us to wait.
            SourceRefused: the provider will not serve us as we are configured.
        """
