"""Where the pieces of a long answer wait on disk until it is known whether it is the one that was there before."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from tempfile import TemporaryFile
from typing import IO, Any, Self

from service.model import Message

HOLD_BYTES = 4 << 20
"""Bytes of a long body that are held back in memory until it is known whether they are those of the last answer."""
ASIDE_BYTES = 4 << 30
"""The most bytes of one answer that wait on disk."""


class Aside:
    """Messages without a position, in a file without a name that is gone when the block is left.

    Attributes:
        size: bytes of their bodies.
    """

    def __init__(self) -> None:
        self.size = 0
        self._stack = ExitStack()
        self._file: IO[bytes] | None = None
        self._waiting: list[tuple[int, float, Mapping[str, Any] | None]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def put(self, messages: Sequence[Message]) -> bool:
        """Write messages behind the others; False when the disk refuses them, or they would be too many."""
        size = sum(len(message.body) for message in messages)
        if self.size + size > ASIDE_BYTES:
            return False
        try:
            if self._file is None:
                # Without a buffer of its own: what the disk refuses must not come up again at the next call.
                self._file = self._stack.enter_context(TemporaryFile(buffering=0))  # noqa: SIM115  it is entered
            # One by one: joined they would be a block of megabytes, and once such a one was freed, the C library no
            # longer gives smaller ones back to the system.
            if any(self._file.write(message.body) != len(message.body) for message in messages):
                return False
        except OSError:
            return False
        self.size += size
        self._waiting += [(len(message.body), message.received_at, message.meta) for message in messages]
        return True

    def take(self) -> Iterator[Message]:
        """Give the messages, in order, one at a time; once all were given there are none."""
        waiting, self._waiting, self.size = self._waiting, [], 0
        if self._file is not None:
            self._file.seek(0)
            for size, received_at, meta in waiting:
                yield Message(self._file.read(size), received_at, None, meta)
