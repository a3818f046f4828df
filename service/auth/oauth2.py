"""OAuth 2.0 (RFC 6749): an access token by client credentials, or by a refresh token."""

import base64
from typing import Literal
from urllib.parse import quote_plus, urlencode

import msgspec
from multidict import CIMultiDict
from pydantic import Field, SecretStr, model_validator
from yarl import URL

from service.auth import Request, Token, TokenAuthenticator
from service.config.units import Duration


class _Answer(msgspec.Struct):
    """What of a token answer is read (RFC 6749, section 5.1)."""

    access_token: str
    token_type: str = "bearer"  # noqa: S105  the name of a kind
    expires_in: float | str | None = None
    refresh_token: str | None = None


class OAuth2(TokenAuthenticator):
    """Adds ``Authorization: Bearer`` with a token that is fetched and renewed; a rotated refresh token is kept."""

    kind: Literal["oauth2"] = "oauth2"
    token_url: str = Field(pattern=r"^https?://")
    """Where tokens are given; what is sent there goes nowhere else."""
    client_id: str
    """Who asks."""
    client_secret: SecretStr | None = None
    """Its secret; a public client has none."""
    refresh_token: SecretStr | None = None
    """The first refresh token. Without one, the client's own credentials are what tokens are given for."""
    scope: str | None = None
    """The scopes asked for, with blanks between them."""
    client: Literal["basic", "body"] = "basic"
    """Where the client's credentials go: Authorization header, or body (RFC 6749, section 2.3.1)."""
    params: dict[str, SecretStr] = Field(default={})
    """Further parameters of the token call, such as `audience` or `resource`."""
    lifetime: Duration | None = Field(default=None, gt=0)
    """How long a token holds, if the provider does not say."""

    @model_validator(mode="after")
    def _grantable(self) -> "OAuth2":
        if self.refresh_token is None and self.client_secret is None:
            raise ValueError("set `client_secret` (client credentials) or `refresh_token`")
        return self

    def authorize(self, request: Request) -> None:
        """Set the header (RFC 6750, section 2.1)."""
        request.headers["Authorization"] = f"Bearer {request.token}"

    def call(self, refresh: str | None) -> Request:
        """Ask for a token (RFC 6749, section 4.4.2; with a refresh token: section 6)."""
        form = {name: value.get_secret_value() for name, value in self.params.items()}
        if self.refresh_token is None:
            form["grant_type"] = "client_credentials"
        else:
            form |= {"grant_type": "refresh_token", "refresh_token": refresh or self.refresh_token.get_secret_value()}
        if self.scope is not None:
            form["scope"] = self.scope
        headers = CIMultiDict({"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"})
        secret = self.client_secret.get_secret_value() if self.client_secret is not None else None
        if secret is not None and self.client == "basic":
            pair = f"{quote_plus(self.client_id)}:{quote_plus(secret)}".encode()
            headers["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
        else:
            form |= {"client_id": self.client_id, **({"client_secret": secret} if secret is not None else {})}
        return Request("POST", URL(self.token_url), headers, urlencode(form).encode())

    def read(self, body: bytes) -> Token:
        """Read the answer."""
        try:
            answer = msgspec.json.decode(body, type=_Answer)
            lifetime = self.lifetime if answer.expires_in is None else float(answer.expires_in)
        except (msgspec.MsgspecError, ValueError):
            raise ValueError("the answer holds no access_token") from None
        if answer.token_type.lower() != "bearer":
            raise ValueError("the token is of another type than bearer")
        refresh = answer.refresh_token if self.refresh_token is not None else None
        return Token(answer.access_token, lifetime, refresh)

    def lineage(self) -> str | None:
        """Refresh tokens descend from the configured one."""
        if self.refresh_token is None:
            return None
        return f"{self.token_url} {self.client_id} {self.refresh_token.get_secret_value()}"
