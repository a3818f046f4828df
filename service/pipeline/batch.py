"""Batches: what becomes one transaction, and the place where the next one fills while the last is committed."""

import asyncio
from bisect import bisect_right
from collections.abc import Sequence
from types import TracebackType

import msgspec

from service.config.settings import Batch as Bounds
from service.errors import RowMissing, RowRefused
from service.model import Commit, Counts, Message, Position, Refusal, Row
from service.pipeline.conflate import Gone
from service.store.write import Heard, Patience, Sweep, Write
from service.transform.dedupe import Window
from service.transform.transform import Mapped, Transform


class Parsed(msgspec.Struct):
    """What consecutive messages became.

    Attributes:
        messages: each of them whole.
        starts: for each message the number of rows that come before its own.
        received: their records; a message that does not decode counts as one.
        rows: in the order of the records.
        refusals: what goes to quarantine.
        filtered: records that the feed's configuration leaves out.
        stale: records that went while they waited for room, as a newer one did.
        repeats: the numbers of rows that are to be left out because the last of their key was the same.
        era: the window's when the first of them was found.
        lost: as in Mapped; None, too, for a message that does not decode.
        origins: as in Mapped.
        sweep: what is absent once the messages are loaded.
        heard: gaps that the messages tell of.
    """

    messages: list[Message] = []
    starts: list[int] = []
    received: int = 0
    rows: list[Row] = []
    refusals: list[Refusal] = []
    filtered: int = 0
    stale: int = 0
    repeats: list[int] = []
    era: int = 0
    lost: list[Row | None] = []
    origins: list[tuple[str, int]] = []
    sweep: Sweep | None = None
    heard: Heard | None = None

    def add(self, mapped: Mapped, messages: Sequence[Message]) -> None:
        """Add what the next records became; ``messages`` are those that begin with them, the first pieces."""
        before = len(self.rows)
        self.messages += messages
        self.starts += [before + start for start in mapped.starts[: len(messages)]]
        self.rows += mapped.rows
        self.refusals += mapped.refusals
        self.filtered += mapped.filtered
        self.lost += mapped.lost
        self.origins += mapped.origins

    def leave_out(self, window: Window, mapped: Mapped) -> None:
        """Note which rows repeat the latest of their key, of what is to be added next."""
        if not self.repeats:
            self.era = window.era
        before = len(self.rows)
        self.repeats += [before + number for number in window.sift(mapped)]

    def add_gone(self, gone: Gone) -> None:
        """Add records that a message stands for."""
        self.received += gone.stale + gone.filtered
        self.stale += gone.stale
        self.filtered += gone.filtered


