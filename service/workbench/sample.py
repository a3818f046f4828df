"""A sample of a feed: the first messages that its source gives, or those that a file holds."""

import asyncio
import gzip
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from service.config.foreach import ForEach, Value
from service.errors import FormatError, HeadraceError, SourceLost, SourceRefused
from service.model import Message, Position
from service.pipeline.events import first_of
from service.pipeline.feed import RowsOf
from service.provider import Provider
from service.recording.reading import is_recording, messages
from service.sources import Idle, Source
from service.transform.transform import Transform

MAX_BYTES = 256 << 20
"""Bytes of a file, decompressed, above which it is no sample."""


class Sampling(Idle):
    """The link of a source whose messages are looked at, not loaded; see Link.

    Attributes:
        messages: what was received.
        enough: set once there is enough, or the source waits for its next poll.
    """

    def __init__(
        self, feed: str, provider: Provider, transform: Transform, records: int, rows: RowsOf | None = None
    ) -> None:
        self.feed = feed
        self.provider = provider
        self.position: Position | None = None
        self.notes: dict[str, Any] = {}
        self.messages: list[Message] = []
        self.enough = asyncio.Event()
        self._transform = transform
        self._missing = records
        self._rows = rows

    async def emit(self, messages: Sequence[Message]) -> None:
        """Keep messages until there are enough records; then let the source wait for its end."""
        for message in messages:
            if self.enough.is_set():
                break
            self.messages.append(message)
            self._missing -= count(self._transform, message)
            if self._missing <= 0:
                self.enough.set()
        if self.enough.is_set():
            await asyncio.Event().wait()

    async def rows(self, each: ForEach) -> Sequence[Mapping[str, Value]]:
        """Give the first rows to call for; there are no more records wanted than rows can have."""
        if self._rows is None:
            raise SourceRefused("no database was given whose rows could be called for")
        return (await self._rows(each))[: max(self._missing, 1)]

    async def wait_until(self, moment: float) -> None:  # noqa: ARG002  one poll is enough, whenever the next is due
        """End the sample: a poll is complete."""
        self.enough.set()
        await asyncio.Event().wait()


async def sample(
    source: Source,
    provider: Provider,
    transform: Transform,
    *,
    records: int,
    seconds: float,
    rows: RowsOf | None = None,
) -> list[Message]:
    """Receive until there are so many records, one poll is complete, the source ends, or the time is up.

    Args:
        source: of the feed.
        provider: that it belongs to.
        transform: counts its records.
        records: how many are enough.
        seconds: the longest to wait.
        rows: gives the rows to call for, of a source that does.

    Raises:
        SourceLost, SourceRefused: the provider cannot be reached, or will not serve us.
    """
    link = Sampling(transform.feed, provider, transform, records, rows)
    ended = asyncio.Event()

    async def receive() -> None:
        await source.run(link)
        ended.set()

    try:
        async with asyncio.TaskGroup() as group:
            receiving = group.create_task(receive())
            try:
                async with asyncio.timeout(seconds):
                    await first_of(link.enough, ended)
            except TimeoutError:
                if not (source.pushed or link.messages):
                    raise SourceLost(f"nothing came within {seconds:g} s") from None
            receiving.cancel()
    except ExceptionGroup as failed:
        if not link.messages:  # what came before the line went dead is a sample, too
            _raise(failed, provider)
    return link.messages


def from_file(path: Path, transform: Transform) -> list[Message]:
    """Read recorded bytes: those of a recording; else one message or, where that does not decode, one in each line.

    Raises:
        OSError: the file cannot be read, is not the gzip that its name says, is damaged, or is too large.
    """
    if is_recording(path):
        return recorded(path)
    body = read_bytes(path)
    whole = Message(body, path.stat().st_mtime)
    try:
        transform.decode(whole)
    except FormatError:
        lines = [Message(line, whole.received_at) for line in body.splitlines() if line.strip()]
        return lines if sum(count(transform, line) for line in lines) else [whole]
    return [whole]


def recorded(path: Path) -> list[Message]:
    """Read the data of a recording.

    Raises:
        OSError: it cannot be read, is damaged, or is too large.
    """
    found, size = [], 0
    try:
        for message in messages(path):
            found.append(message)
            size += len(message.body)
            if size > MAX_BYTES:
                raise OSError(f"{path} holds more than {MAX_BYTES >> 20} MiB; a shorter recording will do")
    except FormatError as error:
        raise OSError(str(error)) from None
    return found


def read_bytes(path: Path) -> bytes:
    """Read a file, decompressed if its name ends in ``.gz``.

    Raises:
        OSError: as from_file.
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (EOFError, zlib.error) as error:
        raise OSError(f"{path} is not gzip: {error}") from None
    if len(data) > MAX_BYTES:
        raise OSError(f"{path} holds more than {MAX_BYTES >> 20} MiB; a sample of it will do")
    return data


def count(transform: Transform, message: Message) -> int:
    """Count the records of a message; none if it does not decode."""
    try:
        return len(transform.decode(message))
    except FormatError:
        return 0


def _raise(failed: ExceptionGroup[Exception], provider: Provider) -> None:
    """Raise what the source raised by itself, out of the groups around it."""
    expected = failed.subgroup(HeadraceError)
    if expected is None:
        raise failed
    error: BaseException = expected
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, SourceLost | SourceRefused):
        error.reason = provider.blanked(error.reason)
    raise error from None
