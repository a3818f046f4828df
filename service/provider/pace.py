"""The pace of a provider: how many requests it is sent in any span of time."""

import contextlib
from collections.abc import AsyncIterator

from aiolimiter import AsyncLimiter

from service.config.units import Pace

BURST = 0.1
"""The part of the count that may go at once; the rest is spread over the time."""


class Pacer:
    """Lets no more than ``count`` requests through in any window of ``seconds``.

    A leaky bucket with room for the whole count lets twice of it through in the first window: the burst, and what leaks
    meanwhile. So the bucket has room for a tenth, and the rest leaks: together never more than the count.

    It knows nothing of an earlier run: a restart begins a new window.

    Args:
        pace: the rate, or None for no limit.
    """

    def __init__(self, pace: Pace | None) -> None:
        self._limiter: AsyncLimiter | None = None
        if pace is not None and pace.count < 2:
            self._limiter = AsyncLimiter(1, pace.seconds / pace.count)
        elif pace is not None:
            burst = max(1, int(pace.count * BURST))
            self._limiter = AsyncLimiter(burst, burst * pace.seconds / (pace.count - burst))

    @contextlib.asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Wait, in order of arrival, until a request may be sent."""
        if self._limiter is not None:
            await self._limiter.acquire()
        yield
