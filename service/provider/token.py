"""The token of a provider: fetched once for all its feeds, renewed before it ends, dropped when it is refused."""

import asyncio
import hashlib
import math
import time
from collections.abc import Awaitable, Callable

import structlog

from service.auth import Request, Token, TokenAuthenticator
from service.errors import SourceLost, SourceRefused, TokenRefused
from service.provider.keep import Keep

log = structlog.get_logger()

MARGIN = 30.0
"""Seconds before its end at which a token is renewed; of a short one, a tenth of its life."""
REFUSED_FOR = 50.0
"""Seconds for which a refused token call is not repeated: every feed asks, and some providers lock out."""


class Tokens:
    """Holds the present token.

    Args:
        provider: its name, for the log.
        auth: says how a token is asked for.
        send: sends a token call and gives the body of the answer.
        keep: where a refresh token survives a restart.
        group: runs the call: it must go on when the feed that asked is stopped, or a rotated token would be lost.
    """

    def __init__(
        self,
        provider: str,
        auth: TokenAuthenticator,
        send: Callable[[Request], Awaitable[bytes]],
        keep: Keep,
        group: asyncio.TaskGroup,
    ) -> None:
        self._provider = provider
        self._auth = auth
        self._send = send
        self._keep = keep
        self._group = group
        lineage = auth.lineage()
        # The file tells nobody what is configured, only whether it is still the same.
        self._lineage = hashlib.blake2b(lineage.encode(), digest_size=16).hexdigest() if lineage is not None else None
        self._token: Token | None = None
        self._ends = math.inf
        self._refresh: str | None = None
        self._refused: tuple[TokenRefused, float] | None = None
        self._call: asyncio.Task[Token | SourceLost | TokenRefused] | None = None

    async def get(self) -> str:
        """Give the present token, fetching it first if need be; all who ask meanwhile wait for the same call.

        Raises:
            SourceLost: the provider cannot be reached, or the token could not be kept.
            SourceRefused: it gives us no token.
        """
        if self._token is not None and time.monotonic() < self._ends:
            return self._token.value
        if self._refused is not None and time.monotonic() < self._refused[1]:
            raise TokenRefused(self._refused[0].reason)
        if self._call is None or self._call.done():
            self._call = self._group.create_task(self._fetch(), name=f"{self._provider} token")
        call = self._call
        await asyncio.wait([call])
        outcome = call.result()
        if isinstance(outcome, Token):
            return outcome.value
        # Each who asked raises an error of its own: one that is raised twice would gather tracebacks.
        if isinstance(outcome, SourceLost):
            raise SourceLost(outcome.reason, outcome.retry_after)
        raise TokenRefused(outcome.reason)

    def drop(self, token: str | None) -> bool:
        """Note that a token was refused; whether another one is worth a try."""
        if self._token is not None and token == self._token.value:
            self._token = None
        return token is not None

    def drop_present(self) -> None:
        """Note that the present token was refused."""
        self._token = None

    def secrets(self) -> list[str]:
        """Give what must not be shown."""
        held = [self._token.value] if self._token is not None else []
        return [*held, self._refresh] if self._refresh is not None else held

    async def _fetch(self) -> Token | SourceLost | TokenRefused:
        """Make the token call; its failures are an outcome, not an exception that would end the group."""
        try:
            await self._prepare()
            body = await self._send(self._auth.call(self._refresh))
            token = self._auth.read(body)
        except ValueError as error:
            refused = TokenRefused(f"token call of {self._provider}: {error}")
        except SourceRefused as error:
            refused = TokenRefused(error.reason)
        except SourceLost as lost:
            return lost
        else:
            await self._accept(token)
            return token
        self._refused = refused, time.monotonic() + REFUSED_FOR
        return refused

    async def _prepare(self) -> None:
        """Find the newest refresh token, and make sure that the next one can be kept, before this one is spent.

        Raises:
            SourceLost: it could not be kept.
        """
        if self._lineage is None:
            return
        try:
            # Another process of ours, such as `headrace preview`, may have renewed it.
            self._refresh = await asyncio.to_thread(self._keep.load, self._lineage) or self._refresh
            await asyncio.to_thread(self._keep.save, self._lineage, self._refresh or "")
        except OSError as error:
            raise SourceLost(f"the refresh token of {self._provider} cannot be kept: {error}") from error

    async def _accept(self, token: Token) -> None:
        lifetime = token.lifetime if token.lifetime is not None and math.isfinite(token.lifetime) else math.inf
        self._token = token
        self._ends = time.monotonic() + lifetime - (min(MARGIN, lifetime / 10) if lifetime < math.inf else 0)
        self._refused = None
        if self._lineage is None or token.refresh is None or token.refresh == self._refresh:
            return
        self._refresh = token.refresh
        try:
            await asyncio.to_thread(self._keep.save, self._lineage, token.refresh)
        except OSError as error:
            advice = "free the folder of `secrets`, or a restart will need a new refresh_token"
            log.warning("refresh token not kept", provider=self._provider, reason=str(error), advice=advice)
