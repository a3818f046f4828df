"""Sources: how each kind of feed talks to its provider, one file a kind: its settings and one ``run``."""

from abc import abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, TypeAlias

from pydantic import Field, model_validator
from yarl import URL

from service.config.feeds import FeedSettings
from service.config.foreach import ForEach, Value
from service.model import Message, Position
from service.provider import Provider


@dataclass(frozen=True, slots=True)
class Delivery:
    """A request that somebody posted to a feed.

    Attributes:
        headers: found whatever the case of their names.
        query: the parameters of its address.
        chunks: the body as it comes in, compressed as it was sent.
    """

    headers: Mapping[str, str]
    query: Mapping[str, str]
    chunks: AsyncIterator[bytes]


@dataclass(frozen=True, slots=True)
class Answer:
    """What the sender of a delivery is told.

    Attributes:
        status: of HTTP.
        said: a few words on it, without secrets.
        retry_after: seconds after which it is worth another try.
    """

    status: int
    said: str
    retry_after: int | None = None


CLOSED = Answer(503, "the feed does not receive at the moment; send it again", retry_after=30)
"""What a sender is told while the source does not run: before the start, paused, or on the way out."""

Receiver: TypeAlias = Callable[[Delivery], Awaitable[Answer]]
"""Takes deliveries, several at a time."""


class Tracked(Protocol):
    """Subscriptions, or rows that a feed calls for, whose state can be shown.

    Attributes:
        what: the word for them in ``/status``.
    """

    what: str

    def counts(self) -> dict[str, int]:
        """Give how many are in which state, such as ``stale``."""

    def troubles(self) -> dict[str, str]:
        """Give what is wrong, by name."""

    def is_heard(self) -> bool:
        """Whether all are confirmed, and none that fell silent has yet to be heard again."""


class Link(Protocol):
    """What a source is given: its provider, where it left off, and a way to hand on what it receives.

    Attributes:
        feed: ``provider.feed``.
        provider: the shared client: base URL, credentials, rate limit.
        position: where to resume: that of the newest message handed on, in this run or an earlier one. A source that
            the provider does not let resume sets it to None.
        notes: what the source wants to remember from one run to the next, to spare work. A restart forgets it.
    """

    feed: str
    provider: Provider
    position: Position | None
    notes: dict[str, Any]

    async def emit(self, messages: Sequence[Message]) -> None:
        """Hand on messages, in order. Waits while the inlet is full: that wait is the backpressure."""

    async def settled(self) -> None:
        """Wait until everything handed on is safe in the buffer."""

    @property
    def full(self) -> bool:
        """Whether messages wait for room, so that ``emit`` or ``settled`` may take long."""

    async def rows(self, each: ForEach) -> Sequence[Mapping[str, Value]]:
        """Give the rows that the feed is to call for; no two are the same.

        Raises:
            SourceLost: the database is away.
            SourceRefused: it refuses the query, or there are more rows than allowed.
        """

    def listen(self, receiver: Receiver) -> AbstractContextManager[None]:
        """Within the block, let what is posted to ``/ingest/PROVIDER/FEED`` be received."""

    def alive(self, ago: float = 0.0) -> None:
        """Say that the provider answers, or did ``ago`` seconds ago (a poll without news, a heartbeat, a pong)."""

    def missed(self, ago: float) -> None:
        """Say that something was not heard for ``ago`` seconds, though the provider was: until ``is_heard``."""

    def follow(self, subscriptions: "Tracked | None") -> None:
        """Show how these subscriptions, or rows, do from now on; None when there are none any more."""

    async def wait_until(self, moment: float) -> None:
        """Wait until the moment (seconds since the epoch) of the next poll, or until a poll is asked for by hand.

        The moment is shown as ``next_poll_at``.
        """


class Idle:
    """What a link does that has no feed behind it: nobody asks, nobody looks, nothing is made safe; see Link."""

    full = False

    async def settled(self) -> None:
        """Wait for nothing."""

    def listen(self, receiver: Receiver) -> AbstractContextManager[None]:  # noqa: ARG002  there is no port to post to
        """Receive nothing."""
        return nullcontext()

    def alive(self, ago: float = 0.0) -> None:
        """Note nothing."""

    def missed(self, ago: float) -> None:
        """Note nothing."""

    def follow(self, subscriptions: "Tracked | None") -> None:
        """Show nothing."""

    async def wait_until(self, moment: float) -> None:
        """Wait for no next poll."""


class Source(FeedSettings):
    """One live feed. It knows its protocol and nothing else.

    It never retries, reconnects, counts, queues or stops itself: the pipeline calls ``run`` again after a pause, with
    the position of the last message that it handed on, and cancels it to stop.

    Attributes:
        listens: whether it takes deliveries.
    """

    listens: ClassVar[bool] = False

    @property
    def copies(self) -> int:
        """How many redundant connections receive the same; the first copy of a message wins."""
        return 1

    def parts(self) -> Sequence["Source"]:
        """Give the sources that together are this feed, each for a connection that lives and ends by itself."""
        return [self]

    def resumes(self, position: Position | None) -> bool:  # noqa: ARG002  for those that need one
        """Say whether the provider goes on from a position, so that what it said meanwhile is not missed."""
        return self.replayable

    @abstractmethod
    async def run(self, link: Link) -> None:
        """Receive until cancelled, or for as long as one connection lasts; returning means that the feed has ended.

        Raises:
            SourceLost: the provider cannot be reached, closed the connection, fell silent or asked us to wait.
            SourceRefused: the provider will not serve us as we are configured.
        """


class Addressed(Source):
    """A feed at an address of the web, below its provider's or one of its own."""

    path: str = ""
    """Added to the provider's base URL."""
    url: str | None = Field(default=None, pattern=r"^https?://")
    """A whole address, instead of the provider's base URL and `path`."""
    params: dict[str, str | int | float | bool] = Field(default={})
    """Parameters of the query."""
    headers: dict[str, str] = Field(default={})
    """Further headers."""

    @model_validator(mode="after")
    def _one_address(self) -> "Addressed":
        if self.url is not None and self.path:
            raise ValueError("a feed has either a `path` below the provider's url or a `url` of its own")
        if "://" in self.path.partition("?")[0]:
            raise ValueError("`path` lies below the provider's url; a whole address is written as `url`")
        return self

    def address(self, provider: Provider) -> URL:
        """Give the address, without ``params``.

        Raises:
            SourceRefused: neither the feed nor its provider has one.
        """
        return URL(self.url) if self.url is not None else provider.address(self.path)


def query(params: Mapping[str, str | float]) -> dict[str, str]:
    """Give parameters as they are written in a query: a boolean is ``true`` or ``false``."""
    return {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in params.items()}
