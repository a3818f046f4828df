"""What a recording holds: a header, and events in order."""

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import msgspec

from service.model import Message, Position

VERSION = 1
"""Of the lines of a recording. A reader refuses a higher one."""

Kind: TypeAlias = Literal["open", "sent", "heard", "message", "close"]
"""A connection opens; we send; the provider says something that is no data (acknowledgements, heartbeats, the status
of an answer); data arrive; a connection closes."""


class Header(msgspec.Struct, frozen=True, omit_defaults=True):
    """The first line.

    Attributes:
        recording: the version of the lines.
        headrace: the release that wrote it.
        feed: ``provider.feed``.
        begun_at: seconds since the epoch.
        settings: of the feed, without secrets.
    """

    recording: int
    headrace: str
    feed: str
    begun_at: float
    settings: Mapping[str, Any] = {}


class Event(msgspec.Struct, frozen=True, omit_defaults=True):
    """A line after the first.

    Attributes:
        at: seconds since the epoch, as exact as the clock.
        kind: what happened.
        connection: tells the connections of a feed apart.
        text: an address, what was said, why it closed, or the bytes of a message that are UTF-8.
        raw: the bytes of a message that are not; in the file as base64.
        position: of a message.
        meta: of a message.
    """

    at: float
    kind: Kind
    connection: int = 0
    text: str | None = None
    raw: bytes | None = None
    position: Position | None = None
    meta: Mapping[str, Any] | None = None

    def message(self) -> Message:
        """Give the message that arrived."""
        body = self.raw if self.raw is not None else (self.text or "").encode()
        return Message(body, self.at, self.position, self.meta)


def arrived(message: Message, connection: int) -> Event:
    """Give the event that a message is."""
    text, raw = None, None
    try:
        text = message.body.decode()
    except UnicodeDecodeError:
        raw = message.body
    return Event(message.received_at, "message", connection, text, raw, message.position, message.meta)
