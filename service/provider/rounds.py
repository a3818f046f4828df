"""Rounds: one call, or walk through pages, for each row of a table or of a query, some of them at a time."""

import asyncio
import random
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from hashlib import blake2b
from typing import Any, Protocol, TypeAlias

import msgspec
import structlog

from service.config.foreach import ForEach, Value
from service.errors import NothingThere, SourceLost, SourceRefused, TokenRefused
from service.model import Message, Position
from service.provider import Provider
from service.provider.binding import text

log = structlog.get_logger()

LOST_IN_A_ROW = 10
"""So many calls without an answer after one another, and the provider itself is taken to be away."""
EMPTY = 10.0
"""Seconds after which a list without rows is looked at again, at the latest."""
SHORTEST, LONGEST = 0.5, 60.0
"""Seconds between two tries of calls that were lost: each time twice as many, unless the provider asks for more."""
PAGES = 5_000
"""The most pages, of all rows together, of which is remembered what they held; of each row one at least."""
POSITION_BYTES = 16 << 10
"""A position of up to so many bytes goes with each answer."""
POSITION_RATE = 256 << 10
"""Bytes a second of larger positions: one for 10,000 rows, with a cursor each, goes every five seconds."""

_ENTRY = 64
"""About the bytes that a row takes in the position."""
_SHORT = 60
"""Characters up to which a row's key is its value."""
_KEPT = ("cursor", "walk", "high", "broken")
"""What the position keeps of a row; the rest only spares work, and is remembered as long as the process lives."""


class Outlet(Protocol):
    """What a walk needs of its link; see Link in service.sources."""

    feed: str
    provider: Provider
    position: Position | None
    notes: dict[str, Any]

    async def emit(self, messages: Sequence[Message]) -> None:
        """Hand on messages."""

    def alive(self) -> None:
        """Note a sign of life."""

    async def wait_until(self, moment: float) -> None:
        """Wait for the next poll."""


class Hub(Outlet, Protocol):
    """What rounds need besides."""

    async def rows(self, each: ForEach) -> Sequence[Mapping[str, Value]]:
        """Give the rows to call for."""


Call: TypeAlias = Callable[[Mapping[str, Value], Outlet, int], Awaitable[Position]]
"""Asks for what belongs to one row and gives where that leads; it is told how many pages may be remembered."""


class Parent:
    """One row, as the link of the walk that belongs to it; see Link."""

    def __init__(self, rounds: "Rounds", hub: Hub, key: str, values: Mapping[str, Value]) -> None:
        self.key = key
        self.values = values
        self.feed = hub.feed
        self.provider = hub.provider
        self.position: Position | None = rounds.position_of(key)
        self.notes = rounds.notes_of(key)
        self.alive = hub.alive
        self.wait_until = hub.wait_until
        self._rounds = rounds
        self._params = {name: text(value) for name, value in values.items()}

    async def emit(self, messages: Sequence[Message]) -> None:
        """Hand on messages, with the row's values among their parameters."""
        await self._rounds.hand_on(self.key, [self._named(message) for message in messages])

    def _named(self, message: Message) -> Message:
        meta = message.meta or {}
        return msgspec.structs.replace(message, meta={**meta, "params": {**meta.get("params", {}), **self._params}})


