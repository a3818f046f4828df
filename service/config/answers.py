"""What a provider's answers mean, where it differs from what HTTP says: rules for errors, headers about limits."""

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from service.config.connectors import Settings

Action = Literal["retry", "ignore", "fail", "rate_limited", "refresh_token", "reset_pagination"]
"""What follows from an answer."""


def _statuses(value: Any) -> Any:
    texts = [str(item) for item in (value if isinstance(value, list | tuple) else [value])]
    for text in texts:
        if re.fullmatch(r"[1-5](\d\d|xx)", text) is None:
            raise ValueError(f"{text!r:.20} is no status; write 404, or 4xx for all of a kind, or a list of them")
    return tuple(texts)


_Status: dict[str, Any] = {"type": ["integer", "string"], "examples": [404, "5xx"]}
Statuses = Annotated[
    tuple[str, ...],
    BeforeValidator(_statuses),
    WithJsonSchema({"anyOf": [_Status, {"type": "array", "items": _Status, "minItems": 1}]}),
]
"""Statuses of HTTP, written ``404``, ``5xx``, or a list of those."""


class ErrorRule(Settings):
    """What to do about some answers; all its conditions must hold. The first rule that fits decides."""

    status: Statuses | None = None
    """The status, such as `404`, `5xx` or `[404, 410]`; without it, any, also 200."""
    text: str | None = Field(default=None, min_length=1)
    """What the body contains, in capitals or not, within its first 64 KiB."""
    when: str | None = None
    """A CEL expression over `status`, `headers` (names in small letters) and `body` (decoded if it is JSON, else text);
    one that cannot be computed does not hold."""
    action: Action
    """retry: back off and ask again. ignore: go on as if there were nothing new. fail: park the feed. rate_limited:
    hold the whole provider for as long as it asks. refresh_token: fetch a new token and ask again, once.
    reset_pagination: start from the first page, once."""

    @model_validator(mode="after")
    def _some_condition(self) -> "ErrorRule":
        if self.status is None and self.text is None and self.when is None:
            raise ValueError("a rule needs a condition: `status`, `text` or `when`")
        return self


class LimitHeaders(Settings):
    """How the provider tells in headers what is left of its rate limit."""

    obey: bool = True
    """Whether to hold requests back when nothing is left."""
    remaining: str = "X-RateLimit-Remaining"
    """The header with the number of requests left."""
    reset: str = "X-RateLimit-Reset"
    """The header that tells when there are more."""
    reset_in: Literal["auto", "seconds", "epoch", "epoch_ms"] = "auto"
    """What that is: seconds from now, or seconds or milliseconds since the epoch; auto goes by its size, since no
    provider lets wait for thirty years."""
