"""Resume tokens: what data carry that lets a provider go on from there after a reconnect or a restart."""

import zlib
from collections.abc import Sequence
from typing import Any

import orjson
from pydantic import Field

from service.config.connectors import Settings
from service.config.paths import parse_path
from service.lookup import DottedPath, lookup
from service.model import Position
from service.provider.matching import Frame, Match


class Resume(Settings):
    """What is kept of the data, to be sent when we subscribe again."""

    fields: dict[str, DottedPath] = Field(min_length=1)
    """For each name where its value lies in a message. The newest values are kept with the position; `{resume.NAME}`
    stands for them in what is sent. Before the first, the key that it is the value of is left out."""
    refuse: Match | None = None
    """What a message contains that forbids us to resume; then the kept values are forgotten, and we begin anew."""


class Tokens:
    """The newest values of a feed's resume fields.

    Args:
        resume: the settings.
        subscribed: what they belong to; values that were kept for something else are forgotten.
        position: where the feed stands.
    """

    def __init__(self, resume: Resume, subscribed: Any, position: Position | None) -> None:
        self._paths = {name: parse_path(path) for name, path in resume.fields.items()}
        self._subscribed = zlib.crc32(orjson.dumps(subscribed, default=str))
        kept = position if position is not None and position.get("subscribed") == self._subscribed else {}
        self.values: dict[str, Any] = dict(kept.get("resume", {}))

    def note(self, bodies: Sequence[bytes]) -> Position | None:
        """Take the newest values from messages; give the position after them, or None when they carry none."""
        missing = dict(self._paths)
        for body in reversed(bodies):
            document = Frame(body).document
            for name, path in list(missing.items()):
                value = lookup(document, path)
                if value is not None:
                    self.values[name] = value
                    del missing[name]
            if not missing:
                break
        if len(missing) == len(self._paths):
            return None
        return {"subscribed": self._subscribed, "resume": dict(self.values)}
