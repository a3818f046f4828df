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
        duplicate: rows that were left out because the last of their key was the same.
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
    duplicate: int = 0
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
        self._numbers: list[int] | None = None

    def __bool__(self) -> bool:
        return self.last > 0

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
        self.rows += parsed.rows
        self._origins += parsed.origins
        self.refusals += parsed.refusals
        self.counts.duplicate += parsed.duplicate
        self.counts.received += parsed.received
        self.counts.filtered += parsed.filtered
        self.counts.stale += parsed.stale
        self.counts.quarantined += len(parsed.refusals)

    def _traced(self, table: str, row: int) -> int:
        """Give the number of a row among those of all tables: the rows of each were counted apart."""
        return [index for index, (name, _) in enumerate(self._origins) if name == table][row]

    def refusal(self, table: str, row: int, reason: str, detail: str) -> Refusal:
        """Give what a row becomes that waits in vain for another; the transform is traced."""
        at = self._traced(table, row)
        number = at if self._numbers is None else self._numbers[at]
        message = self._messages[bisect_right(self._starts, number) - 1]
        if self._window is not None:  # the same again may be welcome
            self._window.forget(table, self.rows[at])
        return self._transform.refusal(message, self._origins[at][1], table, reason, detail)

    def take_out(self, refused: RowRefused) -> None:
        """Set aside the row that the database refused."""
        if (
            self._numbers is None
        ):  # built only for a batch that needs it: rows shift, their first numbers tell whose they are
            self._numbers = list(range(len(self.rows)))
        at = refused.row
        if self._transform.traced:
            at = self._traced(refused.table, refused.row)
        number = self._numbers.pop(at)
        row = self.rows.pop(at)
        origin = bisect_right(self._starts, number) - 1
        message = self._messages[origin]
        reason, detail = refused.reason, refused.detail
        if self._transform.traced:
            table, index = self._origins.pop(at)
            is_missing = isinstance(refused, RowMissing)
            told = detail if is_missing else self._transform.refused(table, row, refused)
            refusal = self._transform.refusal(message, index, table, reason, told)
            if self._window is not None:
                self._window.forget(table, row)
        else:
            refusal = self._transform.refuse(message, number - self._starts[origin], refused)
        self.refusals.append(refusal)
        self.counts.quarantined += 1

    def _by_table(self) -> dict[str, list[Row]]:
        """Give the rows of each table, in order."""
        tables: dict[str, list[Row]] = {name: [] for name in self._transform.tables}
        if len(tables) == 1:
            return {self._transform.tables[0]: self.rows}
        for row, (table, _) in zip(self.rows, self._origins, strict=True):
            tables[table].append(row)
        return tables

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
