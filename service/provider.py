"""The client of one provider: its address, credentials and pace, shared by all its feeds."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import cast

import aiohttp
from aiolimiter import AsyncLimiter
from multidict import CIMultiDict
from yarl import URL

from service.auth import Authenticator, Request
from service.config.settings import Provider as ProviderSettings
from service.errors import SourceLost, SourceRefused

REDIRECTS = 5
_SHOWN = 200


class Provider:
    """Sends requests to one provider.

    What proves who we are (``auth`` and the configured headers) goes to the provider's own origins only: those of its
    ``url`` and of the addresses that its feeds are configured with. A redirect or a link to another origin is followed
    without them.
    """

    def __init__(self, name: str, settings: ProviderSettings) -> None:
        self.name = name
        self.url = URL(settings.url) if settings.url is not None else None
        self.timeout = settings.timeout
        self._settings = settings
        self._auth = cast("Authenticator | None", settings.auth)
        addresses = [settings.url, *(getattr(feed, "url", None) for feed in settings.feeds.values())]
        self._origins = {_origin(URL(address)) for address in addresses if address}
        self._pace = _pace(settings)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> "Provider":
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=self.timeout, sock_read=self.timeout)
        self._session = aiohttp.ClientSession(timeout=timeout, cookie_jar=aiohttp.DummyCookieJar())
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._session is not None:
            await self._session.close()

    def address(self, path: str) -> URL:
        """Give the address of a path below the base URL, whose own path it is added to; an address stays as it is."""
        if "://" in path or self.url is None:
            return URL(path)
        return self.url.with_path(f"{self.url.path.rstrip('/')}/{path.lstrip('/')}", encoded=False)

    def authorize(self, request: Request) -> None:
        """Add what proves who we are, if the request goes to an origin of the provider."""
        if _origin(request.url) in self._origins:
            request.headers.update(self._settings.headers)
            if self._auth is not None:
                self._auth.authorize(request)

    @contextlib.asynccontextmanager
    async def request(
        self,
        method: str,
        url: URL,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send a request at the provider's pace and give the answer: 2xx or 304, its body not read yet.

        Raises:
            SourceLost: no answer, 408, 425, 429 or 5xx.
            SourceRefused: another 4xx, or too many redirects.
        """
        if self._session is None:
            raise RuntimeError("enter the provider first")
        try:
            for _ in range(REDIRECTS + 1):
                # A header that the feed itself sets may hold a secret too: it goes where credentials go.
                own = _origin(url) in self._origins
                request = Request(method, url, CIMultiDict(headers or {}) if own else CIMultiDict(), body)
                self.authorize(request)
                if self._pace is not None:
                    await self._pace.acquire()
                async with self._session.request(
                    method, request.url, headers=request.headers, data=request.body, allow_redirects=False
                ) as response:
                    if response.status in {301, 302, 303, 307, 308} and "Location" in response.headers:
                        url = url.join(URL(response.headers["Location"]))
                        if response.status == 303:
                            method, body = "GET", None
                        continue
                    await _judge(response, url)
                    yield response
                    return
        except (aiohttp.ClientError, TimeoutError, ssl.SSLError, OSError) as error:
            raise SourceLost(f"{method} {plain(url)}: {_reason(error)}") from error
        raise SourceRefused(f"{method} {plain(url)}: more than {REDIRECTS} redirects")

    async def read(self, response: aiohttp.ClientResponse, max_bytes: int) -> bytes:
        """Read a body of at most ``max_bytes``, counted after decompression.

        Raises:
            SourceRefused: the body is larger.
        """
        pieces: list[bytes] = []
        size = 0
        async for piece in response.content.iter_chunked(64 << 10):
            size += len(piece)
            if size > max_bytes:
                raise SourceRefused(
                    f"{plain(response.url)}: the body is larger than max_body ({max_bytes} bytes)"
                )
            pieces.append(piece)
        return b"".join(pieces)


def plain(url: URL) -> str:
    """Give an address without what may be secret: user, password and query."""
    return str(url.with_user(None).with_query(None).with_fragment(None))


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Give the seconds of a Retry-After header, written as seconds or as a date (RFC 9110, section 10.2.3)."""
    value = headers.get("Retry-After", "").strip()
    if value.isdigit():
        return float(value)
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None


def _pace(settings: ProviderSettings) -> AsyncLimiter | None:
    """Give a limiter that lets no more than ``count`` requests through in any window of ``seconds``.

    A leaky bucket of the whole rate allows twice of it in its first window (the burst, and what leaks meanwhile). Half
    in the bucket and half leaking stays below it in every window; a rate of one is spaced evenly.
    """
    if settings.rate_limit is None:
        return None
    count, seconds = settings.rate_limit
    burst = max(1.0, count // 2)
    leak = max(count - burst, count / 2)
    return AsyncLimiter(burst, seconds * burst / leak) if count > 1 else AsyncLimiter(1, seconds / count)


def _origin(url: URL) -> tuple[str | None, int | None, bool]:
    return url.host, url.port, url.scheme in {"https", "wss"}


async def _judge(response: aiohttp.ClientResponse, url: URL) -> None:
    status = response.status
    if status < 300 or status == 304:
        return
    said = (await response.content.read(_SHOWN)).decode(errors="replace").strip()
    reason = f"{response.method} {plain(url)}: {status} {response.reason or ''}".rstrip() + (
        f": {said}" if said else ""
    )
    if status in {408, 425, 429} or status >= 500:
        raise SourceLost(reason, retry_after(response.headers))
    raise SourceRefused(reason)


def _reason(error: BaseException) -> str:
    if isinstance(error, TimeoutError | asyncio.TimeoutError):
        return "no answer in time"
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"cannot connect: {error.os_error.strerror or error.os_error}"
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
