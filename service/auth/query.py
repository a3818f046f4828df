"""A secret in the query of the URL."""

from typing import Literal

from pydantic import SecretStr

from service.auth import Authenticator, Request


class Query(Authenticator):
    """Adds one parameter: ``{kind: query, name: api_key, value: "${KEY}"}``."""

    kind: Literal["query"] = "query"
    name: str
    """The parameter's name."""
    value: SecretStr
    """The secret."""

    def authorize(self, request: Request) -> None:
        """Add the parameter."""
        request.url = request.url.update_query({self.name: self.value.get_secret_value()})
