"""What proves that a request comes from the provider: a token, or a signature over what was sent and when."""

import base64
import hmac
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Literal, Self

from pydantic import ConfigDict, Field, SecretStr, model_validator

from service.config.connectors import Settings, short_form

_PLACE = re.compile(r"\{([A-Za-z0-9-]+)\}")
_EPOCH = re.compile(r"[0-9]{1,13}(\.[0-9]{1,9})?")
_MILLISECONDS = 1e11
"""From here on a number of seconds would lie in the year 5138: it counts milliseconds."""


class Token(Settings):
    """A secret that every request of the provider carries."""

    header: str | None = None
    """The header that holds it."""
    query: str | None = None
    """The parameter of the query that holds it, where the provider cannot send a header."""
    prefix: str = ""
    """What stands before it, such as `Bearer ` with its space."""
    value: SecretStr = Field(min_length=1)
    """The secret."""

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.header is None) == (self.query is None):
            raise ValueError("a token is in a `header` or in the `query`: name one of them")
        return self

    def fault(self, headers: Mapping[str, str], query: Mapping[str, str]) -> str | None:
        """Say why a request does not carry the token, or None when it does."""
        given = headers.get(self.header) if self.header is not None else query.get(self.query or "")
        if given is None:
            return "no token"
        wanted = self.prefix + self.value.get_secret_value()
        return None if hmac.compare_digest(_raw(given), wanted.encode()) else "wrong token"


class Part(Settings):
    """Where in the headers a text stands."""

    model_config = ConfigDict(json_schema_extra=short_form({"type": "string"}))

    header: str
    """The header."""
    prefix: str = ""
    """What stands before the text: `v1=`."""
    separator: str | None = Field(default=None, min_length=1)
    """What separates the parts of a header that has several; those with another prefix are left out."""

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        return {"header": value} if isinstance(value, str) else value

    def find(self, headers: Mapping[str, str]) -> Iterator[str]:
        """Give the texts."""
        value = headers.get(self.header, "")
        for part in value.split(self.separator) if self.separator is not None else [value]:
            text = part.strip()
            if text.startswith(self.prefix):
                yield text.removeprefix(self.prefix)


class Signature(Part):
    """An HMAC (RFC 2104) over the body, and over whatever else the provider signs."""

    model_config = ConfigDict(json_schema_extra=None)

    secret: SecretStr = Field(min_length=1)
    """The secret that we share with the provider."""
    secret_encoding: Literal["text", "hex", "base64"] = "text"  # noqa: S105  it says how
    """How the secret is written."""
    algorithm: Literal["sha1", "sha256", "sha384", "sha512"] = "sha256"
    """The hash."""
    encoding: Literal["hex", "base64"] = "hex"
    """How the signature is written."""
    message: str = "{body}"
    """What is signed: `{body}` as it was sent, `{timestamp}`, and `{any-header}` by its name."""
    timestamp: Part | None = None
    """Where the time of the request stands (seconds or milliseconds since the epoch, or ISO 8601 with a zone); a
    request that is further from our clock than `replay_window` is refused."""

    @model_validator(mode="after")
    def _sound(self) -> Self:
        names = _PLACE.findall(self.message)
        if names.count("body") != 1:
            raise ValueError("`message` must hold {body}, once: what is not signed proves nothing")
        if ("timestamp" in names) != (self.timestamp is not None):
            raise ValueError(
                "`timestamp` and {timestamp} in `message` go together: a time that is not signed can be forged"
            )
        try:
            self._key()
        except ValueError:
            raise ValueError(f"the secret is not {self.secret_encoding}") from None
        return self

    def fault(self, headers: Mapping[str, str], body: bytes, now: float, window: float) -> str | None:
        """Say why a request is not signed as it must be, or None when it is.

        Args:
            headers: of the request, found whatever the case of their names.
            body: its bytes as they were sent.
            now: seconds since the epoch.
            window: seconds that the request's time may be away from now.
        """
        stamp = next(self.timestamp.find(headers), "") if self.timestamp is not None else ""
        wanted = hmac.digest(self._key(), self._signed(headers, stamp, body), self.algorithm)
        given = list(self.find(headers))
        if not any(hmac.compare_digest(_decoded(text, self.encoding), wanted) for text in given):
            return "wrong signature" if any(given) else "no signature"
        if self.timestamp is not None:
            moment = _moment(stamp)
            if moment is None or abs(now - moment) > window:
                return "no time" if moment is None else f"{abs(now - moment):.0f} s away from our clock"
        return None

    def _key(self) -> bytes:
        return _decode(self.secret.get_secret_value(), self.secret_encoding)

    def _signed(self, headers: Mapping[str, str], stamp: str, body: bytes) -> bytes:
        values = {"body": body, "timestamp": _raw(stamp)}
        pieces = _PLACE.split(self.message)  # texts and names in turn
        return b"".join(
            piece.encode() if number % 2 == 0 else values.get(piece, _raw(headers.get(piece, "")))
            for number, piece in enumerate(pieces)
        )


def _raw(text: str) -> bytes:
    """Give the bytes of a header or of a query, which need not be UTF-8."""
    return text.encode(errors="surrogateescape")


def _decode(text: str, encoding: str) -> bytes:
    match encoding:
        case "hex":
            return bytes.fromhex(text)
        case "base64":
            return base64.b64decode(text, validate=True)
        case _:
            return text.encode()


def _decoded(text: str, encoding: str) -> bytes:
    """Decode what a stranger sent; nothing where it is malformed."""
    try:
        return _decode(text, encoding)
    except ValueError:
        return b""


def _moment(text: str) -> float | None:
    """Give seconds since the epoch; None where the text is no moment."""
    if _EPOCH.fullmatch(text):
        number = float(text)
        return number / 1000 if number >= _MILLISECONDS else number
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment.timestamp() if moment.tzinfo is not None else None
