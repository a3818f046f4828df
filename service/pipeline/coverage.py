"""Coverage: when somebody listened to a feed, over all its connections, and when nobody did."""

from typing import NamedTuple


class Away(NamedTuple):
    """From then on nobody listens, or somebody does not: seconds since the epoch; None before this run began."""

    since: float | None


class Back(NamedTuple):
    """From then on all of the feed is heard again: seconds since the epoch."""

    at: float


class Coverage:
    """Follows the connections of one feed: its parts, each with redundant copies.

    A part is heard while one of its copies is confirmed, and up to the last sign of life of a copy that is lost. The
    feed is heard while all its parts are. It knows no clock.

    Args:
        parts: how many there are.
        copies: of each.
    """

    def __init__(self, parts: int, copies: int) -> None:
        self._since: list[list[float | None]] = [[None] * copies for _ in range(parts)]
        self._reach: list[float | None] = [None] * parts
        self._away: set[int] = set()

    def begin(self, resuming: set[int]) -> list[Away]:
        """Begin a run; parts that the provider lets resume have missed nothing yet."""
        self._away = set(range(len(self._since))) - resuming
        return [Away(None)] if self._away else []

    def confirmed(self, part: int, copy: int, at: float) -> list[Back]:
        """Note that a copy listens from now on."""
        self._since[part][copy] = at
        was_away = bool(self._away)
        self._away.discard(part)
        return [Back(at)] if was_away and not self._away else []

    def lost(self, part: int, copy: int, heard: float | None, *, resumes: bool) -> list[Away | Back]:
        """Note that a copy does not listen any more.

        Args:
            part: its number.
            copy: its number.
            heard: the last sign of life.
            resumes: whether the provider will send what is missed, so that nothing is.
        """
        since, self._since[part][copy] = self._since[part][copy], None
        if since is None or heard is None:
            return []
        reach = self._reach[part] = max(self._reach[part] or heard, heard)
        return [] if resumes else self._miss(part, reach)

    def refused(self, part: int, copy: int) -> list[Away | Back]:
        """Note that a copy was not allowed to resume: what it was to be sent is missed after all."""
        self._since[part][copy] = None
        return self._miss(part, self._reach[part])

    def end(self, heard: dict[tuple[int, int], float], resuming: set[int]) -> list[Away]:
        """End a run.

        Args:
            heard: by part and copy, the last sign of life.
            resuming: parts that the provider lets resume.
        """
        last: dict[int, float] = {}
        for (part, copy), at in heard.items():
            if part not in resuming and self._since[part][copy] is not None:
                last[part] = max(at, self._reach[part] or at, last.get(part, at))
        return [Away(min(last.values()))] if last else []

    def _miss(self, part: int, reach: float | None) -> list[Away | Back]:
        others = [at for at in self._since[part] if at is not None]
        if reach is not None and any(at <= reach for at in others):
            return []
        if others and not self._away:  # the other copy was not there yet when this one fell silent
            return [Away(reach), Back(min(others))]
        if not others:
            self._away.add(part)
        return [Away(reach)]
