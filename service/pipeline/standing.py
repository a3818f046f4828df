"""Where the sequences of a feed stand, and what the next number of one means."""

from collections.abc import Mapping
from typing import Literal, NamedTuple

from service.config.sequence import Sequence
from service.store.write import Number
from service.transform.numbering import Numbered

MOST = 100_000
"""Sequences that are remembered; of more, those that were not heard of for longest are forgotten."""
BACK = 1000
"""So many old numbers of a sequence in a row mean that it began anew, though nothing says so."""

_Kind = Literal["follows", "late", "missed", "reset", "renewed", "begins"]


class Step(NamedTuple):
    """What a number means.

    Attributes:
        kind: it follows; it is late, or a duplicate; numbers before it are missing; the sequence began anew, so that
            nobody knows what is missing; it began anew with a message that stands for all before; it is new to us.
        first: the first number that the message covers.
        last: the last one.
        before: the last number before it.
        since: when that was received, in seconds since the epoch.
    """

    kind: _Kind
    first: int
    last: int
    before: int
    since: float


class _At:
    """Where one sequence stands."""

    __slots__ = ("at", "back", "epoch", "last")

    def __init__(self, last: int, at: float, epoch: str | None) -> None:
        self.last = last
        self.at = at
        self.epoch = epoch
        self.back = 0


class Standing:
    """Keeps the last number of each sequence of a feed.

    Numbers that wrap are counted on, so that within they always rise: what a provider calls 3, the second time round,
    is ``span + 3``. ``shown`` gives back what the provider calls it.

    Args:
        settings: of the sequence.

    Attributes:
        is_single: whether the feed has one sequence only.
        wraps: whether numbers begin again after the greatest.
    """

    def __init__(self, settings: Sequence) -> None:
        self._below = settings.reset_below
        self._start = settings.starts_at
        self._span = settings.wraps_at - settings.starts_at + 1 if settings.wraps_at is not None else None
        self._at: dict[str, _At] = {}
        self._touched: set[str] = set()
        self.is_single = settings.key is None
        self.wraps = self._span is not None

    @property
    def keys(self) -> list[str]:
        """The keys of the sequences that are known."""
        return list(self._at)

    def recall(self, numbers: Mapping[str, Number]) -> None:
        """Begin with where sequences stood, those heard of last at the end."""
        self._at = {key: _At(number.last, number.at, number.epoch) for key, number in numbers.items()}

    def take(self) -> dict[str, Number]:
        """Give where those sequences stand that moved since this was last called."""
        moved = {key: self._at.pop(key) for key in self._touched if key in self._at}
        self._at |= moved  # at the end: those at the beginning are forgotten first
        self._touched = set()
        return {key: Number(at.last, at.at, at.epoch) for key, at in moved.items()}

    def follows(self, number: Numbered, at: float) -> bool:
        """Move on if the number is simply the next of its sequence; say whether it was."""
        first, last, key, epoch, resets = number
        stands = self._at.get(key)
        if stands is None or resets or first != stands.last + 1 or last < first or epoch != stands.epoch:
            return False
        stands.last, stands.at, stands.back = last, at, 0
        self._touched.add(key)
        return True

    def step(self, number: Numbered, at: float) -> Step:
        """Say what any other number means, and move on if it leads on."""
        stands = self._at.get(number.key)
        if stands is None:
            self._begin(number, at)
            return Step("begins", number.first, number.last, number.first - 1, at)
        before, since = stands.last, stands.at
        first, last = self._on(before, number.first), self._on(before, number.last)
        is_anew = self._begins_anew(number, stands)
        if not is_anew and max(first, last) <= before:
            stands.back += 1
            is_anew = stands.back > BACK
            if not is_anew:
                return Step("late", first, last, before, since)
        if is_anew:
            self._begin(number, at)
            return Step("renewed" if number.resets else "reset", number.first, number.last, before, since)
        stands.last, stands.at, stands.back = max(last, first - 1), at, 0
        stands.epoch = number.epoch or stands.epoch
        self._touched.add(number.key)
        return Step("missed" if first > before + 1 else "follows", first, last, before, since)

    def shown(self, number: int) -> int:
        """Give what the provider calls a number."""
        return number if self._span is None else (number - self._start) % self._span + self._start

    def _begin(self, number: Numbered, at: float) -> None:
        self._at.pop(number.key, None)
        self._at[number.key] = _At(max(number.last, number.first - 1), at, number.epoch)
        self._touched.add(number.key)
        if len(self._at) > MOST:
            self._at.pop(next(iter(self._at)))

    def _on(self, last: int, number: int) -> int:
        """Give the number nearest to the last one that the provider calls so."""
        if self._span is None:
            return number
        half = self._span // 2
        return last + (number - last + half) % self._span - half

    def _begins_anew(self, number: Numbered, stands: _At) -> bool:
        changes = None not in {number.epoch, stands.epoch} and number.epoch != stands.epoch
        below = self._below
        return number.resets or changes or (below is not None and number.first < below <= stands.last)
