"""The client of one provider: its address, credentials and pace, shared by all its feeds."""

import asyncio
import contextlib
import re
import ssl
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import cast

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from service.auth import Authenticator, Request, TokenAuthenticator
from service.config.settings import SECRETS
from service.config.settings import Provider as ProviderSettings
from service.errors import NothingThere, PageInstead, SourceLost, SourceRefused, TokenRefused
from service.provider.answers import failure, judge, plain, retry_after, usual_action
from service.provider.body import Body, start
from service.provider.budget import Budget
from service.provider.hidden import blank, secrets_of
from service.provider.keep import Keep
from service.provider.limits import limits
from service.provider.rules import Rules, is_page
from service.provider.socks import connector
from service.provider.token import Tokens
from service.provider.trust import trust
from service.provider.wire import heard, sent

REDIRECTS = 5
_SHOWN = 200
_PIECE = 64 << 10
_NO_RULES = Rules(())
_OPEN = re.compile(r"(accept|cache-control|content-type|last-event-id|user-agent)", re.IGNORECASE)
"""Headers that hold no secret."""


class Provider:
    """Sends requests to one provider; an async context manager that owns the connections.

    What proves who we are (``auth``, and configured headers and bodies, which may hold a key) goes to the
    provider's own origins only: those of its ``url`` and of the ``url`` of its feeds. A redirect or a link to
    another origin is followed without them. An origin is scheme, host and port (RFC 6454); a WebSocket's is that
    of its handshake. A token call goes to the address that is configured for it, and is not redirected.

    Args:
        name: as configured.
        settings: likewise.
        secrets: the folder where a renewed refresh token survives a restart.

    Attributes:
        name: as configured.
        url: the base URL, or None.
        timeout: seconds that a connection, or the next bytes of an answer, may take.
        budget: the limits that all feeds share.
        tls: whom encrypted connections trust, or None for the system's choice.
        proxy: the address that connections go through, with its password, or None.
    """

    def __init__(self, name: str, settings: ProviderSettings, secrets: Path = SECRETS) -> None:
        self.name = name
        self.url = URL(settings.url) if settings.url is not None else None
        self.timeout = settings.timeout
        heaviest = max(getattr(feed, "weight", 1) for feed in settings.feeds.values())
        self.budget = Budget(settings.rate_limit, heaviest)
        self._headers = settings.headers
        self._auth = cast("Authenticator | None", settings.auth)
        self._rules = Rules(settings.errors)
        self._limit_headers = settings.limit_headers
        self.serve(settings)
        self._keep = Keep(secrets, name)
        self._tokens: Tokens | None = None
        self.tls: ssl.SSLContext | None = None
        self.proxy = settings.proxy.get_secret_value() if settings.proxy is not None else None
        self._tls = settings.tls
        self._session: aiohttp.ClientSession | None = None
        self._stack = contextlib.AsyncExitStack()

    def serve(self, settings: ProviderSettings) -> None:
        """Serve other feeds from now on; what they share is as it was."""
        addresses = [settings.url, *(getattr(feed, "url", None) for feed in settings.feeds.values())]
        self._origins = {_origin(URL(address)) for address in addresses if address}
        self._secrets = secrets_of(settings)

    async def __aenter__(self) -> "Provider":
        if self._tls is not None:
            self.tls = trust(self.name, self._tls)
        socks = connector(self.proxy, self.tls) if self.proxy is not None else None
        session = aiohttp.ClientSession(
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            connector=socks or aiohttp.TCPConnector(ssl=self.tls if self.tls is not None else True),
            proxy=self.proxy if socks is None else None,
        )
        self._session = await self._stack.enter_async_context(session)
        if isinstance(self._auth, TokenAuthenticator):
            group = await self._stack.enter_async_context(asyncio.TaskGroup())
            self._tokens = Tokens(self.name, self._auth, self._call, self._keep, group)
        return self

    async def __aexit__(self, *exc: object) -> None:
        # A token call under way is waited for, whatever ends us: its answer may hold the only refresh token.
        await self._stack.aclose()

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

    async def admit(self, request: Request, weight: int = 1) -> None:
        """Wait until a request may be sent, then add headers and credentials if it goes to an origin of the provider.

        A header that the request has already is kept, unless it is the credential itself.

        Raises:
            SourceLost: the provider wants us to wait for long, or no token can be had now.
            SourceRefused: we are given no token, or the request cannot be authorised.
        """
        await self.budget.take(weight)
        if not self.own(request.url):
            return
        for name, value in self._headers.items():
            request.headers.setdefault(name, value)
        if self._tokens is not None:
            request.token = await self._tokens.get()
        if self._auth is not None:
            try:
                self._auth.authorize(request)
            except ValueError as error:
                raise SourceRefused(f"{request.method} {plain(request.url)}: {error}") from error

    def renew(self, request: Request) -> bool:
        """Note that a request was refused for its token; whether it is worth a try with a new one."""
        return self._tokens is not None and self._tokens.drop(request.token)

    def said(self, words: bytes | bytearray | str) -> str:
        """Give the beginning of what a provider said, on one line, with our own secrets blanked out."""
        return " ".join(self.blanked(words).split())[:_SHOWN]

    def blanked(self, words: bytes | bytearray | str) -> str:
        """Give a text with our own secrets blanked out."""
        text = words if isinstance(words, str) else words.decode(errors="replace")
        held = self._tokens.secrets() if self._tokens is not None else []
        return blank(text, [*self._secrets, *held])

    def fault(
        self, what: str, url: URL, status: int, headers: Mapping[str, str], body: bytes, rules: Rules = _NO_RULES
    ) -> SourceLost | SourceRefused | None:
        """Say what is wrong with an answer of the provider; None when it may be used.

        What it says about its limits is noted.

        Args:
            what: what was asked, such as ``GET https://api.acme.example/v4/matches``.
            url: of the answer; what another origin says of limits holds nobody up.
            status: of the answer.
            headers: of the answer, by names in any case.
            body: its beginning.
            rules: of the feed; they come before those of the provider.
        """
        ruled = rules.action(status, headers, body) or self._rules.action(status, headers, body)
        action = ruled or usual_action(status)
        wait = retry_after(headers.get("Retry-After"))
        if self.own(url):
            self.budget.note(limits(headers, self._limit_headers))
            if action == "rate_limited" or (action == "retry" and status in {429, 503}):
                self.budget.hold(wait or 0.0)
                wait = max(wait or 0.0, self.budget.wait()) or None
        if action is not None:
            reason = f"{what}: {status}: {self.said(body)}".removesuffix(": ")
            return NothingThere(reason) if ruled is None and status in {404, 410} else judge(action, reason, wait)
        if is_page(body):
            return PageInstead(f"{what}: {status} with a web page in place of data: {self.said(body)}", body)
        return None

    @contextlib.asynccontextmanager
    async def request(
        self,
        method: str,
        url: URL,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        weight: int = 1,
        rules: Rules = _NO_RULES,
        endless: bool = False,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send a request at the provider's pace and give the answer: 2xx or 304, its body not read yet.

        The body of an ``endless`` answer may pause for as long as its reader allows.

        Redirects are followed by hand, since credentials depend on where each leads (RFC 9110, section 15.4).
        A token that is refused is renewed, once.

        Raises:
            SourceLost: no answer, or 408, 425, 429, 5xx; also while the caller reads the body.
            SourceRefused: any other answer, too many redirects, or a redirect of the body to another origin.
        """
        what = f"{method} {plain(url)}"
        renewed = False
        try:
            for _ in range(REDIRECTS + (1 if self._tokens is None else 2)):
                own = self.own(url)
                sent = {name: value for name, value in (headers or {}).items() if own or _OPEN.match(name)}
                request = Request(method, url, CIMultiDict(sent), body)
                async with await self._send(request, weight, endless=endless) as response:
                    target = _target(response, url)
                    fault = None if target is not None else await self._check(response, f"{method} {plain(url)}", rules)
                    if target is None and fault is None:
                        yield response
                        return
                if fault is not None:
                    if renewed or not isinstance(fault, TokenRefused) or not self.renew(request):
                        raise fault
                    renewed = True
                    continue
                url = target or url
                if response.status == 303 or (response.status in {301, 302} and method == "POST"):
                    method, body = "GET", None
                if body is not None and not self.own(url):
                    raise SourceRefused(f"{what}: redirected with its body to another origin, {plain(url)}")
        except (aiohttp.ClientError, OSError) as error:
            raise SourceLost(f"{what}: {self.said(failure(error))}") from error
        raise SourceRefused(f"{what}: more than {REDIRECTS} redirects")

    def examine(self, response: aiohttp.ClientResponse, body: bytes, rules: Rules) -> None:
        """Look into the beginning of the body of an answer that ``request`` gave.

        Raises:
            SourceLost: it is a web page, or a rule says so.
            SourceRefused: a rule says so.
        """
        what = f"{response.method} {plain(response.url)}"
        fault = self.fault(what, response.url, response.status, response.headers, body[:_PIECE], rules)
        if isinstance(fault, TokenRefused) and self._tokens is not None:
            self._tokens.drop_present()
            raise SourceLost(f"{fault.reason}; a new token is fetched") from fault
        if fault is not None:
            raise fault

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

    async def _send(self, request: Request, weight: int, *, endless: bool) -> aiohttp.ClientResponse:
        is_own = self.own(request.url)
        what = f"{request.method} {request.url.with_user(None)}"  # as the feed asks: credentials are added to it
        await self.admit(request, weight)
        sent(f"{what}\n{request.body.decode(errors='replace')}" if request.body is not None else what)
        async with asyncio.timeout(self.timeout if endless else None):
            response = await self._ask(request, endless=endless)
        heard(f"{response.status} {response.headers.get('Content-Type', '')}".rstrip())
        if is_own:
            self.budget.note(limits(response.headers, self._limit_headers))
        return response

    async def _ask(self, request: Request, *, endless: bool = False) -> aiohttp.ClientResponse:
        if self._session is None:
            raise RuntimeError("a provider is entered before it is asked")
        timeout = aiohttp.ClientTimeout(sock_connect=self.timeout, sock_read=None if endless else self.timeout)
        try:
            return await self._session.request(
                request.method,
                request.url,
                headers=request.headers,
                data=request.body,
                allow_redirects=False,
                timeout=timeout,
            )
        except aiohttp.ClientSSLError:
            raise  # a certificate that is refused is a ValueError, too
        except (ValueError, aiohttp.NonHttpUrlClientError) as error:
            # Of an address aiohttp's own words hold the whole, with what may be secret in its query.
            address = isinstance(error, aiohttp.ClientError)
            reason = "this is no address that can be asked" if address else self.said(str(error))
            raise SourceRefused(f"{request.method} {plain(request.url)}: {reason}") from error

    async def _check(
        self, response: aiohttp.ClientResponse, what: str, rules: Rules
    ) -> SourceLost | SourceRefused | None:
        if usual_action(response.status) is None:
            return None  # what a rule says of it is found out by who reads the body
        # Read on beyond what is shown, so that no secret is cut in two and escapes being blanked out.
        said = await self._beginning(response)
        return self.fault(what, response.url, response.status, response.headers, said, rules)

    async def _beginning(self, response: aiohttp.ClientResponse) -> bytes:
        said = b""
        while len(said) < _PIECE and (piece := await response.content.read(_PIECE - len(said))):
            said += piece
        return start(response, said)

    async def _call(self, request: Request) -> bytes:
        """Make a token call and give the body of the answer: as any request, but to no other address.

        Raises:
            SourceLost: no answer, or one that another try may mend.
            SourceRefused: we are given no token.
        """
        what = f"{request.method} {plain(request.url)}"
        await self.budget.take()
        if self.own(request.url):
            for name, value in self._headers.items():
                request.headers.setdefault(name, value)
        try:
            async with asyncio.timeout(self.timeout), await self._ask(request) as response:
                body = await self._beginning(response)
        except (aiohttp.ClientError, OSError) as error:
            raise SourceLost(f"{what}: {self.said(failure(error))}") from error
        action = usual_action(response.status)
        if action is not None:
            wait = retry_after(response.headers.get("Retry-After"))
            raise judge(action, f"{what}: {response.status}: {self.said(body)}", wait)
        return body


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
