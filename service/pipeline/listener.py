"""Who listens at a tap: which records are wanted, and what waits to be read."""

import asyncio
import contextlib
import math
import random
from collections.abc import Iterator
from typing import Literal, TypeAlias

import msgspec

Stage: TypeAlias = Literal["raw", "mapped", "refused", "committed"]

QUEUED = 1000
"""Lines that wait for one listener; of more it misses the rest."""
QUEUED_BYTES = 1 << 20

_encode = msgspec.json.Encoder().encode


class Listener:
    """One who listens at one stage.

    Args:
        stage: that is listened at.
        gaps: how many records from one to the next that is wanted, beginning with those before the first.
    """

    def __init__(self, stage: Stage, gaps: Iterator[int]) -> None:
        self.stage = stage
        self._gaps = gaps
        self._next = next(gaps)
        self._lines: list[bytes] = []
        self._held = 0
        self._missed = 0
        self._ended = ""
        self._news = asyncio.Event()

    def choose(self, count: int) -> Iterator[int]:
        """Give which of the next ``count`` records are wanted, by their numbers from 0."""
        at, self._next = self._next, self._next - count
        while at < count:
            yield at
            at += next(self._gaps)
            self._next = at - count

    def put(self, line: bytes) -> None:
        """Let a line wait to be read, or be missed where too much waits already."""
        if len(self._lines) >= QUEUED or self._held + len(line) > QUEUED_BYTES:
            self._missed += 1
            return
        self._lines.append(line)
        self._held += len(line)
        self._news.set()

    def miss(self, count: int) -> None:
        """Note records that passed unseen."""
        self._missed += count

    def end(self, reason: str) -> None:
        """Say that no record will come any more."""
        self._ended = reason
        self._news.set()

    async def read(self, patience: float) -> bytes | None:
        """Give the lines that wait, with how many records were missed, once there are any; None after the end.

        Args:
            patience: seconds after which an empty line is given as a sign of life.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await self._news.wait()
        lines, self._lines, self._held = self._lines, [], 0
        self._news.clear()
        if self._missed:
            lines.append(_encode({"missed": self._missed}) + b"\n")
            self._missed = 0
        if self._ended:
            if self._ended == "said":
                return None
            lines.append(_encode({"ended": self._ended}) + b"\n")
            self.end("said")
        return b"".join(lines) or b"\n"


def every(number: int) -> Iterator[int]:
    """Give the gaps of a sample of the first record and every ``number``-th after it."""
    yield 0
    while True:
        yield number


def sampled(share: float) -> Iterator[int]:
    """Give the gaps of a sample that takes each record with a probability."""
    gap = _gap(share)
    yield gap - 1
    while True:
        yield _gap(share)


def _gap(share: float) -> int:
    return 1 if share >= 1 else int(math.log(1 - random.random()) / math.log(1 - share)) + 1  # noqa: S311  a sample
