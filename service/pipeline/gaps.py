"""Gaps: what of a feed was not heard, found by its numbers and by the times when nobody listened.

The worker asks, message by message, in the order of the lane. What is found commits with the rows of the messages that
told it, so that a gap is found exactly once, and none is overlooked when the daemon dies.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Literal
from uuid import UUID, uuid4

import structlog
from msgspec.structs import replace

from service.model import Message
from service.pipeline.standing import Standing, Step
from service.store.write import Cause, Gap, Heard
from service.transform.numbering import Numbered, Numbering

log = structlog.get_logger()

META = "gap"
"""Where a message of our own, which has no body, says when nobody listened."""
MOST = 10_000
"""Open gaps that are remembered; of more, the oldest can no longer be closed by late messages."""
MOST_A_MINUTE = 1000
"""Gaps of one minute that are told apart: more than that are one, so that a wrong sequence does not flood the table."""
_UNCERTAIN = frozenset({"reset", "start"})
"""Gaps of which nobody knows what is missing, so that no late message closes them."""
TOLD = 10
"""Gaps that are found, or filled, at once and logged one by one."""


def away(cause: Cause, since: float | None, now: float) -> Message:
    """Make the message that says that nobody listens, from ``since`` on, or from the message before it on."""
    return Message(b"", now, None, {META: {"cause": cause, "from": since}})


def back(at: float, now: float) -> Message:
    """Make the message that says that the feed is heard again."""
    return Message(b"", now, None, {META: {"to": at}})


class Gaps:
    """Finds the gaps of one feed, and keeps those that are open.

    Args:
        feed: ``provider.feed``.
        numbering: reads the numbers of messages; None where they have none.
        standing: how numbers follow each other; None as well.
        starts: what there was before the first message is a gap, too: of the whole feed, or of each sequence.

    Attributes:
        found: how many were written down since the start.
        due: those written down that have an end and are not filled, by id.
        news: set when there are more of these.
    """

    def __init__(
        self,
        feed: str,
        numbering: Numbering | None = None,
        standing: Standing | None = None,
        starts: Literal["feed", "sequence"] | None = None,
    ) -> None:
        self._feed = feed
        self._starts = starts
        self._is_new = False
        self._numbering = numbering
        self._standing = standing
        self._open: dict[UUID, Gap] = {}
        self._places: dict[UUID, tuple[int, int]] = {}
        self._away: Gap | None = None
        self._doubt: UUID | None = None
        self._undecoded = 0
        self._at: float | None = None
        self._heard = Heard()
        self._minute, self._made = 0, 0
        self._rest: Gap | None = None
        self.found = 0
        self.due: dict[UUID, Gap] = {}
        self.news = asyncio.Event()

    @property
    def keys(self) -> list[str]:
        """The keys of the sequences that are known."""
        return self._standing.keys if self._standing is not None else []

    @property
    def open(self) -> int:
        """How many gaps are open."""
        return len(self._open)

    def recall(self, known: Heard, at: float | None) -> None:
        """Begin with what is written down, and the time of the last message whose effect is committed."""
        self._at = at
        self._open = dict(known.gaps)
        self._away = next((gap for gap in known.gaps.values() if gap.to_time is None), None)
        if self._standing is not None:
            self._standing.recall(known.numbers)
            self._places = {
                gap.id: (gap.from_position, gap.to_position)
                for gap in known.gaps.values()
                if gap.from_position is not None
                and gap.to_position is not None
                and gap.cause not in _UNCERTAIN
                and not self._standing.wraps  # of an earlier time round, nobody knows
            }
        self._take_due(known)

    # What the worker calls.

    def note(self, message: Message, records: Sequence[Any]) -> None:
        """Look at the numbers of a message."""
        numbering, standing = self._numbering, self._standing
        if numbering is not None and standing is not None:
            at = message.received_at
            for number in numbering.read(message, records):
                if not standing.follows(number, at):
                    self._settle(number, standing, at)
                elif self._doubt is not None or self._undecoded:
                    self._followed(at)
        self._at = message.received_at

    def undecoded(self) -> None:
        """Note a message that does not decode, so that its number is missing."""
        self._undecoded += 1

    def mark(self, message: Message) -> bool:
        """Take a message of our own; say whether it was one."""
        said: Mapping[str, Any] | None = (message.meta or {}).get(META)
        if said is None:
            return False
        if "to" in said:
            self._end(said["to"])
        else:
            since = said["from"] if said["from"] is not None else self._at
            if since is not None:
                self._begin(said["cause"], since)
            self._is_new = since is None and self._starts == "feed"
        self._at = message.received_at
        return True

    def take(self) -> Heard | None:
        """Give what was found out since this was last called."""
        heard = self._heard
        if self._standing is not None:
            heard.numbers = self._standing.take()
        if not heard.gaps and not heard.numbers:
            return None
        self._heard = Heard()
        return heard

    # What happens once it is committed.

    def committed(self, heard: Heard) -> None:
        """Tell of what is written down now: each gap once when it is found, and once when it is filled."""
        new = [gap for gap in heard.gaps.values() if gap.id in heard.new]
        self.found += len(new)
        for gap in new[:TOLD]:
            log.warning("gap", feed=self._feed, **_shown(gap))
        if len(new) > TOLD:
            log.warning("more gaps", feed=self._feed, count=len(new) - TOLD)
        for gap in heard.gaps.values():
            if gap.filled_at is not None and gap.filled_by is not None:
                self.filled([gap.id], gap.filled_by, gap)
        self._take_due(heard)

    def filled(self, ids: Sequence[UUID], by: str, gap: Gap | None = None) -> None:
        """Tell of gaps that are filled."""
        if len(ids) > TOLD:
            log.info("more gaps filled", feed=self._feed, by=by, count=len(ids) - TOLD)
        for number, each in enumerate(ids):
            known = self._open.pop(each, None) or self.due.get(each) or gap
            self.due.pop(each, None)
            self._places.pop(each, None)
            if self._rest is not None and self._rest.id == each:
                self._rest = None
            if number < TOLD:
                shown = {"id": str(each)} if known is None else _shown(known)
                log.info("gap filled", feed=self._feed, by=by, **shown)

    def forget(self, ids: Sequence[UUID], until: float) -> None:
        """Let go of gaps that are settled: these, or all that ended by a moment (seconds since the epoch)."""
        for gap in list(self.due.values()):
            if gap.id in ids if ids else (gap.to_time or until) <= until:
                self.due.pop(gap.id)

    def _take_due(self, heard: Heard) -> None:
        for gap in heard.gaps.values():
            if gap.filled_at is None and gap.to_time is not None:
                self.due[gap.id] = gap
                self.news.set()
        while len(self.due) > MOST:
            self.due.pop(next(iter(self.due)))

    # By numbers.

    def _settle(self, number: Numbered, standing: Standing, at: float) -> None:
        """Find out what a number means that is not simply the next."""
        step, key = standing.step(number, at), number.key or None
        if step.kind == "late":
            self._close(key, standing, step, at)
            return
        if step.kind == "follows":
            self._followed(at)
        elif step.kind == "begins":
            if self._starts == "sequence":
                before, first = standing.shown(step.before), standing.shown(step.first)
                self._put(Gap(uuid4(), "start", at, at, key, before, first))
        elif step.kind != "renewed":
            cause: Cause = "reset" if step.kind == "reset" else "sequence"
            if step.kind == "missed" and step.first - step.before <= self._undecoded + 1:
                cause = "refused"
            gap = Gap(uuid4(), cause, step.since, at, key, standing.shown(step.before), standing.shown(step.first))
            if self._add(gap) and cause not in _UNCERTAIN:
                self._places[gap.id] = (step.before, step.first)
        self._doubt, self._undecoded = None, 0

    def _add(self, gap: Gap) -> bool:
        """Keep a new gap; say whether it is told apart from others."""
        at = gap.to_time or gap.from_time
        if self._minute != int(at // 60):
            self._minute, self._made, self._rest = int(at // 60), 0, None
        self._made += 1
        if self._made > MOST_A_MINUTE:
            rest = self._rest or Gap(gap.id, gap.cause, gap.from_time)
            gap = self._rest = replace(rest, from_time=min(rest.from_time, gap.from_time), to_time=at)
        self._put(gap)
        return gap is not self._rest

    def _close(self, key: str | None, standing: Standing, late: Step, at: float) -> None:
        """Let a late message close, shrink or divide the gap that it lies in."""
        for each, (before, after) in list(self._places.items()):
            gap = self._open.get(each)
            if gap is None:
                del self._places[each]
                continue
            low, high = max(late.first, before + 1), min(late.last, after - 1)
            if gap.key != key or low > high:
                continue
            is_left, is_right = low > before + 1, high < after - 1
            if is_left:
                self._place(replace(gap, to_position=standing.shown(low)), before, low)
            if is_right:
                right = replace(gap, id=uuid4() if is_left else gap.id, from_position=standing.shown(high))
                self._place(right, high, after)
            if not is_left and not is_right:
                self._put(replace(gap, filled_by=self._feed, filled_at=at))

    def _place(self, gap: Gap, before: int, after: int) -> None:
        """Keep a gap that late messages may close, between numbers that are counted on where they wrap."""
        self._put(gap)
        self._places[gap.id] = (before, after)

    # By time.

    def _begin(self, cause: Cause, since: float) -> None:
        gap = self._away or Gap(uuid4(), cause, since)
        gap = self._away = replace(gap, from_time=min(gap.from_time, since))
        # One sequence, unbroken, will tell that nothing was missed.
        self._doubt = gap.id if self._standing is not None and self._standing.is_single else None
        self._put(gap)

    def _end(self, at: float) -> None:
        gap, self._away = self._away, None
        if gap is not None:
            self._put(replace(gap, to_time=max(at, gap.from_time)))
        elif self._is_new:
            self._put(Gap(uuid4(), "start", at, at))
        self._is_new = False

    def _followed(self, at: float) -> None:
        """Fill the gap in time that the numbers show to be none."""
        self._undecoded = 0
        gap = self._open.get(self._doubt) if self._doubt is not None else None
        if gap is not None:
            if self._away is not None and self._away.id == gap.id:
                self._away = None
            self._put(replace(gap, to_time=gap.to_time or at, filled_by=self._feed, filled_at=at))
        self._doubt = None

    def _put(self, gap: Gap) -> None:
        """Keep a gap as it stands now; one that was closed before anybody was told was none."""
        if gap.filled_at is not None:
            self._open.pop(gap.id, None)
            if gap.id in self._heard.new:
                del self._heard.gaps[gap.id]
                self._heard.new.discard(gap.id)
                return
        else:
            if gap.id not in self._open:
                self._heard.new.add(gap.id)
            self._open[gap.id] = gap
            if len(self._open) > MOST:
                self._open.pop(next(iter(self._open)))
        self._heard.gaps[gap.id] = gap


def _shown(gap: Gap) -> dict[str, Any]:
    """Say what a gap is, for the log."""
    times: dict[str, Any] = {"from_time": round(gap.from_time, 3)}
    if gap.to_time is not None:
        times["seconds"] = round(gap.to_time - gap.from_time, 3)
    places = {"from": gap.from_position, "to": gap.to_position} if gap.from_position is not None else {}
    return {"cause": gap.cause, **({"key": gap.key} if gap.key is not None else {}), **places, **times}
