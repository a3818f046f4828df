"""When a feed polls next: every so often, on the clock of a place, or as cron says."""

import random
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Annotated
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError
from pydantic import AfterValidator, Field, model_validator

from service.config.connectors import Settings
from service.config.units import Duration

JITTER = 0.05
"""The part of the time between two polls by which the next may be late, unless configured, so that a fleet never polls
in step."""
MOST_JITTER = 60.0
"""The most of it in seconds."""
_HOUR = 3600.0


def _cron(text: str) -> str:
    try:
        next(CronSim(text, datetime(2000, 1, 1, tzinfo=UTC)))
    except (CronSimError, StopIteration) as error:
        reason = str(error) or "it never comes"
        raise ValueError(f"{text!r:.60} is not a cron expression ({reason}); write five fields: */5 * * * *") from None
    return text


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError(f"{name!r:.60} is no time zone; write a name such as Europe/London or UTC") from None
    return name


Cron = Annotated[str, AfterValidator(_cron)]
"""Five fields, minute to day of the week, as Debian's cron reads them."""
Zone = Annotated[str, AfterValidator(_zone)]
"""The name of a time zone of the IANA database."""


class Schedule:
    """Gives the moments of polls, in seconds since the epoch.

    Args:
        every: seconds from the start of one poll to the start of the next; unused with ``cron``.
        cron: an expression, or None.
        zone: with ``cron``, whose clock it means (None: UTC); without, polls lie on whole multiples of ``every`` since
            midnight there (None: since the first poll).
        jitter: the most seconds by which a poll may be late; None for a twentieth of the time until it.
    """

    def __init__(self, every: float, cron: str | None, zone: str | None, jitter: float | None) -> None:
        self._every = every
        self._cron = cron
        self._zone = ZoneInfo(zone or "UTC")
        self._is_aligned = zone is not None
        self._jitter = jitter

    def following(self, due: float, started: float, now: float) -> float:
        """Give when the next poll is due; one that should have been during the last is left out.

        Args:
            due: when the last poll was.
            started: when it began: later, or earlier if it was asked for by hand.
            now: at its end.
        """
        if self._cron is not None:
            moments = CronSim(self._cron, datetime.fromtimestamp(now, self._zone))
            return next(moments).timestamp()
        if self._is_aligned:
            return self._aligned(now)
        # Counted from when it was due, so that lateness does not add up; from its start if asked for by hand.
        return max(min(due, started) + self._every, now)

    def late(self, due: float, now: float) -> float:
        """Give the moment of a poll, with its jitter."""
        most = self._jitter if self._jitter is not None else min(max(due - now, 0.0) * JITTER, MOST_JITTER)
        return due + random.uniform(0, most)  # noqa: S311  no secret

    def per_second(self) -> float:
        """Give how many polls there are in a second; of a cron expression the mean of its next hundred."""
        if self._cron is None:
            return 1 / self._every
        moments = CronSim(self._cron, datetime.now(self._zone))
        first, *_, last = (each.timestamp() for each in islice(moments, 101))
        return 100 / (last - first)

    def _aligned(self, now: float) -> float:
        """Give the first multiple of ``every`` since local midnight that lies ahead, or the next midnight.

        From an hour on the clock is read, so that noon stays noon on a day of 23 or 25 hours. Below, time that passed
        is counted, so that none of it is left out: clocks are put back by half hours and hours.
        """
        here = datetime.fromtimestamp(now, self._zone)
        midnight = here.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
        tomorrow = midnight + timedelta(days=1)  # by the clock, as all arithmetic within a zone
        if self._every < _HOUR:
            start = midnight.timestamp()
            return min(start + ((now - start) // self._every + 1) * self._every, tomorrow.timestamp())
        due, step = now, (here.replace(tzinfo=None) - midnight.replace(tzinfo=None)).total_seconds() // self._every
        while due <= now:  # an hour that the clock leaves out begins when the next one does
            step += 1
            due = min(midnight + timedelta(seconds=step * self._every), tomorrow).timestamp()
        return due


class Polled(Settings):
    """When a feed polls."""

    every: Duration = Field(default=60.0, gt=0)
    """Time from the start of one poll to the start of the next."""
    cron: Cron | None = None
    """When to poll, in place of `every`: minute, hour, day of the month, month, day of the week. The feed polls at its
    start, too, so that a time it missed while it was down is made up for."""
    timezone: Zone | None = None
    """The time zone that `cron` means (UTC without it). With `every` (at most a day), polls lie on whole multiples of
    it since midnight there."""
    jitter: Duration | None = Field(default=None, ge=0)
    """The most by which a poll may be late, at random, so that a fleet never polls in step; by default a twentieth of
    the time until it, at most a minute."""

    @model_validator(mode="after")
    def _one_schedule(self) -> "Polled":
        if self.cron is not None and "every" in self.model_fields_set:
            raise ValueError("a feed polls either `every` so often or as `cron` says")
        if self.cron is None and self.timezone is not None and self.every > 86_400:
            raise ValueError("with a `timezone`, `every` is at most a day: polls are counted from midnight")
        return self

    def schedule(self) -> Schedule:
        """Give the moments of the polls."""
        return Schedule(self.every, self.cron, self.timezone, self.jitter)

    def polls_per_second(self) -> float:
        """See FeedSettings."""
        return self.schedule().per_second()
