"""A rest feed that is asked for a range of time, span after span."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Any, ClassVar, Literal

import msgspec

from service.config.foreach import ForEach, Value
from service.model import Message, Position
from service.provider import Provider
from service.sources import Link, Receiver, Source, Tracked
from service.sources.rest import Rest
from service.spans import read_moment, steps


class Spans(Source):
    """Asks a rest feed for a range, span after span, and ends.

    The position holds ``since``, where the span begins that is under way or comes next, and ``rest``, that of the rest
    feed within it.
    """

    replayable: ClassVar[bool] = True
    pushed: ClassVar[bool] = False

    kind: Literal["rest"] = "rest"
    """As in the feed."""
    rest: Any
    """The rest feed."""
    since: datetime
    """Where the range begins."""
    until: datetime | None
    """Where it ends; None for now."""
    step: float | None
    """Seconds of a span; None for all at once."""

    async def run(self, link: Link) -> None:
        """Ask for what was not asked for before; see Source."""
        feed: Rest = self.rest
        before = link.position or {}
        since = read_moment(before["since"]) if before else self.since
        for start, end in steps(since, self.until or datetime.now(UTC), self.step):
            inner = before.get("rest") if start == since else None
            await feed.between(start, end).once(_Within(link, start, end, inner))


class _Within:
    """A link whose positions lie within a span."""

    def __init__(self, link: Link, start: datetime, end: datetime, position: Position | None) -> None:
        self._link = link
        self._start, self._end = start.isoformat(), end.isoformat()
        self.feed = link.feed
        self.provider: Provider = link.provider
        self.position = position
        self.notes: dict[str, Any] = {}

    async def emit(self, messages: Sequence[Message]) -> None:
        outer = [msgspec.structs.replace(each, position=self._outer(each.position)) for each in messages]
        await self._link.emit(outer)

    def _outer(self, inner: Position | None) -> Position | None:
        if inner is None:
            return None
        is_under_way = not {"walk", "broken", "round"}.isdisjoint(inner)
        return {"since": self._start, "rest": inner} if is_under_way else {"since": self._end}

    async def rows(self, each: ForEach) -> Sequence[Mapping[str, Value]]:
        return await self._link.rows(each)

    async def settled(self) -> None:
        await self._link.settled()

    @property
    def full(self) -> bool:
        return self._link.full

    def listen(self, receiver: Receiver) -> AbstractContextManager[None]:
        return self._link.listen(receiver)

    def alive(self, ago: float = 0.0) -> None:
        self._link.alive(ago)

    def missed(self, ago: float) -> None:
        self._link.missed(ago)

    def follow(self, subscriptions: Tracked | None) -> None:
        self._link.follow(subscriptions)

    async def wait_until(self, moment: float) -> None:
        await self._link.wait_until(moment)
