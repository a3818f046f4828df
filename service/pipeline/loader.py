"""The loader: commits one batch after another, and owns every failure of the database."""

import asyncio
import time

import structlog

from service.errors import RowRefused, StoreLost, TableRefused
from service.model import Commit, Lane, Position
from service.pipeline.backoff import Backoff
from service.pipeline.batch import Batch, Batches
from service.pipeline.events import first_of
from service.pipeline.gaps import Gaps
from service.pipeline.ledger import Ledger
from service.pipeline.timings import Timings
from service.store.store import Store

log = structlog.get_logger()

LINGER_FACTOR = 2.0
"""How many commit times a row may wait for company: keeps the database two thirds idle when little arrives."""


class Loader:
    """Writes the batches of one feed, in order, each with the position that it brings the feed to.

    Attributes:
        trouble: why nothing can be written at the moment, or None.
    """

    def __init__(
        self,
        feed: str,
        store: Store,
        lane: Lane,
        batches: Batches,
        ledger: Ledger,
        max_wait: float,
        gaps: Gaps | None = None,
    ) -> None:
        self._feed = feed
        self._store = store
        self._lane = lane
        self._batches = batches
        self._ledger = ledger
        self._max_wait = max_wait
        self._gaps = gaps
        self._linger = 0.0
        self._moved = asyncio.Event()
        self._at: Commit | None = None
        self._loading: Batch | None = None
        self._patience = asyncio.Event()
        self.trouble: str | None = None
        self.timings = Timings()

    @property
    def oldest(self) -> float | None:
        """When the oldest message that is not committed was received, of those that left the buffer."""
        return self._loading.oldest if self._loading else self._batches.oldest

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
        """Commit until the batches end, or until told to give up while the database is away."""
        while (batch := await self._batches.take(self._linger)) is not None:
            self._loading = batch
            try:
                await self._load(batch)
            except StoreLost:
                self._batches.abandon()
                return
            self._loading = None

    async def _load(self, batch: Batch) -> None:
        delays = Backoff(ceiling=10)
        while True:
            started = time.monotonic()
            try:
                commit, counts, tables = await self._store.commit(batch.write(self._feed, self._lane.id, self._at))
            except RowRefused as refused:
                for each in (refused, *refused.also):
                    batch.take_out(each)
            except (StoreLost, TableRefused) as error:
                await self._wait(error, delays)
            else:
                break
        self._recovered()
        self._at = commit
        seconds = time.monotonic() - started
        self._linger = min(LINGER_FACTOR * seconds, self._max_wait)
        self._ledger.settle(commit, counts, tables, batch.counts.received, time.time())
        self.timings.batch(len(batch.rows), seconds, time.time() - batch.oldest)
        self._moved.set()
        if self._gaps is not None and batch.heard is not None:
            self._gaps.committed(batch.heard)
        await self._lane.forget(batch.last)

    async def _wait(self, error: StoreLost | TableRefused, delays: Backoff) -> None:
        """Wait before the next try; give up instead where that is wanted."""
        if self.trouble is None:
            log.warning("loading stopped", feed=self._feed, reason=str(error))
        self.trouble = str(error)
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
