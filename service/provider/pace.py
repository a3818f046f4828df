"""The pace of a provider: how many requests it is sent in any span of time."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from service.config.units import Pace


class Pacer:
    """Lets no more than ``count`` requests through in any window of ``seconds``, as the provider sees it.

    A request holds one of ``count`` places from before it is sent until ``seconds`` after its answer, so it was
    seen within that time, however long the network took. A leaky bucket (aiolimiter) would not do: it lets a
    burst of the whole count through and goes on leaking, which is up to twice the rate in the first window.

    It knows nothing of an earlier run: a restart begins a new window.

    Args:
        pace: the rate, or None for no limit. A count below one is stretched to one in a longer time.
    """

    def __init__(self, pace: Pace | None) -> None:
        self._places: asyncio.Semaphore | None = None
        self._seconds = 0.0
        if pace is not None:
            self._places = asyncio.Semaphore(max(1, int(pace.count)))
            self._seconds = pace.seconds / min(1.0, pace.count)

    @contextlib.asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Wait for a place, in order of arrival, and hold it while the request is under way."""
        if self._places is None:
            yield
            return
        await self._places.acquire()
        try:
            yield
        finally:
            asyncio.get_running_loop().call_later(self._seconds, self._places.release)
