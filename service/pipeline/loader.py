"""The loader: commits one batch after another, and owns every failure of the database."""

import asyncio
import contextlib
import time
from collections import Counter
from functools import partial

import msgspec
import structlog

from service.errors import RowRefused, RowsTouched, StoreLost, TableRefused
from service.model import Commit, Counts, Lane, Position
from service.pipeline.backoff import Backoff
from service.pipeline.batch import Batch, Batches
from service.pipeline.breaker import Breaker
from service.pipeline.events import first_of
from service.pipeline.gaps import Gaps
from service.pipeline.ledger import Ledger
from service.pipeline.tap import Tap
from service.pipeline.timings import Timings
from service.pipeline.turns import NotYet, Turn
from service.store.store import Store
from service.store.write import Write

log = structlog.get_logger()

LINGER_FACTOR = 2.0
"""How many commit times a row may wait for company: keeps the database two thirds idle when little arrives."""
SETTLE_EVERY = 0.5
"""Seconds between two looks at what waits for its row, while something does."""


class Loader:
    """Writes the batches of one feed, in order, each with the position that it brings the feed to.

    Args:
        feed: the name that its position is kept under.
        store: that is written to.
        lane: that may forget what is committed.
        batches: that are written.
        ledger: that is told of them.
        wait: seconds that a delta waits for its row; None for a feed without deltas.

    Attributes:
        linger: seconds that rows wait for company, until there are enough for a batch.
        trouble: why nothing can be written at the moment, or None.
    """

    def __init__(  # noqa: PLR0913  all that a commit needs, and all who are told of it
        self,
        feed: str,
        store: Store,
        lane: Lane,
        batches: Batches,
        ledger: Ledger,
        breaker: Breaker,
        tap: Tap,
        *,
        wait: float | None = None,
        gaps: Gaps | None = None,
    ) -> None:
        self._feed = feed
        self._store = store
        self._lane = lane
        self._batches = batches
        self._ledger = ledger
        self._breaker = breaker
        self._tap = tap
        self._wait_for_row = wait
        self._gaps = gaps
        self._settling = asyncio.Lock()
        self.linger = 0.0
        self._moved = asyncio.Event()
        self._at: Commit | None = None
        self._loading: list[Batch] = []
        self._taking = asyncio.Lock()
        self._newest: Turn | None = None
        self._patience = asyncio.Event()
        self.trouble: str | None = None
        self.timings = Timings()

    @property
    def oldest(self) -> float | None:
        """When the oldest message that is not committed was received, of those that left the buffer."""
        return self._loading[0].oldest if self._loading else self._batches.oldest

    @property
    def standing(self) -> Position | None:
        """Where the source may resume after all that is committed."""
        return self._at.source if self._at is not None else None

    def give_up(self) -> None:
        """From now on, do not wait for a database that is away: the buffer keeps what is not committed."""
        self._patience.set()

    async def ready(self, prepared: asyncio.Event) -> None:
        """Wait until the tables exist.

        Raises:
            StoreLost: they do not, and nobody wants to wait any longer.
        """
        await first_of(prepared, self._patience)
        if not prepared.is_set():
            raise StoreLost("the tables are not prepared")

    async def position(self) -> Commit | None:
        """Read where the feed stands, however long the database is away.

        Raises:
            StoreLost: it is away and nobody wants to wait any longer.
        """
        delays = Backoff(ceiling=10)
        while True:
            try:
                self._at = await self._store.position(self._feed)
                if self._gaps is not None:
                    known = await self._store.heard(self._feed)
                    self._gaps.recall(known, self._at.received_at if self._at is not None else None)
            except (StoreLost, TableRefused) as error:
                await self._wait(error, delays)
            else:
                self._recovered()
                self._ledger.open(self._at)
                return self._at

    async def reached(self, sequence: int) -> None:
        """Wait until everything up to a sequence number of the lane is committed."""
        while self._at is None or self._at.lane != self._lane.id or self._at.sequence < sequence:
            if not sequence:
                return
            self._moved.clear()
            await self._moved.wait()

    async def run(self) -> None:
        """Commit until the batches end, or until told to give up while the database is away.

        Two hands take turns. While one commits, the other may already bring the next batch to the database: its rows
        lie ready in a temporary table when its turn comes. Deltas cannot be staged before what they are merged with.
        """
        async with asyncio.TaskGroup() as hands:
            for _ in range(2 if self._wait_for_row is None else 1):
                hands.create_task(self._work())

    async def _work(self) -> None:
        while (taken := await self._take()) is not None:
            batch, turn = taken
            try:
                await self._load(batch, turn)
            except StoreLost:
                self._batches.abandon()
                return
            await self._lane.forget(batch.last)

    async def _take(self) -> tuple[Batch, Turn] | None:
        """Take the next batch: once the one before is committed, or before that if it is full and the store has room.

        Returns None when there is none, or nobody wants to wait any longer.
        """
        async with self._taking:
            before = self._newest
            if before is not None:
                await first_of(before.done, self._batches.full, self._patience)
                if not self._store.has_room or before.held_up.is_set():
                    await first_of(before.done, self._patience)
            batch = await self._batches.take(self.linger)
            if batch is None:
                return None
            self._loading.append(batch)
            self._newest = Turn(before)
            return batch, self._newest

    async def settle(self) -> None:
        """Every while, settle what waited for its row; for ever."""
        while True:
            await asyncio.sleep(SETTLE_EVERY)
            if not self._ledger.waiting:
                continue
            # Where the database is away there is another time; the feed's own batches tell of it.
            with contextlib.suppress(StoreLost, TableRefused):
                async with self._settling:
                    commit, counts, tables = await self._store.settle(self._feed)
                    self._ledger.settle(commit, counts, tables, 0, time.time())

    async def _load(self, batch: Batch, turn: Turn) -> None:
        delays = Backoff(ceiling=10)
        taken_out: Counter[str] = Counter()
        while True:
            started = time.monotonic() - turn.waited
            try:
                write = batch.write(self._feed, self._lane.id, self._at, self._wait_for_row)
                commit, counts, tables = await self._commit(write, batch, turn)
            except (NotYet, RowsTouched) as reason:
                await self._again(turn, reason)
            except RowRefused as refused:
                for each in (refused, *refused.also):
                    batch.take_out(each)
                    taken_out[each.reason] += 1
            except (StoreLost, TableRefused) as error:
                turn.held_up.set()
                await self._wait(error, delays)
            else:
                break
        self._recovered()
        self._at = commit
        self._loading.remove(batch)
        turn.done.set()
        turn.before = None  # which is done, too: a long row of turns is not kept alive
        self._moved.set()
        if self._gaps is not None and batch.heard is not None:
            self._gaps.committed(batch.heard)
        seconds = time.monotonic() - turn.waited - started
        if not batch.fills(self._batches.bounds):  # how long a full one takes says nothing of when little arrives
            self.linger = min(LINGER_FACTOR * seconds, self._batches.bounds.max_wait)
        self._ledger.settle(commit, counts, tables, batch.counts.received, time.time())
        if self._tap.listeners:
            self._tap.committed(write.rows, write.refusals[len(write.refusals) - taken_out.total() :])
        self._breaker.written(batch.count + taken_out.total(), taken_out)
        self.timings.batch(batch.count, seconds, time.time() - batch.oldest)

    async def _commit(self, write: Write, batch: Batch, turn: Turn) -> tuple[Commit, Counts, dict[str, Counts]]:
        if self._wait_for_row is None:
            return await self._store.commit(write, partial(self._comes, batch, turn) if turn.is_ahead else None)
        async with self._settling:  # what either leaves in the ledger must not replace what is newer
            return await self._store.commit(write)

    async def _again(self, turn: Turn, reason: NotYet | RowsTouched) -> None:
        """Wait for the batch before, without a transaction; leave nothing out if somebody else wrote rows."""
        if isinstance(reason, RowsTouched):
            self._batches.doubt()
            self._at = self._at and msgspec.structs.replace(self._at, written=reason.written)
        if turn.before is not None:
            await first_of(turn.before.done, self._patience)
            if not turn.before.done.is_set():
                raise StoreLost(self.trouble or "the batch before is not committed")

    async def _comes(self, batch: Batch, turn: Turn) -> Commit | None:
        """Wait for a batch's turn; give the position that it follows.

        Raises:
            NotYet: the one before takes its time, or showed that there is more to write than was staged.
        """
        await turn.comes()
        if batch.is_outdated:
            raise NotYet
        return self._at

    async def _wait(self, error: StoreLost | TableRefused, delays: Backoff) -> None:
        """Wait before the next try; give up instead where that is wanted."""
        if self.trouble is None:
            log.warning("loading stopped", feed=self._feed, reason=str(error))
        self.trouble = str(error)
        if isinstance(error, TableRefused):  # it may come back without its rows
            self._batches.doubt()
        try:
            async with asyncio.timeout(delays.next()):
                await self._patience.wait()
        except TimeoutError:
            return
        raise StoreLost(self.trouble) from error

    def _recovered(self) -> None:
        if self.trouble is not None:
            log.info("loading again", feed=self._feed)
        self.trouble = None
