"""What travels: messages into the buffer, parsed rows and refusals out of the transform, batches into the store."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeAlias

import msgspec

Position: TypeAlias = dict[str, Any]
"""Where a source stands, as a JSON object that only the source itself understands."""

Row: TypeAlias = tuple[Any, ...]
"""One row of a table: values in the order of the table's columns, in the types that asyncpg takes.

In a table that records can delete rows of (``Config.deletable``) a bool follows: whether the row is to be deleted.
Of a delta (``partial: true``) a number follows, whose bit n says whether the record carries column n; a column that it
does not carry holds what a new row would get. A deletion is no delta.
"""


class Message(msgspec.Struct, frozen=True, gc=False):
    """The bytes as they arrived (a frame, a response body, a line).

    Attributes:
        body: the raw bytes.
        received_at: seconds since the epoch, UTC, when the last byte arrived.
        position: where to resume *after* this message; None when the source cannot resume.
        meta: what the decoder or the map needs besides the bytes: ``content_type``, ``params``.
    """

    body: bytes
    received_at: float
    position: Position | None = None
    meta: Mapping[str, Any] | None = None


OVERHEAD = 200
"""Bytes that a message costs in memory besides its body."""


def footprint(messages: Sequence[Message]) -> int:
    """Give the bytes that messages take in memory."""
    return sum([len(message.body) for message in messages]) + OVERHEAD * len(messages)


class Group(msgspec.Struct, frozen=True):
    """Consecutive messages of one feed as the buffer hands them out.

    Attributes:
        first: sequence number of the first message; the others follow without holes.
        messages: at least one message, in order of arrival.
        size: bytes that the messages hold.
    """

    first: int
    messages: Sequence[Message]
    size: int

    @property
    def last(self) -> int:
        """Sequence number of the last message."""
        return self.first + len(self.messages) - 1


class Refusal(msgspec.Struct, frozen=True):
    """A record, or a whole message, that cannot become a row; it goes to quarantine.

    Attributes:
        feed: ``provider.feed``.
        table: the table it was meant for, or None when that is not known.
        reason: short and stable, to group by: ``home_score: max`` or ``json: not decodable``.
        detail: a sentence with column, path, value (shortened), rule, and what would make it pass.
        record: the raw bytes of the record within the message; None when the whole message is refused.
        message: the raw bytes of the message.
        received_at: as in Message.
        index: number of the record within its message, from 0.
        meta: as in Message: what it takes to decode and map the record again. With ``alone`` only the ``index``-th
            record of a whole message is meant: its neighbours are loaded.
    """

    feed: str
    table: str | None
    reason: str
    detail: str
    record: bytes | None
    message: bytes
    received_at: float
    index: int = 0
    meta: Mapping[str, Any] | None = None


class Counts(msgspec.Struct):
    """What became of records: the terms of the ledger, and the rows behind ``loaded``.

    ``received = loaded + unchanged + stale + duplicate + filtered + quarantined + in_flight`` and
    ``loaded = inserted + updated + deleted``. Rows that went, or were marked, because a full set no longer holds them
    are ``absent``: no record stands for them, so they are no term of the sum.
    """

    received: int = 0
    inserted: int = 0
    updated: int = 0
    deleted: int = 0
    unchanged: int = 0
    stale: int = 0
    duplicate: int = 0
    filtered: int = 0
    quarantined: int = 0
    absent: int = 0

    @property
    def loaded(self) -> int:
        """Records whose row was written."""
        return self.inserted + self.updated + self.deleted

    @property
    def settled(self) -> int:
        """Records whose fate is known; within one committed batch this equals ``received``."""
        return self.loaded + self.unchanged + self.stale + self.duplicate + self.filtered + self.quarantined

    def add(self, other: "Counts") -> None:
        """Add the other's figures to these."""
        for field in self.__struct_fields__:
            setattr(self, field, getattr(self, field) + getattr(other, field))


class Commit(msgspec.Struct, frozen=True):
    """The position of a feed, as it stands in the database.

    Attributes:
        lane: identity of the buffer lane that ``sequence`` counts in; another lane starts anew.
        sequence: the last sequence number whose effect is committed.
        source: where the source may resume, if the source knows.
        counts: the feed's ledger since its first message, committed with the rows.
        received_at: when the last message whose effect is committed was received, in seconds since the epoch; None
            where that is not known.
        waiting: records that wait for their row in the database; ``counts`` receives them once they are settled.
        written: rows that were written in the feed's name, by its backfills and by replays of its quarantine, too; None
            where nobody asked.
    """

    lane: str
    sequence: int
    source: Position | None
    counts: Counts
    received_at: float | None = None
    waiting: int = 0
    written: int | None = None


class LaneStat(msgspec.Struct, frozen=True):
    """How full a lane, or a whole buffer, is."""

    bytes: int
    max_bytes: int
    messages: int
    full: bool


class Lane(Protocol):
    """One feed's messages in order of arrival, kept from receipt until their rows are committed.

    One writer (``append``) and one reader (``read``, ``forget``) at a time. Sequence numbers rise by one and
    never repeat within a lane.
    """

    @property
    def id(self) -> str:
        """Identity of this numbering; a new, empty lane has a new one."""

    @property
    def last_sequence(self) -> int:
        """Sequence number of the newest message, 0 when there never was one."""

    @property
    def last_position(self) -> Position | None:
        """Position of the newest message that had one and is still known here."""

    async def append(self, messages: Sequence[Message]) -> int:
        """Keep the messages, in order; return the last sequence number once they are safe.

        Waits while the buffer is full. Cancelled while waiting for room, it has kept none of them.
        """

    async def read(self, after: int, max_bytes: int) -> Group | None:
        """Return the messages that follow sequence number ``after``, at most about ``max_bytes`` (at least one).

        Waits for one to be appended; returns None once the lane is closed and nothing follows ``after``.
        """

    async def forget(self, through: int) -> None:
        """Allow everything up to and including sequence number ``through`` to be dropped."""

    def close(self) -> None:
        """No message will be appended any more; ``read`` ends when it has handed out the rest."""

    def stat(self) -> LaneStat:
        """Say how full the lane is."""


class Buffer(Protocol):
    """Holds the lanes of all feeds; an async context manager that owns its files or connections.

    Attributes:
        durable: whether what it holds survives kill -9.
    """

    durable: bool

    async def __aenter__(self) -> "Buffer": ...

    async def __aexit__(self, *exc: object) -> None: ...

    async def lane(self, feed: str) -> Lane:
        """Open the lane of a feed, with what an earlier run left in it."""

    def stat(self) -> LaneStat:
        """Say how full the buffer is as a whole."""
