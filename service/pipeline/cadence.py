"""How often a feed has data: learned from the past, so that an unusual silence can be told from a usual one."""

LEAST = 60.0
"""Seconds of silence that are never called unusual."""
TIMES = 10.0
"""How many times the longest usual silence is unusual."""
ENOUGH = 20
"""Silences that must have been seen before anything is said."""
_FADES = 0.99


class Cadence:
    """Keeps the longest silence of late: each that follows makes an older one count a hundredth less.

    Attributes:
        last: seconds of the caller's clock at which data last arrived, or None.
    """

    def __init__(self) -> None:
        self.last: float | None = None
        self._longest = 0.0
        self._seen = 0

    def note(self, now: float) -> None:
        """Note data."""
        if self.last is not None:
            self._longest = max(now - self.last, self._longest * _FADES)
            self._seen += 1
        self.last = now

    @property
    def freshness(self) -> float | None:
        """Seconds of silence that would be unusual; None as long as too little is known."""
        return max(LEAST, TIMES * self._longest) if self._seen >= ENOUGH else None
