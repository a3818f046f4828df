"""A feed at run time: the connections that it consists of, what they bring, and what state it is in."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import structlog

from service.config.foreach import ForEach, Value
from service.errors import SourceRefused
from service.model import Message, Position
from service.pipeline.cadence import Cadence
from service.pipeline.coverage import Away, Back, Coverage
from service.pipeline.gaps import away, back
from service.pipeline.inlet import Inlet
from service.pipeline.race import Race, Runner
from service.pipeline.strand import Strand
from service.provider import Provider
from service.sources import Receiver, Source
from service.store.write import Cause

log = structlog.get_logger()

RowsOf: TypeAlias = Callable[[ForEach], Awaitable[Sequence[Mapping[str, Value]]]]
"""Gives the rows that a feed is to call for."""

QUIET_AFTER = 60.0
"""Seconds without a message after which a feed that answers is called quiet."""
FULL_AFTER = 1.0
"""Seconds that a source must wait for room before its feed is called full."""
CONNECT_EVERY = 0.25
"""Seconds between the first attempts of a feed's connections, so that they do not arrive at once."""
_WORSE = ("live", "starting", "ended", "reconnecting", "parked")
"""Conditions of a connection, the best first."""


class Feed:
    """Runs the strands of one source, and joins what they bring.

    A feed of several parts is as well as the worst of them, and a part with redundant copies as well as the best.

    Attributes:
        feed: ``provider.feed``.
        position: of the newest message handed on.
        last_message_at: seconds since the epoch, or None.
        receiver: takes what is posted to the feed, while its source listens.
        ended: set once the source has no more to give.
        refused: set once the provider refused us.
    """

    def __init__(self, feed: str, source: Source, provider: Provider, inlet: Inlet, rows: RowsOf | None = None) -> None:
        self.feed = feed
        self.provider = provider
        self.last_message_at: float | None = None
        self.receiver: Receiver | None = None
        self.ended = asyncio.Event()
        self.refused = asyncio.Event()
        self._source = source
        self._inlet = inlet
        self._rows = rows
        self._cadence = Cadence()
        self._resumed = asyncio.Event()
        self._resumed.set()
        parts = source.parts()
        copies = range(source.copies)
        self._parts = [[Strand(self, part, number, copy) for copy in copies] for number, part in enumerate(parts)]
        self._races = [Race(source.copies) if source.copies > 1 else None for _ in parts]
        self._strands = [strand for strands in self._parts for strand in strands]
        self._turn = asyncio.Lock()
        self._coverage = Coverage(len(parts), source.copies)
        self._marks: list[Message] = []
        self._marked = asyncio.Event()

    @property
    def position(self) -> Position | None:
        """Where the feed stands: of several parts, where each does."""
        if len(self._parts) == 1:
            return self._strands[0].position
        positions = {str(number): strands[0].position for number, strands in enumerate(self._parts)}
        return {"parts": positions} if any(positions.values()) else None

    @position.setter
    def position(self, position: Position | None) -> None:
        # That of another number of parts, from before the configuration was changed, is of no use.
        parts: dict[str, Position] = (position or {}).get("parts", {})
        if len(self._parts) == 1:
            parts = {"0": position} if position is not None and not parts else {}
        for strand in self._strands:
            strand.position = parts.get(str(strand.part))

    # What the strands call.

    async def take(self, strand: Strand, messages: Sequence[Message]) -> None:
        """Take messages of a strand; see Hub."""
        self.last_message_at = messages[-1].received_at
        self._cadence.note(self.last_message_at)
        if len(self._strands) == 1:
            self._stand(strand, messages)
            await self._inlet.put(messages)
            return
        # One at a time: what arrived first must not be overtaken while it waits for room.
        async with self._turn:
            race = self._races[strand.part]
            first = race.first(strand.copy, messages) if race is not None else messages
            if first:
                self._stand(strand, first)
                await self._inlet.put([self._placed(message) for message in first])

    async def rows(self, each: ForEach) -> Sequence[Mapping[str, Value]]:
        """Give the rows to call for; see Link."""
        if self._rows is None:
            raise SourceRefused("there is no database whose rows could be called for")
        return await self._rows(each)

    async def settled(self) -> None:
        """Wait until everything taken is safe; see Hub."""
        await self._inlet.settled()

    @property
    def full(self) -> bool:
        """Whether messages wait for room; see Hub."""
        return self._inlet.full

    def again(self, strand: Strand) -> None:
        """Let a copy that connects again not count for what it missed; see Hub."""
        race = self._races[strand.part]
        if race is not None:
            race.again(strand.copy)

    def confirmed(self, strand: Strand, at: float) -> None:
        """Note that a strand listens; see Hub."""
        if not self._source.replayable:  # what can be asked for again is never missed
            self._mark(self._coverage.confirmed(strand.part, strand.copy, at), "reconnect")

    def lost(self, strand: Strand, cause: Cause) -> None:
        """Note that a strand does not listen any more; see Hub."""
        resumes = self._source.resumes(strand.position)
        if strand.resumed and not resumes:
            self._mark(self._coverage.refused(strand.part, strand.copy), cause)
        else:
            part, copy, heard, stale = strand.part, strand.copy, self._heard(strand), cause == "stale"
            self._mark(self._coverage.lost(part, copy, heard, resumes=resumes, stale=stale), cause)

    def _heard(self, strand: Strand) -> float | None:
        """Give up to when a strand has heard all that was said; who is posted to needs no sign of life."""
        return time.time() if self._source.listens and strand.heard is not None else strand.heard

    def _mark(self, marks: Sequence[Away | Back], cause: Cause) -> None:
        """Let it be known, in the order of the messages, that nobody listens or that all is heard again."""
        self._marks += _messages(marks, cause)
        self._marked.set()

    def _stand(self, strand: Strand, messages: Sequence[Message]) -> None:
        for message in reversed(messages):
            if message.position is not None:
                for copy in self._parts[strand.part]:
                    copy.position = message.position
                return

    def _placed(self, message: Message) -> Message:
        """Give a message the position of the whole feed, in place of that of its part."""
        if message.position is None or len(self._parts) == 1:
            return message
        return Message(message.body, message.received_at, self.position, message.meta)

    # What the operator calls.

    def poll(self) -> None:
        """Poll now."""
        for strand in self._strands:
            strand.poll()

    async def polled(self) -> None:
        """Wait until a poll is complete that begins after this."""
        for strand in self._strands:
            await strand.polled()

    def pause(self) -> None:
        """Stop receiving until resumed; what was received goes on to the database."""
        self._resumed.clear()
        for strand in self._strands:
            strand.pause()

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
        if self._condition != "live":
            return self._condition
        if self.stale:
            return "stale"
        return "quiet" if time.time() - (self.last_message_at or 0) > QUIET_AFTER else "live"

    @property
    def stale(self) -> bool:
        """Whether there were no data for longer than there should be, or than there ever were."""
        silent, freshness = self.silence, self.freshness
        if silent is not None and freshness is not None and silent > freshness:
            return True
        return any(all(strand.stale for strand in strands) for strands in self._parts)

    @property
    def freshness(self) -> float | None:
        """Seconds without data after which the feed is stale: as configured, or learned; None as long as neither."""
        return self._source.freshness or self._cadence.freshness

    @property
    def silence(self) -> float | None:
        """Seconds since the last data; None before the first."""
        return time.time() - self.last_message_at if self.last_message_at is not None else None

    @property
    def last_error(self) -> str | None:
        """Why a strand last stopped: of those that are not live, if there are any."""
        errors = sorted(self._strands, key=lambda strand: _WORSE.index(strand.condition), reverse=True)
        return next((strand.last_error for strand in errors if strand.last_error is not None), None)

    @property
    def next_poll_at(self) -> float | None:
        """Seconds since the epoch, or None for a source that does not poll."""
        return min((strand.next_poll_at for strand in self._strands if strand.next_poll_at is not None), default=None)

    @property
    def reconnects(self) -> int:
        """How often a source was started again."""
        return sum(strand.reconnects for strand in self._strands)

    @property
    def _condition(self) -> str:
        best = [min((strand.condition for strand in strands), key=_WORSE.index) for strands in self._parts]
        return max(best, key=_WORSE.index)

    def runners(self) -> Iterator[tuple[int, int, Runner]]:
        """Give how redundant connections do against each other: number of the part, of the copy, and its figures."""
        for part, race in enumerate(self._races):
            yield from ((part, copy, runner) for copy, runner in enumerate(race.runners if race is not None else ()))

    def connections(self) -> list[dict[str, Any]]:
        """Say how each connection does, where there are several or it has subscriptions."""
        shown = []
        for strand in self._strands:
            status = strand.status()
            race = self._races[strand.part]
            if race is not None:
                runner = race.runners[strand.copy]
                behind = round(1000 * runner.behind / runner.later, 3) if runner.later else None
                status |= {"first": runner.first, "later": runner.later, "behind_ms": behind}
            shown.append(status)
        return shown if len(shown) > 1 or "troubles" in shown[0] else []

    async def run(self, stop: asyncio.Event) -> None:
        """Receive until ``stop`` is set."""
        await self._tell(self._coverage.begin(self._resuming()))
        async with asyncio.TaskGroup() as group:
            receiving = [
                group.create_task(self._run(strand, number * CONNECT_EVERY), name=f"{self.feed} source")
                for number, strand in enumerate(self._strands)
            ]
            receiving.append(group.create_task(self._hand_marks_on(), name=f"{self.feed} marks"))
            await stop.wait()
            heard = {(each.part, each.copy): at for each in self._strands if (at := self._heard(each)) is not None}
            for task in receiving:
                task.cancel()
        await self._tell(self._coverage.end(heard, self._resuming()))

    def _resuming(self) -> set[int]:
        return {strand.part for strand in self._strands if self._source.resumes(strand.position)}

    async def _tell(self, marks: Sequence[Away | Back]) -> None:
        """Let it be known that nobody listened before this run, or listens after it."""
        messages = [*self._marks, *_messages(marks, "restart")]
        self._marks.clear()
        if messages:
            await self._inlet.put(messages)

    async def _hand_marks_on(self) -> None:
        while True:
            await self._marked.wait()
            self._marked.clear()
            marks, self._marks = self._marks, []
            await self._inlet.put(marks)

    async def _run(self, strand: Strand, delay: float) -> None:
        """Run a strand; the feed has ended when all have."""
        await strand.run(self._resumed, delay)
        if all(each.condition == "ended" for each in self._strands):
            self.ended.set()


def _messages(marks: Sequence[Away | Back], cause: Cause) -> list[Message]:
    now = time.time()
    return [back(mark.at, now) if isinstance(mark, Back) else away(cause, mark.since, now) for mark in marks]
