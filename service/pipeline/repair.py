"""Repair: has the gaps of one feed filled by a rest feed of the same provider."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol, cast
from urllib.parse import quote
from uuid import UUID

import msgspec
import structlog

from service.config.foreach import ForEach, Value
from service.config.paths import parse_path
from service.config.sequence import OnGap
from service.errors import FormatError, SourceLost, SourceRefused, StoreLost, TableRefused
from service.formats import Format
from service.lookup import lookup
from service.model import Message, Position
from service.pipeline.backoff import CEILING, Backoff
from service.pipeline.gaps import Gaps
from service.provider import Provider
from service.provider.template import fill
from service.sources import Idle
from service.sources.rest import Rest
from service.store.store import Store
from service.store.write import Gap
from service.transform.numbering import whole

log = structlog.get_logger()

TOGETHER = 50
"""Answers, to requests for one gap each, that are loaded together."""
PAUSE = 1.0
"""Seconds, at least, between two rounds of repair, so that a feed full of gaps does not become a hammer."""


class Target(Protocol):
    """The line of the rest feed that repairs."""

    name: str

    async def polled(self) -> None:
        """Wait until a poll that begins after this is complete, and all that it brought is committed."""

    async def load(self, messages: Sequence[Message]) -> None:
        """Take messages of the feed, and wait until they are committed."""


class _Wait:
    """What is not answered yet: why, and when it is asked for again."""

    def __init__(self) -> None:
        self.told = ""
        self.until = 0.0
        self.delays = Backoff()


class Repair:
    """Asks anew for what is missing, for as long as the feed runs.

    A gap counts as filled when what was asked for after its end is in the tables, and not before; so one that is open
    when the daemon dies is asked for at the next start.

    Args:
        feed: whose gaps.
        settings: what repairs them.
        rest: the feed that is asked.
        target: its line.
        provider: of both.
        gaps: those of the feed.
        store: where they are written down.
    """

    def __init__(
        self, feed: str, settings: OnGap, rest: Rest, target: Target, provider: Provider, gaps: Gaps, store: Store
    ) -> None:
        self._feed = feed
        self._settings = settings
        self._rest = rest
        self._target = target
        self._provider = provider
        self._gaps = gaps
        self._store = store
        self._answered: dict[UUID, set[bytes]] = {}
        self._waits: dict[bytes, _Wait] = {}

    async def run(self) -> None:
        """Repair until cancelled; what is under way then is begun again at the next start."""
        while True:
            await self._gaps.news.wait()
            await asyncio.sleep(self._settings.after)
            self._gaps.news.clear()
            until = time.time() - self._settings.after
            due = [gap for gap in self._gaps.due.values() if (gap.to_time or until) <= until]
            if self._settings.is_narrow:
                await self._ask_each(due)
            elif due:
                await self._target.polled()
                await self._fill([], until)
            if self._gaps.due:
                self._gaps.news.set()
            await asyncio.sleep(PAUSE)

    async def _ask_each(self, due: Sequence[Gap]) -> None:
        """Ask for what fills each gap; of a gap in time for each sequence that is known.

        What fills several is asked for once. What is not answered is asked for again in later rounds, and holds up
        nothing else.
        """
        open_: dict[UUID, set[bytes]] = {gap.id: set() for gap in due}
        requests: dict[bytes, list[Gap]] = {}
        for gap in due:
            for key in [gap.key] if gap.to_position is not None else self._gaps.keys:
                one = msgspec.structs.replace(gap, key=key)
                request = msgspec.json.encode(self._place(one))
                if request not in self._answered.get(gap.id, ()):
                    open_[gap.id].add(request)
                    requests.setdefault(request, []).append(one)
        wanted = list(requests)
        for start in range(0, len(wanted), TOGETHER):
            some = wanted[start : start + TOGETHER]
            answers = [await self._ask(each, requests[each]) for each in some]
            await self._target.load([message for answer in answers for message in answer or ()])
            for each, answer in zip(some, answers, strict=True):
                for gap in requests[each] if answer is not None else ():
                    open_[gap.id].discard(each)
                    self._answered.setdefault(gap.id, set()).add(each)
            if filled := [gap for gap, missing in open_.items() if not missing]:
                await self._fill(filled, time.time())
            for gap_id in filled:
                del open_[gap_id]
                self._answered.pop(gap_id, None)

    async def _ask(self, wanted: bytes, alike: Sequence[Gap]) -> list[Message] | None:
        """Ask once for what fills these gaps, unless it is too early; give the answer, if there is one that does."""
        wait = self._waits.get(wanted)
        if wait is not None and wait.until > time.monotonic():
            return None
        changes = {**self._place(alike[0]), "incremental": None, "absent": None, "conditional": False}
        errand = Errand(self._target.name, self._provider)
        try:
            await self._rest.model_copy(update=changes).once(errand)
            self._see(errand.messages, max(gap.to_position or 0 for gap in alike))
        except (SourceLost, SourceRefused) as error:
            wait = self._waits.setdefault(wanted, _Wait())
            if error.reason != wait.told:
                log.warning("gap not filled yet", feed=self._feed, by=self._target.name, reason=error.reason)
            least = CEILING if isinstance(error, SourceRefused) else error.retry_after or 0.0
            wait.told, wait.until = error.reason, time.monotonic() + max(wait.delays.next(), least)
            return None
        self._waits.pop(wanted, None)
        return errand.messages

    def _place(self, gap: Gap) -> dict[str, Any]:
        """Give what is asked for, with what is missing put in."""
        first, last = (gap.from_position or 0) + 1, (gap.to_position or 0) - 1
        times = {"from_time": _iso(gap.from_time), "to_time": _iso(gap.to_time or gap.from_time)}
        places = {"key": gap.key or "", "first": first, "last": last, **times}
        asked: dict[str, Any] = {"params": {**self._rest.params, **fill(self._settings.params, {"gap": places})}}
        if self._settings.path is not None:
            quoted = {name: quote(str(value), safe="") for name, value in places.items()}
            asked |= {"path": fill(self._settings.path, {"gap": quoted}), "url": None}
        return asked

    def _see(self, messages: Sequence[Message], beyond: int) -> None:
        """See that an answer goes beyond a gap.

        Raises:
            SourceLost: it does not yet, or does not say.
        """
        if self._settings.number is None:
            return
        form, path = self._rest.format, parse_path(self._settings.number)
        reached: int | None = None
        for message in messages:
            try:
                number = whole(lookup(cast("Format", form).document(message), path))
            except FormatError:
                continue
            if number is not None:
                reached = number if reached is None else max(reached, number)
        if reached is None or reached < beyond - 1:
            said = f"reaches only to {reached}" if reached is not None else f"has no number at {self._settings.number}"
            raise SourceLost(f"the answer {said}; it is to reach to {beyond - 1}")

    async def _fill(self, ids: Sequence[UUID], until: float) -> None:
        """Write down that gaps are filled, however long the database is away."""
        delays = Backoff(ceiling=10)
        while True:
            try:
                filled = await self._store.fill(self._feed, self._target.name, ids=ids, until=until)
            except (StoreLost, TableRefused):  # the loader tells of it
                await asyncio.sleep(delays.next())
            else:
                break
        self._gaps.filled(filled, self._target.name)
        self._gaps.forget(ids, until)


class Errand(Idle):
    """A link for one request: it keeps what comes, and leaves the position of the feed alone."""

    def __init__(self, feed: str, provider: Provider) -> None:
        self.feed = feed
        self.provider = provider
        self.position: Position | None = None
        self.notes: dict[str, Any] = {}
        self.messages: list[Message] = []

    async def rows(self, each: ForEach) -> Sequence[Mapping[str, Value]]:
        """Give no rows to call for: of a feed with `for_each` a gap is repaired by a whole poll.

        Raises:
            SourceRefused: always.
        """
        raise SourceRefused(f"{self.feed} calls for rows ({each.model_dump(exclude_defaults=True)}), and none are here")

    async def emit(self, messages: Sequence[Message]) -> None:
        """Keep messages, without a position."""
        self.messages += (Message(each.body, each.received_at, None, each.meta) for each in messages)


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