class Batch:
    """The rows, refusals and counts of consecutive messages of one feed. A message is never split.

    Args:
        transform: that the rows come from.
        window: forgets rows that the database refuses; None where nothing is remembered.

    Attributes:
        rows: of all messages, whatever becomes of them.
    """

    def __init__(self, transform: Transform, window: Window | None = None) -> None:
        self._transform = transform
        self._window = window
        self._origins: list[tuple[str, int]] = []
        self.rows: list[Row] = []
        self.refusals: list[Refusal] = []
        self.counts = Counts()
        self.first = 0
        self.last = 0
        self.source: Position | None = None
        self.size = 0
        self.oldest = 0.0
        self.sweep: Sweep | None = None
        self.heard: Heard | None = None
        self._messages: list[Message] = []
        self._starts: list[int] = []
        self._repeats: set[int] = set()
        self._era = 0
        self._refused: set[int] = set()
        self._standing: dict[str, list[int]] | None = None

    def __bool__(self) -> bool:
        return self.last > 0

    @property
    def count(self) -> int:
        """How many rows are to be written."""
        return len(self.rows) - len(self._repeats) - len(self._refused)

    @property
    def is_outdated(self) -> bool:
        """Whether rows are left out that may be news after all."""
        return bool(self._repeats) and self._window is not None and self._era != self._window.era

    def fills(self, bounds: Bounds) -> bool:
        """Say whether it has as much as a batch may have."""
        # What a sweep finds absent may be in the messages that follow: they belong to the next transaction.
        return len(self.rows) >= bounds.max_rows or self.size >= bounds.max_bytes or self.sweep is not None

    def add(self, first: int, parsed: Parsed) -> None:
        """Add the messages that follow, of which the first has the sequence number ``first``."""
        if not self._messages:
            self.first = first
            self.oldest = parsed.messages[0].received_at
        self.last = first + len(parsed.messages) - 1
        self.sweep = parsed.sweep
        if parsed.heard is not None:
            self.heard = self.heard or Heard()
            self.heard.add(parsed.heard)
        before = len(self.rows)
        for message in parsed.messages:
            self.size += len(message.body)
            if message.position is not None:
                self.source = message.position
        self._messages += parsed.messages
        self._starts += [before + start for start in parsed.starts]
        if parsed.repeats:
            self._era = min(self._era, parsed.era) if self._repeats else parsed.era
            self._repeats.update(before + number for number in parsed.repeats)
        self.rows += parsed.rows
        self._origins += parsed.origins
        self.refusals += parsed.refusals
        self.counts.duplicate += len(parsed.repeats)
        self.counts.received += parsed.received
        self.counts.filtered += parsed.filtered
        self.counts.stale += parsed.stale
        self.counts.quarantined += len(parsed.refusals)

    def refusal(self, table: str, row: int, reason: str, detail: str) -> Refusal:
        """Give what a row becomes that waits in vain for another; the transform is traced."""
        number = self._numbers()[table][row]
        if self._window is not None:  # the same again may be welcome
            self._window.forget(table, self.rows[number])
        message = self._messages[self._origin(number)]
        return self._transform.refusal(message, self._origins[number][1], table, reason, detail)

    def take_out(self, refused: RowRefused) -> None:
        """Set aside the row that the database refused."""
        table, reason, detail = refused.table, refused.reason, refused.detail
        number = self._numbers()[table].pop(refused.row)
        self._refused.add(number)
        row, origin = self.rows[number], self._origin(number)
        message = self._messages[origin]
        if self._transform.traced:
            is_missing = isinstance(refused, RowMissing)
            told = detail if is_missing else self._transform.refused(table, row, refused)
            refusal = self._transform.refusal(message, self._origins[number][1], table, reason, told)
            if self._window is not None:
                self._window.forget(table, row)
        else:
            refusal = self._transform.refuse(message, number - self._starts[origin], refused)
        self.refusals.append(refusal)
        self.counts.quarantined += 1

    def _origin(self, number: int) -> int:
        """Give which message a row came from."""
        return bisect_right(self._starts, number) - 1

    def _numbers(self) -> dict[str, list[int]]:
        """Give for each table which rows are to be written to it, in order."""
        if self._standing is None:
            names = self._transform.tables
            self._standing = {name: [] for name in names}
            out = self._repeats | self._refused
            for number in range(len(self.rows)):
                if number not in out:
                    self._standing[names[0] if len(names) == 1 else self._origins[number][0]].append(number)
        return self._standing

    def _by_table(self) -> dict[str, list[Row]]:
        """Give the rows that are to be written to each table, in order."""
        if self.is_outdated:
            self.counts.duplicate -= len(self._repeats)
            self._repeats, self._standing = set(), None
        if len(self._transform.tables) == 1 and self.count == len(self.rows):
            return {self._transform.tables[0]: self.rows}
        return {name: [self.rows[number] for number in numbers] for name, numbers in self._numbers().items()}

    def write(self, feed: str, lane: str, before: Commit | None, wait: float | None = None) -> Write:
        """Give what the store writes; ``wait`` is how many seconds deltas wait for their rows, if there are any."""
        return Write(
            feed=feed,
            rows=self._by_table(),
            refusals=[msgspec.structs.replace(refusal, feed=feed) for refusal in self.refusals],
            before=before,
            lane=lane,
            first=self.first,
            last=self.last,
            source=self.source,
            counts=self.counts,
            sweep=self.sweep,
            patience=Patience(feed, wait, self.refusal) if wait is not None else None,
            received_at=self._messages[-1].received_at,
            heard=self.heard,
            is_watched=self._window is not None,
        )


class Batches:
    """Hands batches from the transform to the loader, one filling while one is committed.

    That is the whole of batching: under load the filling batch grows while the other is committed; without load rows
    are taken as soon as they are there. Leaving the block says that no more will come.

    Attributes:
        bounds: of a batch.
        full: set while the filling batch is full, so that the transform waits, and at the end.
        abandoned: whether no batch will be taken any more.
    """

    def __init__(self, transform: Transform, bounds: Bounds, window: Window | None = None) -> None:
        self.bounds = bounds
        self._transform = transform
        self._window = window
        self._filling = Batch(transform, window)
        self._ready = asyncio.Event()
        self.full = asyncio.Event()
        self._taken = asyncio.Event()
        self._closed = False
        self.abandoned = False

    @property
    def oldest(self) -> float | None:
        """When the oldest message that waits here was received, in seconds since the epoch."""
        return self._filling.oldest or None

    @property
    def room(self) -> int:
        """Rows that the filling batch has room for, at least one."""
        return max(1, self.bounds.max_rows - len(self._filling.rows))

    async def add(self, first: int, parsed: Parsed) -> None:
        """Add the messages that follow to the filling batch; then wait while that is full."""
        self._filling.add(first, parsed)
        self._ready.set()
        while self._is_full() and not self.abandoned:
            self.full.set()
            self._taken.clear()
            await self._taken.wait()

    async def take(self, linger: float) -> Batch | None:
        """Take the batch: wait for a first message, then ``linger`` seconds for it to fill.

        Returns None when closed and empty.
        """
        await self._ready.wait()
        if not (self._closed or self._is_full()):
            try:
                async with asyncio.timeout(linger):
                    await self.full.wait()
            except TimeoutError:
                pass
        batch, self._filling = self._filling, Batch(self._transform, self._window)
        if not self._closed:
            self._ready.clear()
            self.full.clear()
        self._taken.set()
        return batch or None

    def doubt(self) -> None:
        """Leave nothing out for what was there before: rows may have changed, or gone."""
        if self._window is not None:
            self._window.clear()

    def abandon(self) -> None:
        """Let go whoever waits: nothing will be taken any more."""
        self.abandoned = True
        self._taken.set()

    def _is_full(self) -> bool:
        return self._filling.fills(self.bounds)

    async def __aenter__(self) -> "Batches":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed = True
        self._ready.set()
        self.full.set()
