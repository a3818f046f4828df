"""What one transaction writes: the rows of a batch, its refusals, and the position that they bring a feed to."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeAlias
from uuid import UUID

import msgspec

from service.model import Commit, Counts, Position, Refusal, Row


class Sweep(msgspec.Struct, frozen=True):
    """A full set has arrived: the rows in its scope that it does not hold are absent.

    Attributes:
        table: the table's name.
        scope: the key columns that are constant in the set, with their values; only such rows are touched.
        keys: of every record in the set, distinct, in the order of the table's key.
        mark: whether absent rows are marked, rather than deleted.
        at: when the set was complete, in seconds since the epoch.
        until: the version that the set is of: newer rows stay, and older records of those that go come too late. None
            where absent rows go whatever their version.
    """

    table: str
    scope: Mapping[str, Any]
    keys: Sequence[Row]
    mark: bool
    at: float
    until: Any = None


Cause: TypeAlias = Literal["sequence", "reset", "refused", "reconnect", "stale", "restart", "paused", "start"]
"""Why something was not heard: numbers are missing; numbers began anew; a message whose number is missing did not
decode; the connection was lost; the daemon was away; the feed was paused by hand; what was before the first message is
not known."""


class Gap(msgspec.Struct, frozen=True):
    """A hole in what was heard of a feed, as it stands now.

    Attributes:
        id: tells it from others.
        cause: why it is there.
        from_time: when the last before it was received, in seconds since the epoch.
        to_time: when the first after it was received; None while it lasts.
        key: of the sequence that it is in; None where the feed has one or none.
        from_position: the last number before it; None where it is known by time only.
        to_position: the first number after it.
        filled_by: the feed that repaired it.
        filled_at: when, in seconds since the epoch; None while it is open.
    """

    id: UUID
    cause: Cause
    from_time: float
    to_time: float | None = None
    key: str | None = None
    from_position: int | None = None
    to_position: int | None = None
    filled_by: str | None = None
    filled_at: float | None = None


class Number(msgspec.Struct, frozen=True):
    """Where a sequence stands.

    Attributes:
        last: the greatest number that was received.
        at: when, in seconds since the epoch.
        epoch: what changes when the numbers begin anew.
    """

    last: int
    at: float
    epoch: str | None = None


class Heard(msgspec.Struct):
    """What was found out about what was heard of a feed, and what was not.

    Attributes:
        gaps: that are new or changed, as they stand now.
        numbers: where sequences stand now, by key; the key of a feed's only one is empty.
        new: the gaps that were not there before.
    """

    gaps: dict[UUID, Gap] = {}
    numbers: dict[str, Number] = {}
    new: set[UUID] = set()

    def add(self, later: "Heard") -> None:
        """Add what was found out after this."""
        self.gaps |= later.gaps
        self.numbers |= later.numbers
        self.new |= later.new


class Patience(msgspec.Struct, frozen=True):
    """What becomes of deltas that have no row and cannot make one.

    Attributes:
        feed: whose they are.
        seconds: how long they wait for it.
        refusal: gives what one becomes if it waits in vain: of a table's name, the index of its row among those of the
            table, a reason and a detail.
    """

    feed: str
    seconds: float
    refusal: Callable[[str, int, str, str], Refusal]


class Write(msgspec.Struct, frozen=True):
    """One batch of one feed.

    Attributes:
        feed: ``provider.feed``.
        rows: by table name, in order of arrival; a key may occur many times.
        refusals: what goes to quarantine.
        before: the position that this batch follows; None when the feed never committed anything.
        lane: identity of the lane that ``first`` and ``last`` count in.
        first: sequence number of the first message.
        last: sequence number of the last message, the position once this is committed.
        source: where the source may resume after it; None keeps what is there.
        counts: what is already known of its records: ``received``, ``filtered``, ``duplicate``, ``quarantined``.
        sweep: what to do about absent rows once the rows are written.
        patience: for deltas without a row; None: they are refused.
        received_at: when the last message was received, in seconds since the epoch.
        heard: gaps, and where sequences stand, up to there; None where nothing was found out.
        is_watched: whether it matters that nobody else wrote rows in the feed's name; see RowsTouched.
    """

    feed: str
    rows: Mapping[str, Sequence[Row]]
    refusals: Sequence[Refusal]
    before: Commit | None
    lane: str
    first: int
    last: int
    source: Position | None
    counts: Counts
    sweep: Sweep | None = None
    patience: Patience | None = None
    received_at: float | None = None
    heard: Heard | None = None
    is_watched: bool = False
