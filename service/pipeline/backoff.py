"""How long to wait before trying again."""

import random

FLOOR = 0.5
CEILING = 60.0


class Backoff:
    """Delays with full jitter: each between zero and a bound that doubles, so that many clients never retry in step.

    The bound grows from ``floor`` to ``ceiling``, in seconds. Source: Marc Brooker, "Exponential Backoff And Jitter",
    AWS Architecture Blog, 2015.
    """

    def __init__(self, floor: float = FLOOR, ceiling: float = CEILING) -> None:
        self._floor = floor
        self._ceiling = ceiling
        self._bound = floor

    def next(self) -> float:
        """Give the next delay in seconds; never under a tenth of the floor, so that nothing spins."""
        delay = max(random.uniform(0, self._bound), self._floor / 10)  # noqa: S311  no secret hangs on it
        self._bound = min(self._bound * 2, self._ceiling)
        return delay

    def reset(self) -> None:
        """Start from the floor again; call it only after things went well for a while."""
        self._bound = self._floor
