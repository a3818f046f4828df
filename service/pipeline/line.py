"""The line: everything that one feed runs through, nested so that leaving a block drains what lies behind it."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any, Literal

from service.config.settings import Config
from service.errors import StoreLost
from service.model import Buffer, Lane, Message
from service.pipeline.batch import Batches
from service.pipeline.breaker import Breaker
from service.pipeline.conflate import Conflation
from service.pipeline.drift import Drift
from service.pipeline.events import first_of
from service.pipeline.feed import Feed
from service.pipeline.gaps import Gaps
from service.pipeline.inlet import Inlet
from service.pipeline.ledger import Ledger
from service.pipeline.loader import Loader
from service.pipeline.parents import Parents
from service.pipeline.repair import Repair
from service.pipeline.rollcall import RollCall, snapshot_of
from service.pipeline.standing import Standing
from service.pipeline.tap import Tap
from service.pipeline.worker import Extras, Worker
from service.provider import Provider
from service.sources import Source
from service.sources.rest import Rest
from service.store.store import Store
from service.transform.custom import function_of
from service.transform.dedupe import Window
from service.transform.transform import Transform

INLET_BYTES = 8 << 20
"""Bytes that may wait between a source and its lane."""


class Line:
    """One feed from its source to the store.

    Args:
        name: ``provider.feed``.
        source: what is received from.
        provider: that it belongs to.
        config: the whole.
        store: that the rows go to.
        key: the name that position and ledger are kept under; by default the feed's own.
        floor: shared by all lines that run side by side; see Worker.

    Attributes:
        name: ``provider.feed``.
        kind: of its source.
        listens: whether providers post to it.
        started: set once the feed receives.
        breaker: holds the feed up while most of its records are refused.
        parked: set once it did.
        tap: shows its records to those who listen.
        gaps: what was not heard, of a feed that is pushed to us.
    """

    def __init__(
        self,
        name: str,
        source: Source,
        provider: Provider,
        config: Config,
        store: Store,
        key: str | None = None,
        *,
        floor: asyncio.Lock | None = None,
    ) -> None:
        self.name = name
        self._key = key or name
        self.kind = str(source.model_dump()["kind"])
        self.listens = source.listens
        self.started = asyncio.Event()
        self.ledger = Ledger()
        self._source = source
        self._floor = floor or asyncio.Lock()
        self._provider = provider
        self._config = config
        self._store = store
        self._transform = Transform(name, source, config.tables, config.deletable())
        keys, mark = self._transform.keys, source.absent == "mark"
        (table, *_), is_conflated = self._transform.tables, source.when_full == "conflate"
        snapshot = snapshot_of(source.snapshot, config.tables[table])
        self._roll = RollCall(name, table, keys, mark=mark, snapshot=snapshot) if keys is not None else None
        self._conflation = Conflation(self._transform, config.tables[table]) if is_conflated else None
        loaded = {each: config.tables[each] for each in self._transform.tables}
        self._window = Window(source.dedupe, loaded) if source.dedupe is not None else None
        # Nobody would look after what waits for its row when a backfill is over.
        is_partial = any(branch.partial for branch in source.branches)
        self._wait_for_row = source.wait_for_row if is_partial and key is None else None
        self._drift: Drift | None = None
        if source.on_drift != "ignore":
            is_strict = source.on_drift == "quarantine"
            self._drift = Drift(name, self._transform.fields, is_strict=is_strict, is_sparse=is_partial)
        self.gaps = self._gaps_of(source) if source.pushed else None
        self._repair: Repair | None = None
        self._extras = Extras(self._roll, function_of(self._transform), self._window, self._drift, self.gaps)
        self.parked = asyncio.Event()
        self.breaker = Breaker(name, source.breaker, self._park, by_command=key is not None)
        self.tap = Tap(self._transform, config.tables)
        self.lane: Lane | None = None
        self.inlet: Inlet | None = None
        self.feed: Feed | None = None
        self.loader: Loader | None = None

    def _gaps_of(self, source: Source) -> Gaps:
        standing = Standing(source.sequence) if source.sequence is not None else None
        starts: Literal["feed", "sequence"] | None = None
        if source.repair is not None:
            starts = "sequence" if source.repair.is_narrow else "feed"
        return Gaps(self._key, self._transform.numbering, standing, starts)

    def repaired_by(self, target: "Line") -> None:
        """Have gaps filled by the line of a rest feed of the same provider."""
        settings, rest = self._source.repair, target._source  # noqa: SLF001  another of us
        if self.gaps is not None and settings is not None and isinstance(rest, Rest):
            self._repair = Repair(self._key, settings, rest, target, self._provider, self.gaps, self._store)

    async def polled(self) -> None:
        """Wait until a poll that begins after this is complete, and all that it brought is committed."""
        await self.started.wait()
        if self.feed is not None:
            await self.feed.polled()
            await self._committed()

    async def load(self, messages: Sequence[Message]) -> None:
        """Take messages of the feed, and wait until they are committed."""
        await self.started.wait()
        if self.inlet is not None:
            await self.inlet.put(messages)
            await self._committed()

    async def _committed(self) -> None:
        if self.inlet is not None and self.loader is not None and self.lane is not None:
            await self.inlet.settled()
            await self.loader.reached(self.lane.last_sequence)

    async def run(self, buffer: Buffer, prepared: asyncio.Event, stop: asyncio.Event) -> None:
        """Receive, transform and load until ``stop`` is set and what was received is loaded, or safe in the buffer.

        Args:
            buffer: where the feed's lane lies.
            prepared: set once the tables exist.
            stop: set to stop receiving.
        """
        lane = self.lane = await buffer.lane(self._key)
        inlet = self.inlet = Inlet(lane, INLET_BYTES, self._conflation)
        parents = Parents(self.name, self._config, self._store, prepared)
        feed = self.feed = Feed(self.name, self._source, self._provider, inlet, parents.rows)
        feed.position = lane.last_position
        batches = Batches(self._transform, self._config.batch, self._window)
        loader = self.loader = Loader(
            self._key,
            self._store,
            lane,
            batches,
            self.ledger,
            self.breaker,
            self.tap,
            wait=self._wait_for_row,
            gaps=self.gaps,
        )
        worker = Worker(lane, self._transform, batches, self.ledger, self.breaker, self.tap, self._extras, self._floor)
        standing = asyncio.Event()
        async with self.tap, asyncio.TaskGroup() as loading:
            loading.create_task(self._load(loader, worker, batches, prepared, standing), name=f"{self.name} load")
            async with _closing(lane, loader if buffer.durable else None), asyncio.TaskGroup() as appending:
                appending.create_task(inlet.run(), name=f"{self.name} inlet")
                async with inlet:
                    await self._receive(feed, standing, stop)
                    self.breaker.end(kept=buffer.durable or self._source.replayable)

    def _park(self) -> None:
        """Do not receive what can be asked for later; what is pushed to us is kept in the buffer."""
        self.parked.set()
        if self._source.replayable and self.feed is not None:
            self.feed.pause()

    async def _load(
        self,
        loader: Loader,
        worker: Worker,
        batches: Batches,
        prepared: asyncio.Event,
        standing: asyncio.Event,
    ) -> None:
        """Find out where the feed stands, then transform and commit until the lane ends."""
        try:
            await loader.ready(prepared)
            commit = await loader.position()
        except StoreLost:
            standing.set()
            return
        lane = self.lane
        after = 0
        if commit is not None and lane is not None and commit.lane == lane.id:
            after = commit.sequence
            # A crash between commit and forget left these behind.
            await lane.forget(after)
        if self.feed is not None and self.feed.position is None and commit is not None:
            self.feed.position = commit.source
        standing.set()
        async with asyncio.TaskGroup() as committing:
            committing.create_task(loader.run(), name=f"{self.name} loader")
            beside: list[asyncio.Task[None]] = []
            if self._wait_for_row is not None or self.ledger.waiting:  # or it had deltas when it ran before
                beside.append(committing.create_task(loader.settle(), name=f"{self.name} waiting"))
            if self._repair is not None:
                beside.append(committing.create_task(self._repair.run(), name=f"{self.name} repair"))
            async with batches:
                await worker.run(after)
            for task in beside:
                task.cancel()

    async def _receive(self, feed: Feed, standing: asyncio.Event, stop: asyncio.Event) -> None:
        """Run the feed from where its lane, or else the database, says that it stands."""
        if self._source.replayable and feed.position is None:
            # The lane does not tell where to resume; the database does. A live feed can do without.
            await first_of(standing, stop)
        self.started.set()
        await feed.run(stop)

    @property
    def tables(self) -> tuple[str, ...]:
        """The tables that the feed's records go to."""
        return self._transform.tables

    def lag(self) -> float:
        """Seconds since the oldest message was received that is not committed; 0 when all are."""
        oldest = (self.loader.oldest if self.loader is not None else None) or self.breaker.oldest
        return max(0.0, time.time() - oldest) if oldest else 0.0

    def resume(self) -> None:
        """Receive and load again."""
        self.breaker.resume()
        if self.feed is not None:
            self.feed.resume()

    @property
    def state(self) -> str:
        """The state in the words of ``/status``."""
        if self.feed is None:
            return "starting"
        return "parked" if self.breaker.reason is not None else self.feed.state

    def status(self) -> dict[str, Any]:
        """Say how the feed does, in the words of ``/status``."""
        feed, inlet, loader = self.feed, self.inlet, self.loader
        if feed is None or inlet is None or loader is None or self.lane is None:
            return {"kind": self.kind, "state": "starting"}
        return {
            "kind": self.kind,
            "state": self.state,
            "tables": list(self._transform.tables),
            "last_message_at": feed.last_message_at,
            "last_commit_at": self.ledger.last_commit_at,
            "messages": inlet.messages,
            "rate": round(inlet.rate(), 2),
            "lag_s": round(self.lag(), 3),
            "breaker_open": self.breaker.reason is not None,
            "last_error": self.breaker.reason or loader.trouble or feed.last_error,
            **({"absent": self._roll.trouble or "ok"} if self._roll is not None else {}),
            "drift": self._drift.status() if self._drift is not None else [],
            "next_poll_at": feed.next_poll_at,
            "silence_s": round(feed.silence, 3) if feed.silence is not None else None,
            "freshness_s": round(feed.freshness, 3) if feed.freshness is not None else None,
            "reconnects": feed.reconnects,
            "gaps": self.gaps.found if self.gaps is not None else 0,
            "open_gaps": self.gaps.open if self.gaps is not None else 0,
            **({"connections": connections} if (connections := feed.connections()) else {}),
            "paused_s": round(inlet.paused_seconds, 3),
            **({"waiting": self.ledger.waiting} if self._wait_for_row is not None else {}),
            **({"conflated": inlet.conflated} if self._conflation is not None else {}),
            "buffered_bytes": self.lane.stat().bytes,
            "ledger": self.ledger.account(),
        }


@contextlib.asynccontextmanager
async def _closing(lane: Lane, loader: Loader | None) -> AsyncIterator[None]:
    """Close the lane at the end; what a durable one holds need not wait for a database that is away."""
    yield
    lane.close()
    if loader is not None:
        loader.give_up()
