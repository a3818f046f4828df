"""The league: the story with versions, numbers and poison added, and the present state of all its matches."""

import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice

import msgspec

from service.demo.oracle import Change, Oracle, Poison
from service.demo.render import POISON, encode, score, text_frame
from service.demo.season import OPENING, Match, story

_TICK = timedelta(microseconds=1)


def now() -> datetime:
    """Give the wall-clock time."""
    return datetime.now(UTC)


class Event(msgspec.Struct, frozen=True):
    """What is published at once: a change or a poison record, and the WebSocket frame that carries it."""

    entry: Change | Poison
    frame: bytes


class League:
    """Tells the story; what was published is its present state.

    Args:
        seed: chooses the story, and where poison goes.
        poison: chance, for each change, that a poison record goes ahead of it.
        oracle: is told everything that is published, beginning with the opening fixtures.
        clock: where versions come from; a test may give another.
    """

    def __init__(self, seed: int, poison: float, oracle: Oracle, clock: Callable[[], datetime] = now) -> None:
        self._states = story(seed)
        self._luck = random.Random(f"{seed} poison")
        self._poison = poison
        self._oracle = oracle
        self._clock = clock
        self._sequence = 0
        self._version = datetime.min.replace(tzinfo=UTC)
        self._current: dict[str, Change] = {}  # the order of the keys is the order of the versions
        self._published = 0
        for state in islice(self._states, OPENING):
            self.publish(self._change(state))

    def events(self) -> Iterator[Event]:
        """Give what is to be published, without end; it becomes state when it is handed to ``publish``."""
        for state in self._states:
            if self._luck.random() < self._poison:
                yield self._spoilt(state)
            change = self._change(state)
            body = encode(score(change.sequence, change.match, change.updated_at))
            yield Event(change, text_frame(body))

    def publish(self, entry: Change | Poison) -> None:
        """Make an entry part of the present state; entries come in the order of their numbers."""
        self._published = entry.sequence
        self._oracle.note(entry)
        if isinstance(entry, Change):
            self._current.pop(entry.match.id, None)
            self._current[entry.match.id] = entry

    def changed(self, after: datetime | None) -> list[Change]:
        """Give the newest state of each match whose version is above ``after``, oldest version first."""
        if after is None:
            return list(self._current.values())
        newer: list[Change] = []
        for change in reversed(self._current.values()):
            if change.updated_at <= after:
                break
            newer.append(change)
        return newer[::-1]

    def snapshot(self) -> list[bytes]:
        """Give the score messages of the matches that are live; they all bear the newest number published.

        They say that they are a snapshot: that number was not received by them.
        """
        return [
            encode({**score(self._published, change.match, change.updated_at), "snapshot": True})
            for change in self._current.values()
            if change.match.status == "live"
        ]

    def _change(self, state: Match) -> Change:
        self._sequence += 1
        self._version = max(self._clock(), self._version + _TICK)
        return Change(self._sequence, self._version, state)

    def _spoilt(self, state: Match) -> Event:
        """Spoil the message of a state that follows unspoilt: the table loses nothing by the refusal."""
        self._sequence += 1
        reason = self._luck.choice(list(POISON))
        body = POISON[reason](score(self._sequence, state, self._clock()))
        return Event(Poison(self._sequence, reason, body), text_frame(body))
