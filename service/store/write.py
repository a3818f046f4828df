"""What one transaction writes: the rows of a batch, its refusals, and the position that they bring a feed to."""

from collections.abc import Mapping, Sequence

import msgspec

from service.model import Commit, Counts, Position, Refusal, Row


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
