"""What the tests of this folder share: transforms made of a few words of configuration, and what they give."""

from collections.abc import Sequence
from typing import Any

import msgspec

from service.config.feeds import FeedSettings
from service.config.tables import Table
from service.model import Message
from service.transform.transform import Mapped, Piece, Transform

RECEIVED_AT = 1767355200.25
_encode = msgspec.json.Encoder(decimal_format="number").encode


def make(columns: dict[str, Any], mapping: dict[str, Any] | None = None, table: Any = None, **feed: Any) -> Transform:
    """Make a transform; without a map, each column comes from the field of its own name."""
    model = Table.model_validate({"key": [next(iter(columns))], "columns": columns, **(table or {})})
    mapped = {name: f'"{name}"' for name in columns} if mapping is None else mapping
    return Transform("acme.scores", FeedSettings.model_validate({"into": "t", "map": mapped, **feed}), {"t": model})


def message(records: Sequence[Any], **attributes: Any) -> Message:
    """Make a message of records."""
    return Message(_encode(records), RECEIVED_AT, **attributes)


def run(transform: Transform, *records: Any, **attributes: Any) -> Mapped:
    """Send records through a transform as JSON."""
    sent = message(records, **attributes)
    return transform.map([Piece(sent, transform.read(sent))])


def settle(column: Any, value: Any, **table: Any) -> Any:
    """Give what a value becomes in a column, the reason of its refusal after ``!``, or ``filtered``."""
    mapped = run(make({"c": column}, table=table), {"c": value})
    if mapped.refusals:
        return f"!{mapped.refusals[0].reason}"
    return mapped.rows[0][0] if mapped.rows else "filtered"
