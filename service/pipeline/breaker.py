"""The breaker: stops the loading of a feed most of whose records are refused, rather than filling the quarantine."""

import asyncio
from collections import Counter, deque
from collections.abc import Callable

import structlog

from service.pipeline.batch import Parsed

log = structlog.get_logger()

_OF_DAEMON = (
    "correct the configuration and restart: what is not loaded is read again. "
    "POST /feeds/{feed}/resume sends it to quarantine instead"
)
_OF_COMMAND = "correct the configuration and run the command again; `breaker: off` sends them to quarantine instead"


class Recent:
    """The most recent records of a feed, and how many of them were refused.

    Records come in runs, which are not divided: the oldest is let go once the others hold enough records. So what is
    looked at are the last ``size`` records, and those that came together with the first of them.

    Args:
        size: records that it takes to judge.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._runs: deque[tuple[int, int]] = deque()
        self.records = 0
        self.refused = 0

    def add(self, records: int, refused: int) -> None:
        """Add a run of records."""
        if not records:
            return
        self._runs.append((records, refused))
        self.records += records
        self.refused += refused
        while self.records - self._runs[0][0] >= self._size:
            records, refused = self._runs.popleft()
            self.records -= records
            self.refused -= refused

    @property
    def is_bad(self) -> bool:
        """Whether there are enough records, and more than half of them were refused."""
        return self.records >= self._size and 2 * self.refused > self.records


class Breaker:
    """Watches what becomes of one feed's records, and holds up what follows once most are refused.

    Two things are watched: what the transform refuses, before it goes anywhere, and which rows the database refuses,
    after their batch is committed. Records that the configuration leaves out say nothing and do not count. What is held
    up has left the buffer, but the buffer does not forget it before it is committed.

    Args:
        feed: ``provider.feed``.
        size: records that it takes to judge; 0 switches the breaker off.
        tripped: called when it trips.
        by_command: whether a command runs the feed, which ends then, and no daemon.

    Attributes:
        reason: why nothing is loaded, in a sentence; None while it is.
        oldest: when the oldest message that is held up was received, in seconds since the epoch, or None.
    """

    def __init__(
        self, feed: str, size: int, tripped: Callable[[], None] = lambda: None, *, by_command: bool = False
    ) -> None:
        self._feed = feed
        self._remedy = _OF_COMMAND if by_command else _OF_DAEMON.format(feed=feed)
        self._size = size
        self._tripped = tripped
        self._ended: bool | None = None
        self._go = asyncio.Event()
        self.reason: str | None = None
        self.oldest: float | None = None
        self._forget()

    async def admit(self, parsed: Parsed) -> bool:
        """Judge what messages became, and wait while it must not go on; False: it never will in this run."""
        if not self._size:
            return True
        records = len(parsed.rows) + len(parsed.refusals)
        self._mapped.add(records, len(parsed.refusals))
        if self._mapped.is_bad:
            self._trip(self._mapped, Counter(refusal.reason for refusal in parsed.refusals))
        if self.reason is None:
            return True
        self.oldest = parsed.messages[0].received_at
        await self._go.wait()
        self.oldest = None
        return self.reason is None

    def written(self, rows: int, reasons: "Counter[str]") -> None:
        """Note a batch that is committed: the rows that were to be written, and why the database refused some."""
        if not self._size:
            return
        self._written.add(rows, reasons.total())
        if self._written.is_bad:
            self._trip(self._written, reasons)

    def resume(self) -> None:
        """Let what was held up go on, and judge anew by what follows it."""
        if self.reason is not None and self._ended is None:
            log.info("feed loads again", feed=self._feed)
            self.reason = None
            self._forget()
            self._go.set()

    def end(self, *, kept: bool) -> None:
        """Hold nothing up any more: the feed stops.

        Args:
            kept: whether what is not loaded now can be had again; else it is loaded, and refused, now.
        """
        self._ended = kept
        if not kept:
            self.reason = None
        self._go.set()

    def _trip(self, recent: Recent, reasons: "Counter[str]") -> None:
        if self.reason is not None or self._ended is False:
            return
        ((most, _),) = reasons.most_common(1) or [("", 0)]
        refused = f"{recent.refused} of the last {recent.records} records were refused"
        self.reason = f"{refused}, the latest for {most!r}; {self._remedy}"
        log.warning("feed parked", feed=self._feed, reason=self.reason)
        self._go.clear()
        if self._ended is not None:
            self._go.set()
        self._tripped()

    def _forget(self) -> None:
        self._mapped, self._written = Recent(self._size), Recent(self._size)
