"""Playback: a recording as a source, which hands on its messages as they came, in their own time or faster."""

import asyncio
import time
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import PrivateAttr

from service.config.feeds import FeedSettings
from service.errors import FormatError, SourceRefused
from service.recording.reading import Recording
from service.sources import Link, Source

GROUP = 200
"""Messages handed on at a time, where their time does not matter."""
_NOT_PLAYED = {"when_full", "freshness", "sequence", "on_gap", "absent", "wait_for_row"}
"""What is about a live source only: a hole in a recording is not repaired by asking now. And rows are absent from a
full set when that is received, not for ever after."""


class Playback(Source):
    """Plays a recording from its beginning, and ends. Messages keep the time and the position that they had."""

    replayable: ClassVar[bool] = True
    whole_sets: ClassVar[bool] = True

    kind: Literal["recording"] = "recording"
    path: Path
    """The recording."""
    speed: float | None = None
    """How many seconds of the recording are played in one; None for as fast as it goes."""
    _recording: Recording | None = PrivateAttr(None)

    @property
    def done(self) -> int:
        """Bytes of the file that were read."""
        return self._recording.read if self._recording is not None else 0

    @property
    def torn(self) -> int:
        """Bytes at the end of the file that a crash left incomplete."""
        return self._recording.torn if self._recording is not None else 0

    async def run(self, link: Link) -> None:
        """Play; see Source.

        Raises:
            SourceRefused: it cannot be read, or is damaged; what lies before the damage was handed on.
        """
        link.alive()
        try:
            self._recording = await asyncio.to_thread(Recording, self.path)
            groups = self._recording.groups(GROUP)
            pace = Pace(self.speed) if self.speed is not None else None
            while (group := await asyncio.to_thread(next, groups, None)) is not None:
                if pace is None:
                    await link.emit(group)
                    continue
                for message in group:
                    await pace.keep(message.received_at)
                    await link.emit([message])
        except (OSError, FormatError) as error:
            raise SourceRefused(str(error)) from error


class Pace:
    """Lets moments of the past pass again, at a speed: what lies a second apart comes ``1 / speed`` seconds apart."""

    def __init__(self, speed: float) -> None:
        self._speed = speed
        self._began: tuple[float, float] | None = None

    async def keep(self, moment: float) -> None:
        """Wait until it is time for a moment; not at all for the first, or one that is late."""
        first, began = self._began = self._began or (moment, time.monotonic())
        await asyncio.sleep(max(0.0, began + (moment - first) / self._speed - time.monotonic()))


def playback(feed: FeedSettings, path: Path, speed: float | None, *, absent: bool) -> Playback:
    """Give a source that plays a recording as the feed's messages are received.

    Args:
        feed: whose messages they are.
        path: of the recording.
        speed: as in Playback.
        absent: whether rows that a full set does not hold become absent, as they would live.
    """
    left_out = _NOT_PLAYED - {"absent"} if absent else _NOT_PLAYED
    settings = {name: getattr(feed, name) for name in FeedSettings.model_fields if name not in left_out}
    return Playback.model_validate({**settings, "path": path, "speed": speed})
