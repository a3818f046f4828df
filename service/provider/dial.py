"""Opens WebSocket connections, and says in our own errors why one could not be opened, or ended."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from multidict import CIMultiDict
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidProxy, InvalidStatus, InvalidURI
from websockets.typing import Subprotocol
from yarl import URL

from service.auth import Request
from service.errors import SourceLost, SourceRefused, TokenRefused
from service.provider import Provider
from service.provider.answers import failure, plain
from service.provider.connection import Connection
from service.provider.wire import opened

CLOSE_TIMEOUT = 0.5
"""Seconds that a provider has for its part of the closing handshake: under backpressure it is never read."""
PING_EVERY = 20.0
"""Seconds between the pings of the protocol, which show that a line without news is alive."""

_wire = logging.getLogger("headrace.wire")
_wire.setLevel(logging.INFO)  # at debug the library logs every frame and header, keys included


@dataclass(frozen=True, slots=True)
class Offer:
    """What we ask for when we connect.

    Attributes:
        headers: further ones.
        subprotocols: the most wanted first.
        compression: whether permessage-deflate is offered.
        max_message: the most bytes of a message.
        weight: of the handshake, in the provider's budget.
    """

    headers: Mapping[str, str]
    subprotocols: Sequence[str]
    compression: bool
    max_message: int
    weight: int


async def dial(url: URL, provider: Provider, offer: Offer) -> Connection:
    """Connect and shake hands, at the provider's pace; with a new token if the first is refused.

    Raises:
        SourceLost: there is no connection, or not now.
        SourceRefused: the provider will not have us.
    """
    request = Request("GET", url, CIMultiDict(offer.headers))
    try:
        return await _shake_hands(request, provider, offer)
    except TokenRefused:
        if not provider.renew(request):
            raise
    return await _shake_hands(Request("GET", url, CIMultiDict(offer.headers)), provider, offer)


async def _shake_hands(request: Request, provider: Provider, offer: Offer) -> Connection:
    url = request.url  # without what the credentials add to it
    await provider.admit(request, offer.weight)
    encrypted: dict[str, Any] = {"ssl": provider.tls} if url.scheme == "wss" and provider.tls is not None else {}
    try:
        connection = await _Connect(
            str(request.url),
            additional_headers=list(request.headers.items()),
            subprotocols=[Subprotocol(name) for name in offer.subprotocols] or None,
            compression="deflate" if offer.compression else None,
            max_size=offer.max_message,
            open_timeout=provider.timeout,
            ping_interval=PING_EVERY,
            ping_timeout=None,  # a pong may wait behind what we cannot take yet: our watchdog decides
            close_timeout=CLOSE_TIMEOUT,
            create_connection=Connection,
            logger=_wire,
            proxy=provider.proxy,
            **encrypted,
        )
    except InvalidStatus as refused:
        answer = refused.response
        what, headers = f"handshake with {plain(url)}", CIMultiDict(answer.headers.raw_items())
        fault = provider.fault(what, url, answer.status_code, headers, bytes(answer.body or b""))
        raise fault or SourceRefused(f"{what}: {answer.status_code} in place of 101") from refused
    except InvalidProxy as error:
        raise SourceRefused(f"the `proxy` of {provider.name} is no address of a proxy") from error
    except (InvalidHandshake, OSError, EOFError) as error:  # before ValueError: a certificate that is refused is both
        raise SourceLost(f"{plain(url)}: {provider.said(failure(error))}") from error
    except (InvalidURI, ValueError) as error:
        raise SourceRefused(f"{plain(url)} is no address that can be asked") from error
    opened(plain(url))
    return cast("Connection", connection)


def ended(closed: ConnectionClosed, where: str, provider: Provider, max_message: int) -> SourceLost | SourceRefused:
    """Say what the end of a connection means.

    A message that is too large would come again after every reconnect, and ours would be sent again: both are refusals.
    """
    sent, received = closed.sent, closed.rcvd
    if sent is not None and sent.code == 1009 and not closed.rcvd_then_sent:
        return SourceRefused(f"{where}: a message is larger than max_message ({max_message} bytes)")
    end = received or sent
    if end is None:
        return SourceLost(f"{where}: connection lost")
    reason = f"{where}: closed with {end.code} {provider.said(end.reason)}".rstrip()
    return SourceRefused(f"{reason}: a message of ours is too large") if end.code == 1009 else SourceLost(reason)


class _Connect(connect):
    """Connects without following redirects: the library would take our headers along to another origin."""

    def process_redirect(self, exc: Exception) -> Exception:
        """Let a redirect be an answer like any other."""
        return exc
