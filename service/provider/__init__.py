"""The client of one provider: its address, credentials and pace, shared by all its feeds."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Mapping
from typing import cast

import aiohttp
from multidict import CIMultiDict
from pydantic import SecretStr
from yarl import URL

from service.auth import Authenticator, Request
from service.config.settings import Provider as ProviderSettings
from service.errors import SourceLost, SourceRefused
from service.provider.answers import failure, judge, plain
from service.provider.body import Body, start
from service.provider.pace import Pacer

REDIRECTS = 5
_SHOWN = 200
_PIECE = 64 << 10
_OPEN = re.compile(r"(accept|cache-control|content-type|last-event-id|user-agent)", re.IGNORECASE)
"""Headers that hold no secret."""


class Provider:
    """Sends requests to one provider; an async context manager that owns the connections.

    What proves who we are (``auth``, and configured headers and bodies, which may hold a key) goes to the
    provider's own origins only: those of its ``url`` and of the ``url`` of its feeds. A redirect or a link to
    another origin is followed without them. An origin is scheme, host and port (RFC 6454); a WebSocket's is that
    of its handshake.

    Attributes:
        name: as configured.
        url: the base URL, or None.
        timeout: seconds that a connection, or the next bytes of an answer, may take.
        pace: the limit that all feeds share.
    """

    def __init__(self, name: str, settings: ProviderSettings) -> None:
        self.name = name
        self.url = URL(settings.url) if settings.url is not None else None
        self.timeout = settings.timeout
        self.pace = Pacer(settings.rate_limit)
        self._headers = settings.headers
        self._auth = cast("Authenticator | None", settings.auth)
        addresses = [settings.url, *(getattr(feed, "url", None) for feed in settings.feeds.values())]
        self._origins = {_origin(URL(address)) for address in addresses if address}
        self._secrets = _secrets(settings)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> "Provider":
        self._session = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False)
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._session is not None:
            await self._session.close()

    def address(self, path: str) -> URL:
        """Give the address of a path below the base URL, whose own path and query it keeps.

        Raises:
            SourceRefused: there is no base URL.
        """
        if self.url is None:
            raise SourceRefused("no address: set `url` on the feed or on its provider")
        if not path:
            return self.url
        below = URL(f"/{path.lstrip('/')}")
        joined = self.url.with_path(self.url.raw_path.rstrip("/") + below.raw_path, encoded=True)
        return joined.with_query(self.url.query).extend_query(below.query)

    def own(self, url: URL) -> bool:
        """Whether an address belongs to the provider, so that it may know who we are."""
        return _origin(url) in self._origins

    def authorize(self, request: Request) -> None:
        """Add the provider's headers and credentials, if the request goes to an origin of the provider.

        A header that the request has already is kept, unless it is the credential itself.
        """
        if self.own(request.url):
            for name, value in self._headers.items():
                request.headers.setdefault(name, value)
            if self._auth is not None:
                self._auth.authorize(request)

    def said(self, words: bytes | bytearray | str) -> str:
        """Give the beginning of what a provider said, on one line, with our own secrets blanked out."""
        text = words if isinstance(words, str) else words.decode(errors="replace")
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return " ".join(text.split())[:_SHOWN]

    @contextlib.asynccontextmanager
    async def request(
        self,
        method: str,
        url: URL,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        endless: bool = False,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send a request at the provider's pace and give the answer: 2xx or 304, its body not read yet.

        The body of an ``endless`` answer may pause for as long as its reader allows.

        Redirects are followed by hand, since credentials depend on where each leads (RFC 9110, section 15.4).

        Raises:
            SourceLost: no answer, or 408, 425, 429, 5xx; also while the caller reads the body.
            SourceRefused: any other answer, too many redirects, or a redirect of the body to another origin.
        """
        what = f"{method} {plain(url)}"
        try:
            for _ in range(REDIRECTS + 1):
                async with await self._send(method, url, headers, body, endless=endless) as response:
                    target = _target(response, url)
                    if target is None:
                        await self._check(response, f"{method} {plain(url)}")
                        yield response
                        return
                url = target
                if response.status == 303 or (response.status in {301, 302} and method == "POST"):
                    method, body = "GET", None
                if body is not None and not self.own(url):
                    raise SourceRefused(f"{what}: redirected with its body to another origin, {plain(url)}")
        except (aiohttp.ClientError, OSError) as error:
            raise SourceLost(f"{what}: {self.said(failure(error))}") from error
        raise SourceRefused(f"{what}: more than {REDIRECTS} redirects")

    async def read(self, response: aiohttp.ClientResponse, max_bytes: int) -> bytes:
        """Read a body of at most ``max_bytes``, counted after decompression, as it comes in.

        Raises:
            SourceRefused: the body is larger.
        """
        pieces: list[bytes] = []
        size = 0
        async with contextlib.aclosing(Body(response, max_bytes).chunks()) as chunks:
            async for piece in chunks:
                size += len(piece)
                if size > max_bytes:
                    raise SourceRefused(f"{plain(response.url)}: the body is larger than max_body ({max_bytes} bytes)")
                pieces.append(piece)
        return b"".join(pieces)

    async def _send(
        self, method: str, url: URL, headers: Mapping[str, str] | None, body: bytes | None, *, endless: bool
    ) -> aiohttp.ClientResponse:
        if self._session is None:
            raise RuntimeError("a provider is entered before it is asked")
        own = self.own(url)
        sent = {name: value for name, value in (headers or {}).items() if own or _OPEN.match(name)}
        request = Request(method, url, CIMultiDict(sent), body)
        self.authorize(request)
        timeout = aiohttp.ClientTimeout(sock_connect=self.timeout, sock_read=None if endless else self.timeout)
        async with self.pace.place(), asyncio.timeout(self.timeout if endless else None):
            try:
                return await self._session.request(
                    method,
                    request.url,
                    headers=request.headers,
                    data=request.body,
                    allow_redirects=False,
                    timeout=timeout,
                )
            except (ValueError, aiohttp.NonHttpUrlClientError) as error:
                # Of an address aiohttp's own words hold the whole, with what may be secret in its query.
                address = isinstance(error, aiohttp.ClientError)
                reason = "this is no address that can be asked" if address else self.said(str(error))
                raise SourceRefused(f"{method} {plain(url)}: {reason}") from error

    async def _check(self, response: aiohttp.ClientResponse, what: str) -> None:
        if response.status >= 300 and response.status != 304:
            # Read on beyond what is shown, so that no secret is cut in two and escapes being blanked out.
            said = self.said(start(response, await response.content.read(_PIECE)))
            raise judge(what, response.status, said, response.headers.get("Retry-After"))


def _target(response: aiohttp.ClientResponse, url: URL) -> URL | None:
    """Give where a redirect leads; None for any other answer, and for a redirect that leads nowhere."""
    if response.status not in {301, 302, 303, 307, 308}:
        return None
    try:
        return url.join(URL(response.headers["Location"]))
    except (KeyError, ValueError):
        return None


def _origin(url: URL) -> tuple[bool, str | None, int | None]:
    return url.scheme in {"https", "wss"}, url.host, url.port


def _secrets(settings: ProviderSettings) -> list[str]:
    """Give what must not be shown, the longest first; what is shorter than four characters says nothing."""
    fields = vars(settings.auth).values() if settings.auth is not None else ()
    hidden = [value.get_secret_value() for value in fields if isinstance(value, SecretStr)]
    for part in (settings, *settings.feeds.values()):
        headers: Mapping[str, str] = getattr(part, "headers", {})
        hidden += [value for name, value in headers.items() if not _OPEN.match(name)]
    return sorted((secret for secret in hidden if len(secret) >= 4), key=len, reverse=True)
