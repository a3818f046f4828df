"""REST: polls a provider, page by page, for what changed."""

import random
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from hashlib import blake2b
from typing import Annotated, Any, ClassVar, Literal, cast

import aiohttp
import msgspec
import structlog
from pydantic import Field
from yarl import URL

from service.config.connectors import Connector, OneOf, Settings
from service.config.paths import parse_path
from service.config.units import Duration, Size
from service.errors import SourceLost
from service.model import Message
from service.pagination import Page, Paginator, Step
from service.provider import plain
from service.sources import Link, Source

log = structlog.get_logger()


class Incremental(Settings):
    """Asks only for what changed since the newest record that was received."""

    field: str
    """Dotted path, within a record, to what orders changes: a timestamp or a number."""
    param: str
    """The parameter that carries the newest value."""
    start: str | int | None = None
    """The value of the first poll; without it, the first poll asks for everything."""
    lookback: Duration = 0.0
    """How far to reach back before the newest value, for changes that the provider publishes late."""


class Rest(Source):
    """Polls an address, ``every`` so often, and hands on each page as one message."""

    replayable: ClassVar[bool] = True

    kind: Literal["rest"] = "rest"
    path: str = ""
    """Added to the provider's base URL."""
    url: str | None = Field(None, pattern=r"^https?://")
    """A whole address, instead of the provider's base URL and `path`."""
    method: Literal["GET", "POST"] = "GET"
    """The method."""
    params: dict[str, str | int | float | bool] = {}
    """Parameters of the query."""
    headers: dict[str, str] = {}
    """Further headers."""
    body: Any = None
    """A JSON body."""
    every: Duration = Field(60.0, gt=0)
    """Time from the start of one poll to the start of the next."""
    paginate: Annotated[Connector, OneOf("service.pagination")] | None = None
    """How a long answer is walked through."""
    max_pages: int = Field(10_000, ge=1)
    """The most pages of one poll."""
    incremental: Incremental | None = None
    """Ask only for what changed."""
    conditional: bool = True
    """Ask whether an answer changed before transferring it again (ETag, Last-Modified), where there is one page."""
    max_body: Size = Field(64 << 20, ge=1)
    """The most bytes of one page."""

    async def run(self, link: Link) -> None:
        """Poll until cancelled; see Source."""
        while True:
            started = time.time()
            await self._poll(link)
            # A little jitter keeps a fleet from polling in step.
            await link.wait_until(started + self.every * random.uniform(0.98, 1.02))  # noqa: S311

    async def _poll(self, link: Link) -> None:
        """Walk through the pages of one poll, or go on with the walk that was interrupted."""
        position = dict(link.position or {})
        walk = msgspec.convert(position["walk"], Step) if "walk" in position else self._paginator().first()
        seen: set[bytes] = set()
        while True:
            page, body = await self._fetch(link, walk, position)
            if page is None:
                link.alive()
                return
            digest = blake2b(body, digest_size=16).digest()
            if digest in seen:
                log.warning("same page twice", feed=link.feed, page=walk.number)
                return
            seen.add(digest)
            walk_next = self._paginator().next(walk, page) if walk.number + 1 < self.max_pages else None
            self._advance(position, page, walk_next)
            await link.emit([_message(body, page, dict(position))])
            if walk_next is None:
                return
            walk = walk_next

    def _paginator(self) -> Paginator:
        return cast("Paginator", self.paginate) if self.paginate is not None else _Single()

    def _parses(self) -> bool:
        return self.paginate is not None or self.incremental is not None

    async def _fetch(self, link: Link, step: Step, position: dict[str, Any]) -> tuple[Page | None, bytes]:
        """Fetch one page; None when the provider, or its bytes, say that nothing changed."""
        provider = link.provider
        base = URL(self.url) if self.url is not None else provider.address(self.path)
        if step.url is not None:
            url = URL(step.url)
        else:
            query = {name: _text(value) for name, value in self.params.items()}
            query |= {name: str(value) for name, value in step.params.items()} | self._since(position)
            url = base.update_query(query)
        headers = dict(self.headers)
        alone = self.conditional and self.paginate is None
        if alone and "etag" in position:
            headers["If-None-Match"] = position["etag"]
        elif alone and "modified" in position:
            headers["If-Modified-Since"] = position["modified"]
        body = msgspec.json.encode(self.body) if self.body is not None else None
        if body is not None:
            headers.setdefault("Content-Type", "application/json")
        async with provider.request(self.method, url, headers=headers, body=body) as response:
            if response.status == 304:
                return None, b""
            data = await provider.read(response, self.max_body)
        if alone and not self._remember(position, response, data):
            return None, b""
        return await self._page(link, url, response, data), data

    def _remember(self, position: dict[str, Any], response: aiohttp.ClientResponse, data: bytes) -> bool:
        """Keep what tells an unchanged answer; say whether this one is new."""
        for name, header in (("etag", "ETag"), ("modified", "Last-Modified")):
            position.pop(name, None)
            if header in response.headers:
                position[name] = response.headers[header]
        digest = blake2b(data, digest_size=16).hexdigest()
        changed = position.get("digest") != digest
        position["digest"] = digest
        return changed

    async def _page(self, link: Link, url: URL, response: aiohttp.ClientResponse, data: bytes) -> Page:
        """Decode what paging and the cursor need.

        Raises:
            SourceLost: the body is not JSON; it is handed on once, so that quarantine has it.
        """
        headers = {name.lower(): value for name, value in response.headers.items()}
        if not self._parses():
            return Page(url, headers, None, 0)
        try:
            document = _decode(data)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, InvalidOperation) as error:
            broken = blake2b(data, digest_size=16).hexdigest()
            if (link.position or {}).get("broken") != broken:
                kept = {**(link.position or {}), "broken": broken}
                await link.emit([_message(data, Page(url, headers, None, 0), kept)])
            raise SourceLost(f"poll failed: {plain(url)} is not JSON: {error}") from error
        return Page(url, headers, document, len(list(self._records(document))))

    def _records(self, document: Any) -> Iterator[Any]:
        value = document
        for part in parse_path(self.records) if self.records else ():
            try:
                value = value[part]
            except (KeyError, IndexError, TypeError):
                return
        yield from value if isinstance(value, list) else [value]

    def _since(self, position: dict[str, Any]) -> dict[str, str]:
        if self.incremental is None:
            return {}
        cursor = position.get("cursor")
        if cursor is None:
            start = self.incremental.start
            return {} if start is None else {self.incremental.param: str(start)}
        return {self.incremental.param: _earlier(cursor, self.incremental.lookback)}

    def _advance(self, position: dict[str, Any], page: Page, walk_next: Step | None) -> None:
        """Move the position over a page: the cursor itself only when the walk is complete."""
        position.pop("broken", None)
        if self.incremental is not None:
            path = parse_path(self.incremental.field)
            found = [
                value for record in self._records(page.document) if (value := _at(record, path)) is not None
            ]
            newest = max(
                [*found, *([position["high"]] if "high" in position else [])], key=_order, default=None
            )
            if newest is not None:
                position["high"] = newest if isinstance(newest, str | int) else str(newest)
        position.pop("walk", None)
        if walk_next is not None:
            position["walk"] = msgspec.to_builtins(walk_next)
        elif "high" in position:
            position["cursor"] = max(position.pop("high"), position.get("cursor"), key=_order)


