"""Redundant connections: hands on the first copy of each message, and measures who was first and by how much."""

import hashlib
from collections.abc import Sequence

from service.model import Message

WINDOW = 30.0
"""Seconds, at least, for which a message is known: later copies are taken for new ones."""
MAX_KNOWN = 100_000
"""Messages that are known at most, twice: of the last window and of the one before."""


class Runner:
    """How one connection does against the others.

    Attributes:
        first: messages that it brought before any other.
        later: messages that another had brought before.
        behind: by how many seconds in all; each counts from the receipt of the first copy.
    """

    def __init__(self) -> None:
        self.first = 0
        self.later = 0
        self.behind = 0.0


class _Known:
    """A message that arrived: how often over each connection, and when for the first time."""

    __slots__ = ("at", "times")

    def __init__(self, runners: int, at: float) -> None:
        self.times = [0] * runners
        self.at = at


class Race:
    """Compares what redundant connections bring, byte for byte.

    The same bytes may be sent twice on purpose: A, B, and A again. So occurrences are counted for each connection: one
    is new if no other connection has brought as many. One that connects again has, in this sense, brought everything
    that is known. So what it brings anew is handed on, even if it is a repetition: nothing is lost if the others die.

    Args:
        runners: how many connections there are.
    """

    def __init__(self, runners: int) -> None:
        self.runners = [Runner() for _ in range(runners)]
        self._new: dict[bytes, _Known] = {}
        self._old: dict[bytes, _Known] = {}
        self._since = 0.0

    def again(self, runner: int) -> None:
        """Note that a connection begins again after it was away."""
        for known in (*self._old.values(), *self._new.values()):
            known.times[runner] = max(known.times)

    def first(self, runner: int, messages: Sequence[Message]) -> list[Message]:
        """Give those of a connection's messages that no other brought before."""
        return [message for message in messages if self._is_first(runner, message)]

    def _is_first(self, runner: int, message: Message) -> bool:
        at = message.received_at
        if at - self._since > WINDOW or len(self._new) >= MAX_KNOWN:
            self._old, self._new, self._since = self._new, {}, at
        digest = hashlib.blake2b(message.body, digest_size=16).digest()
        known = self._new.get(digest) or self._old.get(digest)
        if known is None:
            known = self._new[digest] = _Known(len(self.runners), at)
        most = max(known.times)
        known.times[runner] += 1
        if known.times[runner] > most:
            known.at = at
            self.runners[runner].first += 1
            return True
        self.runners[runner].later += 1
        self.runners[runner].behind += at - known.at
        return False
