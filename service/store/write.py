"""What one transaction writes: the rows of a batch, its refusals, and the position that they bring a feed to."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

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
    """

    table: str
    scope: Mapping[str, Any]
    keys: Sequence[Row]
    mark: bool
    at: float


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
