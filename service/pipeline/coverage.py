"""Coverage: when somebody listened to a feed, over all its connections, and when nobody did."""

from collections.abc import Mapping
from typing import NamedTuple

MOST = 1000
"""Times that lost copies heard which are kept; of more, the oldest count as not heard."""


class Away(NamedTuple):
    """From then on nobody listens, or somebody does not: seconds since the epoch; None before this run began."""

    since: float | None


class Back(NamedTuple):
    """From then on all of the feed is heard again: seconds since the epoch."""

    at: float


class _Part:
    """One part: since when each of its copies listens, and how far it was heard without a break.

    What copies heard that are lost is kept beyond that: who was thought to listen meanwhile may turn out not to have.
    """

    def __init__(self, copies: int) -> None:
        self.since: list[float | None] = [None] * copies
        self.reach: float | None = None
        self.spells: list[tuple[float, float]] = []

    def extend(self) -> None:
        """Reach as far as what was heard leads without a break."""
        for since, heard in sorted(self.spells):
            if self.reach is not None and since <= self.reach:
                self.reach = max(self.reach, heard)
        self.spells = [spell for spell in self.spells if self.reach is None or spell[1] > self.reach][-MOST:]


class Coverage:
    """Follows the connections of one feed: its parts, each with redundant copies.

    A copy hears from when it is confirmed up to its last sign of life, a part what one of its copies hears, and the
    feed what all its parts do. It knows no clock.

    Args:
        parts: how many there are.
        copies: of each.
    """

    def __init__(self, parts: int, copies: int) -> None:
        self._parts = [_Part(copies) for _ in range(parts)]
        self._away: set[int] = set()
        self._resuming: set[int] = set()

    def begin(self, resuming: set[int]) -> list[Away | Back]:
        """Begin a run; parts that the provider lets resume have missed nothing but what an earlier run says."""
        self._away = set(range(len(self._parts))) - resuming
        self._resuming = set(resuming)
        return [Away(None)] if self._away else []

    def confirmed(self, number: int, copy: int, at: float) -> list[Away | Back]:
        """Note that a copy listens from now on."""
        part = self._parts[number]
        part.since[copy] = at
        if number in self._away:
            part.reach, part.spells = at, []
        elif number not in self._resuming:
            return []
        self._away.discard(number)
        self._resuming.discard(number)
        return [] if self._away or self._resuming else [Back(at)]

    def lost(
        self, number: int, copy: int, heard: float | None, *, resumes: bool, stale: bool = False
    ) -> list[Away | Back]:
        """Note that a copy does not listen any more, or not to all that it subscribes to.

        Args:
            number: of the part.
            copy: its number.
            heard: the last sign of life.
            resumes: whether the provider will send what is missed, so that nothing is.
            stale: whether one of its subscriptions fell silent: resuming goes on from where the others are.
        """
        part = self._parts[number]
        since, part.since[copy] = part.since[copy], None
        if since is None or heard is None:
            return []
        if resumes:
            part.reach, part.spells = max(part.reach or heard, heard), []
            if not stale:
                return []
        else:
            part.spells.append((since, heard))
        return self._miss(number, part)

    def refused(self, number: int, copy: int) -> list[Away | Back]:
        """Note that a copy was not allowed to resume: what it was to be sent is missed after all."""
        part = self._parts[number]
        part.since[copy] = None
        return self._miss(number, part)

    def end(self, heard: Mapping[tuple[int, int], float], resuming: set[int]) -> list[Away | Back]:
        """End a run.

        Args:
            heard: by part and copy, the last sign of life.
            resuming: parts that the provider lets resume.
        """
        marks: list[Away | Back] = []
        for (number, copy), at in heard.items():
            marks += self.lost(number, copy, at, resumes=number in resuming)
        return marks

    def _miss(self, number: int, part: _Part) -> list[Away | Back]:
        """Find the times, from where a part was heard without a break, in which no copy listened."""
        marks: list[Away | Back] = []
        while True:
            part.extend()
            reach, live = part.reach, [at for at in part.since if at is not None]
            if reach is not None and any(at <= reach for at in live):
                return marks
            later = min((*live, *(since for since, _ in part.spells)), default=None)
            marks.append(Away(reach))
            if later is None:
                self._away.add(number)
                return marks
            if not self._away:
                marks.append(Back(later))
            part.reach = later