class _Single(Paginator):
    """One page."""

    def first(self) -> Step:
        return Step()

    def next(self, step: Step, page: Page) -> Step | None:  # noqa: ARG002  the interface's names
        return None


_decode = msgspec.json.Decoder(float_hook=Decimal).decode


def _message(body: bytes, page: Page, position: dict[str, Any]) -> Message:
    meta = {"content_type": page.headers.get("content-type", "")}
    return Message(body, time.time(), position, meta)


def _at(record: Any, path: tuple[str | int, ...]) -> Any:
    for part in path:
        try:
            record = record[part]
        except (KeyError, IndexError, TypeError):
            return None
    return record


def _text(value: str | float | bool) -> str:  # noqa: FBT001  a value, not a switch
    return str(value).lower() if isinstance(value, bool) else str(value)


def _order(value: Any) -> tuple[int, Any]:
    """Order cursors: nothing first, then numbers, moments, and other text as text."""
    if value is None:
        return 0, 0
    try:
        return 1, Decimal(str(value))
    except InvalidOperation:
        pass
    try:
        moment = datetime.fromisoformat(value)
        return 2, moment.timestamp()
    except (ValueError, TypeError):
        return 3, str(value)


def _earlier(cursor: str | int, lookback: float) -> str:
    """Give the cursor less the lookback, in the form that the provider writes it."""
    if not lookback:
        return str(cursor)
    try:
        number = Decimal(str(cursor))
        unit = 1000 if number > 10**11 else 1
        return str(number - int(lookback * unit))
    except InvalidOperation:
        pass
    try:
        moment = datetime.fromisoformat(str(cursor)) - timedelta(seconds=lookback)
    except ValueError:
        return str(cursor)
    return moment.isoformat().replace("+00:00", "Z") if str(cursor).endswith("Z") else moment.isoformat()
