"""Signed requests: a keyed hash (RFC 2104) over a text that a recipe makes of the request."""

import base64
import hashlib
import hmac
import re
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import msgspec
from pydantic import AfterValidator, BeforeValidator, Field, PrivateAttr, SecretStr, model_validator

from service.auth import Authenticator, Request
from service.config.connectors import Settings

_SIGNED = ("key", "timestamp", "nonce", "uuid", "method", "host", "path", "query", "path_and_query", "url", "body")
"""What a recipe may name. Path, query and URL are as they are sent, percent-encoded."""
_NAME = re.compile(r"\{(\w*)\}")
_UNITS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}

_Hash = Literal["sha1", "sha256", "sha384", "sha512", "md5"]
_Encoding = Literal["hex", "HEX", "base64", "base64url"]


def _names(text: str, *more: str) -> str:
    known = (*_SIGNED, *more)
    for name in _NAME.findall(text):
        if name not in known:
            raise ValueError(f"{{{name}}} has no meaning here; known are {', '.join(f'{{{one}}}' for one in known)}")
    return text


_Template = Annotated[str, AfterValidator(_names)]


def _final_names(text: SecretStr) -> SecretStr:
    _names(text.get_secret_value(), "signature")
    return text


_Final = Annotated[SecretStr, AfterValidator(_final_names)]


class Digest(Settings):
    """A part of the message that is itself a hash, without a key."""

    hash: _Hash
    """The hash."""
    of: _Template
    """The text that is hashed."""
    encoding: Literal["raw"] | _Encoding = "hex"
    """How the hash is written; `raw` are its bytes."""


def _parts_names(parts: tuple[str | Digest, ...]) -> tuple[str | Digest, ...]:
    for part in parts:
        if isinstance(part, str):
            _names(part)
    return parts


