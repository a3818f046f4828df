"""The budget of a provider: how many requests it is sent in any span of time, whichever feed they are for."""

import asyncio
import time
from collections.abc import Iterable

from aiolimiter import AsyncLimiter

from service.config.units import Pace
from service.errors import SourceLost
from service.provider.limits import Limit

BURST = 0.1
"""The part of the count that may go at once; the rest is spread over the time."""
MARGIN = 1.02
"""How much slower we are than allowed: on its way one request may take longer than the next."""
PATIENCE = 60.0
"""Seconds that a request waits in silence for its turn; a feed that has to wait longer is told, and shows it."""
_MOST_LIMITS = 32


def _limiter(pace: Pace, heaviest: int, spare: int) -> AsyncLimiter:
    """Make a leaky bucket that never lets more than ``count`` through in any ``seconds``.

    One with room for the whole count would let twice of it through in the first window: the burst, and what leaks
    meanwhile. So it has room for a tenth, and the rest leaks. In any window less than room + leaked goes through; as
    weights are whole numbers, with room + leaked = count + 1 that is never more than the count.

    Args:
        pace: the rate.
        heaviest: what the heaviest request weighs; the bucket has room for it.
        spare: what is taken off the count.
    """
    count = pace.count - spare if pace.count > spare + heaviest else pace.count
    room = max(int(count * BURST), heaviest)
    return AsyncLimiter(room, MARGIN * room * pace.seconds / max(count + 1 - room, min(count, 1.0)))


class Budget:
    """Gives each request its turn, in the order in which they ask: by our own rates, and by what the provider says.

    It knows nothing of an earlier run: a restart begins new windows.

    Args:
        rates: of which each must hold.
        heaviest: what the heaviest request weighs.
    """

    def __init__(self, rates: Iterable[Pace], heaviest: int = 1) -> None:
        # The slowest has the last word. Those before it let one request through that then waits for the next, and by
        # the time it is sent they would let another one follow: that one is taken off their counts.
        ordered = sorted(rates, key=lambda pace: pace.count / pace.seconds, reverse=True)
        self._limiters = [_limiter(pace, heaviest, spare=0 if pace is ordered[-1] else heaviest) for pace in ordered]
        self._limits: dict[str, tuple[float, float]] = {}
        self._held_until = 0.0
        self._turn = asyncio.Lock()

    async def take(self, weight: int = 1) -> None:
        """Wait until a request that weighs so much may be sent.

        Raises:
            SourceLost: the provider itself wants us to wait for longer than a minute.
        """
        async with self._turn:
            await self._heed(weight)
            for limiter in self._limiters:
                for taken in range(0, weight, int(limiter.max_rate)):
                    await limiter.acquire(min(weight - taken, limiter.max_rate))
            await self._heed(weight)
            now = time.monotonic()
            self._limits = {name: (left - weight, until) for name, (left, until) in self._limits.items() if until > now}

    def hold(self, seconds: float) -> None:
        """Send nothing for so many seconds: the provider said so (Retry-After)."""
        self._held_until = max(self._held_until, time.monotonic() + seconds)

    def note(self, limits: Iterable[Limit]) -> None:
        """Note what the provider says is left; what was sent since is taken into account."""
        now = time.monotonic()
        for name, left, seconds in limits:
            until = now + seconds
            known, ends = self._limits.get(name, (left, 0.0))
            # An answer that was overtaken knows less of what was sent; a window that ended counts no more.
            is_same = now < ends and until < ends + max(1.0, seconds / 2)
            self._limits[name] = (min(known, left) if is_same else left, max(until, ends) if is_same else until)
        while len(self._limits) > _MOST_LIMITS:
            self._limits.pop(next(iter(self._limits)))

    def wait(self, weight: int = 1) -> float:
        """Seconds for which the provider itself wants us to wait; our own rates do not count."""
        used_up = [until for left, until in self._limits.values() if left < weight]
        return max(0.0, max([self._held_until, *used_up]) - time.monotonic())

    async def _heed(self, weight: int) -> None:
        """Wait as long as the provider wants us to."""
        while (wait := self.wait(weight)) > 0:
            if wait > PATIENCE:
                raise SourceLost(f"the provider's own rate limit is used up for {wait:.0f} s", wait)
            await asyncio.sleep(wait)