class Rounds:
    """Calls for row after row, round after round; it knows how each is doing.

    The position holds ``items``, for each row, by its key, what a walk's position holds, and ``round``, the keys of
    those that are done, while a round is under way. Rows that are no longer in the list are forgotten.

    A row that is refused waits for the next round, and one that is lost is tried again before it, alone. Only what
    seems to be about the provider itself ends the poll: a token that is refused, no good answer at all, or many lost
    calls in a row.

    Args:
        link: of the feed.
        each: which rows, and how many at a time.
        call: asks for what belongs to one of them.
    """

    what = "rows"

    def __init__(self, link: Hub, each: ForEach, call: Call) -> None:
        self._link = link
        self._each = each
        self._call = call
        position, notes = link.position or {}, link.notes
        # What the notes hold is newer: rows without news are not in the position.
        self._states: dict[str, Position] = notes.setdefault("states", dict(position.get("items", {})))
        self._done: set[str] = notes.setdefault("done", set(position.get("round", ())))
        self._notes: dict[str, dict[str, Any]] = notes.setdefault("rows", {})
        self._resumes = bool(self._done)
        self._parents: dict[str, Mapping[str, Value]] = {}
        self._troubles: dict[str, SourceLost | SourceRefused] = {}
        self._told: set[str] = notes.setdefault("told", set())
        self._turn = asyncio.Lock()
        self._placed_at = float("-inf")  # when a position was handed on, by the monotonic clock
        self._tries = 0
        self._retry_at = 0.0
        self._end: SourceLost | SourceRefused | None = None
        self._in_a_row = 0

    # What a feed calls.

    async def poll(self) -> None:
        """Finish the round that an earlier run began, if one did, then go through a whole one.

        Raises:
            SourceLost: the provider, or the database, is away.
            SourceRefused: the provider will not serve us, or the rows cannot be read.
        """
        self._tries = 0
        if self._resumes:
            await self._finish()
            self._resumes = False
        self._done.clear()
        await self._finish()

    async def once(self) -> None:
        """Go through one round, or the rest of one.

        Raises:
            SourceLost, SourceRefused: as poll; also if a call was lost.
        """
        await self._finish()
        for fault in self._troubles.values():
            if isinstance(fault, SourceLost):
                raise fault

    async def rest(self, until: float) -> None:
        """Wait for the next round, and meanwhile try again what was lost, and look whether there are rows by now."""
        while True:
            soon = min(self._soon(), until)
            await self._link.wait_until(soon)
            if soon == until or time.time() < soon - 0.01:
                return  # it is time for the next, or it was asked for by hand
            await self._finish()

    def counts(self) -> dict[str, int]:
        """Give how many rows there are, and how many of them have no answer; see Tracked."""
        return {"all": len(self._parents), **Counter(_kind(fault) for fault in self._troubles.values())}

    def troubles(self) -> dict[str, str]:
        """Give what is wrong with a row, by its key; see Tracked."""
        return {key: fault.reason for key, fault in self._troubles.items()}

    def is_heard(self) -> bool:
        """Rows are called for, not listened to; see Tracked."""
        return True

    # What a row's link calls.

    def notes_of(self, key: str) -> dict[str, Any]:
        """Give what is remembered of a row."""
        return self._notes.setdefault(key, {})

    def position_of(self, key: str) -> Position:
        """Give where a row stands."""
        return self._states.get(key, {})

    async def hand_on(self, key: str, messages: Sequence[Message]) -> None:
        """Hand on messages of one row, in their turn: no position may overtake what it stands for."""
        async with self._turn:
            inner: Position | None = None
            placed = []
            for message in messages:
                inner = message.position or inner
                position = self._position(key, message.position) if message.position is not None else None
                placed.append(msgspec.structs.replace(message, position=position))
            await self._link.emit(placed)
            if inner is not None:
                self._stand(key, inner)

    # The rest.

    async def _finish(self) -> None:
        """Call for the rows that are not done in this round; those that stay so were lost."""
        await self._list()
        left = [key for key in self._parents if key not in self._done]
        if self._done:
            random.shuffle(left)  # a few that are always lost do not keep the others from their turn
        self._end, self._in_a_row = None, 0
        keys = deque(left)
        async with asyncio.TaskGroup() as group:
            for _ in range(min(self._each.concurrency, len(left))):
                group.create_task(self._work(keys), name=f"{self._link.feed} calls")
        self._tell()
        if self._end is not None:
            raise self._end
        faults = [self._troubles[key] for key in left if key in self._troubles]
        if faults and len(faults) == len(self._parents) and not any(_kind(fault) == "missing" for fault in faults):
            raise faults[0]  # nothing but failures: that is not about one row
        waits = [fault.retry_after or 0.0 for fault in self._troubles.values() if isinstance(fault, SourceLost)]
        if waits:
            self._retry_at = time.time() + max(min(SHORTEST * 2**self._tries, LONGEST), min(waits))
            self._tries += 1
        else:
            self._done.clear()

    async def _list(self) -> None:
        """Read the rows, and forget those that are not among them any more."""
        rows = await self._link.rows(self._each)
        self._parents = {_key(row): row for row in rows}
        known = self._states.keys() | self._notes.keys() | self._troubles.keys() | self._done
        for key in known - self._parents.keys():
            self._states.pop(key, None)
            self._notes.pop(key, None)
            self._troubles.pop(key, None)
            self._done.discard(key)
        if not rows:
            self._link.alive()

    async def _work(self, keys: deque[str]) -> None:
        while keys and self._end is None:
            await self._one(keys.popleft())

    async def _one(self, key: str) -> None:
        """Call for one row; what is wrong with it is noted."""
        parent = Parent(self, self._link, key, self._parents[key])
        try:
            position = await self._call(parent.values, parent, max(1, PAGES // len(self._parents)))
        except (SourceLost, OSError) as error:
            self._lose(key, error if isinstance(error, SourceLost) else SourceLost(str(error) or type(error).__name__))
            return
        except SourceRefused as refused:
            self._troubles[key] = refused
            if isinstance(refused, TokenRefused):
                self._end = refused
                return
            self._link.alive()
        else:
            self._troubles.pop(key, None)
            self._stand(key, position)
        self._in_a_row = 0
        self._done.add(key)

    def _lose(self, key: str, lost: SourceLost) -> None:
        self._troubles[key] = lost
        self._in_a_row += 1
        if self._in_a_row >= LOST_IN_A_ROW:
            self._end = lost

    def _soon(self) -> float:
        """Give when there is something to do before the next round."""
        if not self._parents:
            return time.time() + EMPTY
        return self._retry_at if self._done else float("inf")

    def _tell(self) -> None:
        """Say once that rows have no answer, and once that all have again."""
        kinds = {_kind(fault) for fault in self._troubles.values()}
        if kinds - self._told:
            key, fault = next(item for item in self._troubles.items() if _kind(item[1]) not in self._told)
            log.warning("rows without answer", feed=self._link.feed, **self.counts(), row=key, reason=fault.reason)
        elif self._told and not kinds:
            log.info("all rows answered", feed=self._link.feed, rows=len(self._parents))
        self._told.clear()
        self._told.update(kinds)

    def _stand(self, key: str, inner: Position) -> None:
        """Note where a row stands, all of that having been handed on."""
        if state := _state(inner):
            self._states[key] = state
        else:
            self._states.pop(key, None)

    def _position(self, key: str, inner: Position) -> Position | None:
        """Give the position of the feed once this row is where it is; None where that is not worth its bytes now."""
        done = self._done if "walk" in inner or "broken" in inner else self._done | {key}
        size, now = _ENTRY * (len(self._states) + len(done)), time.monotonic()
        is_whole = len(done) == len(self._parents)
        # By time, not by the answers: short ones would never make up for a position that grows with each of them.
        if size > POSITION_BYTES and now - self._placed_at < size / POSITION_RATE and not is_whole:
            return None
        self._placed_at = now
        items = {name: kept for name, kept in self._states.items() if name != key}
        if state := _state(inner):
            items[key] = state
        return {"items": items} if is_whole else {"items": items, "round": sorted(done)}


def _state(position: Position) -> Position:
    """Give what is kept of a row's position."""
    return {name: position[name] for name in _KEPT if name in position}


def _kind(fault: SourceLost | SourceRefused) -> str:
    """Give the word for a row without an answer."""
    if isinstance(fault, SourceLost):
        return "lost"
    return "missing" if isinstance(fault, NothingThere) else "refused"


def _key(row: Mapping[str, Value]) -> str:
    """Give a row's key: its values, or their beginning and what tells them from others."""
    written = ", ".join(map(text, row.values()))
    if len(row) == 1 and len(written) <= _SHORT:
        return written
    return f"{written[:_SHORT]} {blake2b(msgspec.json.encode(list(row.values())), digest_size=8).hexdigest()}"