class Hmac(Authenticator):
    """Signs each request by a recipe: what is signed, how, and where key and signature go."""

    kind: Literal["hmac"] = "hmac"
    key: SecretStr = SecretStr("")
    """What tells the provider who signs; `{key}` in the recipe."""
    secret: SecretStr
    """The secret that signs; it is never sent."""
    secret_encoding: Literal["text", "base64", "hex"] = "text"  # noqa: S105  not a secret, how one is written
    """How the secret is written."""
    hash: _Hash = "sha256"
    """The hash."""
    message: Annotated[
        tuple[str | Digest, ...],
        BeforeValidator(lambda value: (value,) if isinstance(value, str) else value),
        AfterValidator(_parts_names),
        Field(min_length=1, json_schema_extra={"type": ["array", "string"]}),
    ]
    """What is signed: a text, or a list of texts and digests, in which {key} {timestamp} {nonce} {uuid} {method} {host}
    {path} {query} {path_and_query} {url} {body} stand for what is sent."""
    encoding: _Encoding = "hex"
    """How the signature is written."""
    timestamp: Literal["s", "ms", "us", "ns", "iso"] = "ms"
    """What {timestamp} is: a number since the epoch, or ISO 8601 with milliseconds. {nonce} is such a number, too, and
    never the same or a smaller one (with `iso`, in milliseconds)."""
    headers: dict[str, _Final] = Field(default={})
    """Headers that are added: texts as in `message`, and {signature}."""
    query: dict[str, _Final] = Field(default={})
    """Parameters that are added: those with {signature} at the end, the others before, so that they are signed."""
    body: dict[str, _Final] = Field(default={})
    """Fields that are added to a body, which must be a JSON object, before it is signed."""

    _clock: Callable[[], int] = PrivateAttr(default=time.time_ns)
    _last: int = PrivateAttr(default=0)

    @model_validator(mode="after")
    def _sound(self) -> "Hmac":
        self._key()
        places = [*self.headers.values(), *self.query.values()]
        if not any("{signature}" in place.get_secret_value() for place in places):
            raise ValueError("the signature goes nowhere: put {signature} into `headers` or `query`")
        if any("{signature}" in text.get_secret_value() for text in self.body.values()):
            raise ValueError("a body is signed as it is sent: {signature} cannot be in it")
        return self

    def authorize(self, request: Request) -> None:
        """Add what is signed, sign, and add the signature."""
        values = self._moment() | {
            "key": self.key.get_secret_value(),
            "uuid": str(uuid.uuid4()),
            "method": request.method,
            "host": request.url.raw_authority if request.url.explicit_port else request.url.raw_host or "",
        }
        texts = {name: text.get_secret_value() for name, text in self.query.items()}
        before = {name: _fill(text, values) for name, text in texts.items() if "{signature}" not in text}
        if texts.keys() & request.url.query.keys():  # a link to the next page may hold what was added for the last
            request.url = request.url.without_query_params(*texts)
        request.url = request.url.extend_query(before)
        if self.body:
            request.body = _with_fields(
                request.body, {n: _fill(t.get_secret_value(), values) for n, t in self.body.items()}
            )
        url = request.url
        values |= {
            "path": url.raw_path,
            "query": url.raw_query_string,
            "path_and_query": url.raw_path_qs,
            "url": str(url),
            "body": (request.body or b"").decode("latin-1"),  # any byte is a character, and the same byte again
        }
        message = b"".join(_part(part, values) for part in self.message)
        values["signature"] = _written(hmac.new(self._key(), message, self.hash).digest(), self.encoding).decode()
        for name, text in self.headers.items():
            request.headers[name] = _fill(text.get_secret_value(), values)
        after = {name: _fill(text, values) for name, text in texts.items() if name not in before}
        request.url = url.extend_query(after)  # appended: what was signed stays as it is

    def _key(self) -> bytes:
        secret, written_as = self.secret.get_secret_value(), self.secret_encoding
        try:
            match written_as:
                case "base64":
                    return base64.b64decode(secret, validate=True)
                case "hex":
                    return bytes.fromhex(secret)
                case "text":
                    return secret.encode()
        except ValueError:
            raise ValueError(f"`secret` is not {written_as}") from None

    def _moment(self) -> dict[str, str]:
        now = self._clock()
        unit = _UNITS.get(self.timestamp, _UNITS["ms"])
        self._last = max(now // unit, self._last + 1)
        if self.timestamp == "iso":
            moment = datetime.fromtimestamp(now / 10**9, UTC).isoformat(timespec="milliseconds")
            return {"timestamp": moment.replace("+00:00", "Z"), "nonce": str(self._last)}
        return {"timestamp": str(now // unit), "nonce": str(self._last)}


def _part(part: str | Digest, values: dict[str, str]) -> bytes:
    if isinstance(part, str):
        return _bytes(part, values)
    digest = hashlib.new(part.hash, _bytes(part.of, values), usedforsecurity=False).digest()
    return digest if part.encoding == "raw" else _written(digest, part.encoding)


def _bytes(template: str, values: dict[str, str]) -> bytes:
    """Fill in a text that is signed: the body byte by byte, everything else as UTF-8."""
    pieces = _NAME.split(template)  # text, name, text, name, ... text
    return b"".join(
        (values[piece].encode("latin-1" if piece == "body" else "utf-8")) if number % 2 else piece.encode()
        for number, piece in enumerate(pieces)
    )


def _fill(template: str, values: dict[str, str]) -> str:
    return _NAME.sub(lambda found: values[found[1]], template)


def _written(digest: bytes, encoding: _Encoding) -> bytes:
    match encoding:
        case "base64":
            return base64.b64encode(digest)
        case "base64url":
            return base64.urlsafe_b64encode(digest)
        case "HEX":
            return digest.hex().upper().encode()
        case "hex":
            return digest.hex().encode()


def _with_fields(body: bytes | None, fields: dict[str, str]) -> bytes:
    try:
        document = msgspec.json.decode(body or b"{}", type=dict[str, Any])
    except msgspec.MsgspecError:
        raise ValueError("the body to be signed is no JSON object that fields could be added to") from None
    return msgspec.json.encode(document | fields)
