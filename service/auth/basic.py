"""User name and password (RFC 7617)."""

import base64
from typing import Literal

from pydantic import SecretStr

from service.auth import Authenticator, Request


class Basic(Authenticator):
    """Adds ``Authorization: Basic`` with user name and password."""

    kind: Literal["basic"] = "basic"
    user: str
    """The user name."""
    password: SecretStr
    """The password."""

    def authorize(self, request: Request) -> None:
        """Set the header."""
        pair = f"{self.user}:{self.password.get_secret_value()}".encode()
        request.headers["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
