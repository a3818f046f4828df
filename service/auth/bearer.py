"""A bearer token (RFC 6750)."""

from typing import Literal

from pydantic import SecretStr

from service.auth import Authenticator, Request


class Bearer(Authenticator):
    """Adds ``Authorization: Bearer TOKEN``."""

    kind: Literal["bearer"] = "bearer"
    token: SecretStr
    """The token."""

    def authorize(self, request: Request) -> None:
        """Set the header."""
        request.headers["Authorization"] = f"Bearer {self.token.get_secret_value()}"
