"""Authenticators: what each adds to a request, one file a kind."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

from multidict import CIMultiDict
from yarl import URL

from service.config.connectors import Connector


@dataclass(slots=True)
class Request:
    """An HTTP request, or the handshake of a WebSocket, that is about to be sent."""

    method: str
    url: URL
    headers: CIMultiDict[str] = field(default_factory=CIMultiDict)
    body: bytes | None = None


class Authenticator(Connector, ABC):
    """Proves to a provider who we are.

    It is asked for every request to the provider's own origin, and for no other.
    """

    @abstractmethod
    def authorize(self, request: Request) -> None:
        """Add the credentials to the request, in place."""
