"""Whether a provider's rate limits let through what its feeds ask for."""

from collections.abc import Iterator
from dataclasses import dataclass

from service.config.settings import Config


@dataclass(frozen=True, slots=True)
class Exceeded:
    """A rate limit that is lower than what feeds ask for.

    Attributes:
        provider: whose it is.
        allowed: requests, or what `weight` counts in their place, that it lets through in its time.
        asked: the least that polls need in that time: each takes one request, though pages and `for_each` need more.
        seconds: that time.
        told: a sentence on what follows, and what to do.
    """

    provider: str
    allowed: float
    asked: float
    seconds: float
    told: str


def exceeded(config: Config) -> Iterator[Exceeded]:
    """Find the rate limits that the polls of a provider's feeds exceed."""
    for name, provider in config.providers.items():
        asked = sum(feed.polls_per_second() * feed.weight for feed in provider.feeds.values())
        for pace in provider.rate_limit:
            needed = round(asked * pace.seconds, 1)
            if needed > pace.count:
                told = (
                    f"polls need at least {needed:g} requests in {pace.seconds:g} s, and `rate_limit` lets "
                    f"{pace.count:g} through: they come late; poll less often, or raise it if the provider allows more"
                )
                yield Exceeded(name, pace.count, needed, pace.seconds, told)
