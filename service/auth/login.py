"""A session token that a login call gives."""

from datetime import UTC, datetime
from typing import Any, Literal
from urllib.parse import urlencode

import msgspec
from multidict import CIMultiDict
from pydantic import Field, SecretStr, model_validator
from yarl import URL

from service.auth import Request, Token, TokenAuthenticator
from service.config.paths import parse_path
from service.config.units import Duration
from service.lookup import DottedPath, lookup

_MILLISECONDS = 1e11
"""A moment from here on is in milliseconds: as seconds it would lie beyond the year 5000."""


class Login(TokenAuthenticator):
    """Logs in, and adds the token of the answer to each request."""

    kind: Literal["login"] = "login"
    url: str = Field(pattern=r"^https?://")
    """Where the login call goes; what is sent there goes nowhere else."""
    method: Literal["POST", "GET"] = "POST"
    """Its method."""
    headers: dict[str, SecretStr] = Field(default={})
    """Its headers."""
    body: dict[str, SecretStr] = Field(default={})
    """What it sends: user name, password and what else the provider wants."""
    encoding: Literal["json", "form"] = "json"
    """How `body` is written."""
    token: DottedPath
    """Dotted path to the token in the answer, which is JSON."""
    expires_in: DottedPath | None = None
    """Dotted path to the seconds for which it holds."""
    expires_at: DottedPath | None = None
    """Dotted path to the moment at which it ends: ISO 8601, or seconds or milliseconds since the epoch."""
    lifetime: Duration | None = Field(default=None, gt=0)
    """How long a token holds, if the answer does not say; without any of the three, until the provider answers 401."""
    header: str | None = "Authorization"
    """The header that carries the token."""
    value: str = Field(default="Bearer {token}", pattern=r"\{token\}")
    """The text of that header, with `{token}` where the token goes."""
    query: str | None = None
    """The parameter that carries the token, instead of a header."""

    @model_validator(mode="after")
    def _one_end(self) -> "Login":
        if self.expires_in is not None and self.expires_at is not None:
            raise ValueError("the end of a token is told by either `expires_in` or `expires_at`")
        return self

    def authorize(self, request: Request) -> None:
        """Add the token."""
        token = request.token or ""
        if self.query is not None:
            request.url = request.url.update_query({self.query: token})
        elif self.header is not None:
            request.headers[self.header] = self.value.replace("{token}", token)

    def call(self, refresh: str | None) -> Request:
        """Log in."""
        del refresh
        headers = CIMultiDict({name: value.get_secret_value() for name, value in self.headers.items()})
        headers.setdefault("Accept", "application/json")
        if not self.body:
            return Request(self.method, URL(self.url), headers)
        values = {name: value.get_secret_value() for name, value in self.body.items()}
        is_json = self.encoding == "json"
        headers.setdefault("Content-Type", "application/json" if is_json else "application/x-www-form-urlencoded")
        body = msgspec.json.encode(values) if is_json else urlencode(values).encode()
        return Request(self.method, URL(self.url), headers, body)

    def read(self, body: bytes) -> Token:
        """Read the answer."""
        try:
            answer = msgspec.json.decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise ValueError("the answer is not JSON") from None
        token = lookup(answer, parse_path(self.token))
        if not isinstance(token, str | int) or not str(token):
            raise ValueError(f"the answer holds no token at {self.token}")
        return Token(str(token), self._lifetime(answer))

    def _lifetime(self, answer: Any) -> float | None:
        """Give the seconds for which the token of an answer holds.

        Raises:
            ValueError: what the answer says is neither a number nor a moment.
        """
        path = self.expires_in or self.expires_at
        found = lookup(answer, parse_path(path)) if path is not None else None
        if found is None:
            return self.lifetime
        try:
            if self.expires_in is not None:
                return float(found)
            return _moment(found) - datetime.now(UTC).timestamp()
        except (TypeError, ValueError, OverflowError):
            raise ValueError(f"the answer tells no end of the token at {path}") from None


def _moment(found: Any) -> float:
    try:
        number = float(found)
    except ValueError:
        moment = datetime.fromisoformat(found)
        return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()
    return number / 1000 if number >= _MILLISECONDS else number
