"""A secret in a header of the provider's choosing."""

from typing import Literal

from pydantic import SecretStr

from service.auth import Authenticator, Request


class Header(Authenticator):
    """Adds one header: ``{kind: header, name: X-Auth-Token, value: "${TOKEN}"}``."""

    kind: Literal["header"] = "header"
    name: str
    """The header's name."""
    value: SecretStr
    """The secret."""

    def authorize(self, request: Request) -> None:
        """Set the header."""
        request.headers[self.name] = self.value.get_secret_value()
