"""Authenticators: what each adds to a request, one file a kind."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar

from multidict import CIMultiDict
from yarl import URL

from service.config.connectors import Connector


@dataclass(slots=True)
class Request:
    """An HTTP request, or the handshake of a WebSocket, that is about to be sent.

    Attributes:
        token: the token to put in, for an authenticator that needs one.
    """

    method: str
    url: URL
    headers: CIMultiDict[str] = field(default_factory=CIMultiDict)
    body: bytes | None = None
    token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Token:
    """What a token call gives.

    Attributes:
        value: the token.
        lifetime: seconds from now for which it holds; None when the provider does not say.
        refresh: what the next token call must present; None when it takes what is configured.
    """

    value: str = field(repr=False)
    lifetime: float | None = None
    refresh: str | None = field(default=None, repr=False)


class Authenticator(Connector, ABC):
    """Proves to a provider who we are.

    It is asked for every request to the provider's own origin, and for no other, right before the request is sent.

    Attributes:
        renewable: whether it helps to ask again with new credentials.
    """

    renewable: ClassVar[bool] = False

    @abstractmethod
    def authorize(self, request: Request) -> None:
        """Add the credentials to the request, in place.

        Raises:
            ValueError: the request is not one that can be authorised; the message says why.
        """


class TokenAuthenticator(Authenticator):
    """Proves who we are by a token that a call gives and that ends some time.

    It keeps no state: the provider's client makes the call, once for all feeds, before the token ends or after a 401.
    ``authorize`` puts the ``token`` of the request into it.
    """

    renewable: ClassVar[bool] = True

    @abstractmethod
    def call(self, refresh: str | None) -> Request:
        """Give the call that fetches a token; ``refresh`` is what the last such call gave for this one, if it did."""

    @abstractmethod
    def read(self, body: bytes) -> Token:
        """Read the answer to the call.

        Raises:
            ValueError: it holds no token; the message says what is missing, and shows no value.
        """

    def lineage(self) -> str | None:
        """Name what the refresh tokens descend from, so that a kept one is used for no other; None: none is kept."""
        return None
