"""REST: polls a provider, page by page, for what changed."""

import time
from contextlib import aclosing
from datetime import datetime
from hashlib import blake2b
from typing import Annotated, Any, ClassVar, Literal, cast
from uuid import uuid4

import msgspec
import structlog
from pydantic import Field, model_validator
from yarl import URL

from service.config.answers import ErrorRule
from service.config.connectors import Connector, OneOf, Settings
from service.config.paths import parse_path
from service.config.units import Duration, Size
from service.cutting import cut
from service.errors import AnswerIgnored, FormatError, PageInstead, SourceLost, SourceRefused, WalkRefused
from service.formats import Format
from service.lookup import DottedPath, lookup
from service.model import Message, Position
from service.pagination import Page, Paginator, Step
from service.provider.answer import Answer
from service.provider.answers import plain
from service.provider.rules import Rules
from service.schedule import Cron, Schedule, Zone
from service.sources import Addressed, Link, query
from service.spans import Range
from service.watermark import newest, reach_back

log = structlog.get_logger()

HOLD_BYTES = 8 << 20
"""Bytes of a long body that are held back until it is known whether they are those of the last answer."""

_VALIDATORS = {"If-None-Match": "etag", "If-Modified-Since": "last-modified"}


class Incremental(Settings):
    """Asks only for what changed since the newest record that was received."""

    field: DottedPath
    """Dotted path, within a record, to what orders changes: a timestamp or a number."""
    param: str
    """The parameter that carries the newest value."""
    start: str | int | None = None
    """The value of the first poll; without it, the first poll asks for everything."""
    lookback: Duration = 0.0
    """How far to reach back before the newest value, for changes that the provider publishes late."""


class Rest(Addressed):
    """Polls an address, ``every`` so often, and hands on each page: as one message, or a long one piece by piece."""

    replayable: ClassVar[bool] = True
    pushed: ClassVar[bool] = False
    whole_sets: ClassVar[bool] = True
    missed: ClassVar[str] = "what changes twice between two polls is seen once"

    kind: Literal["rest"] = "rest"
    method: Literal["GET", "POST"] = "GET"
    """The method."""
    body: Any = None
    """A JSON body."""
    every: Duration = Field(default=60.0, gt=0)
    """Time from the start of one poll to the start of the next."""
    cron: Cron | None = None
    """When to poll, in place of `every`: minute, hour, day of the month, month, day of the week. The feed polls at its
    start, too, so that a time it missed while it was down is made up for."""
    timezone: Zone | None = None
    """The time zone that `cron` means (UTC without it). With `every` (at most a day), polls lie on whole multiples of
    it since midnight there."""
    jitter: Duration | None = Field(default=None, ge=0)
    """The most by which a poll may be late, at random, so that a fleet never polls in step; by default a twentieth of
    the time until it, at most a minute."""
    errors: tuple[ErrorRule, ...] = ()
    """What to do about some answers; any other goes by its status."""
    paginate: Annotated[Connector, OneOf("service.pagination")] | None = None
    """How a long answer is walked through."""
    range: Range | None = None
    """The parameters that a backfill asks for a span of time with; by default that of `incremental`."""
    max_pages: int = Field(default=10_000, ge=1)
    """The most pages of one poll. An incremental feed goes on from there at the next poll, any other starts anew."""
    incremental: Incremental | None = None
    """Ask only for what changed."""
    conditional: bool = True
    """Ask whether an answer changed before it is sent again (ETag, Last-Modified), where it is not paged."""
    max_body: Size = Field(default=64 << 20, ge=1)
    """The most bytes, decompressed, of what cannot be cut: one record, what lies around `records`, or a whole document
    of one record. A body of many records may be of any length. Also the most bytes of a zip archive."""
    format: Annotated[Connector, OneOf("service.formats")] = Field(default="auto", validate_default=True)
    """How a body is decoded; by default as its content type says, or else its first bytes."""

    @model_validator(mode="after")
    def _whole_set(self) -> "Rest":
        if (self.absent is not None or self.snapshot) and self.incremental is not None:
            raise ValueError("`absent` needs the full set at every poll, but `incremental` asks only for what changed")
        return self

    @model_validator(mode="after")
    def _one_schedule(self) -> "Rest":
        if self.cron is not None and "every" in self.model_fields_set:
            raise ValueError("a feed polls either `every` so often or as `cron` says")
        if self.cron is None and self.timezone is not None and self.every > 86_400:
            raise ValueError("with a `timezone`, `every` is at most a day: polls are counted from midnight")
        return self

    async def run(self, link: Link) -> None:
        """Poll until cancelled; see Source."""
        walker = _Walker(self, link)
        schedule = Schedule(self.every, self.cron, self.timezone, self.jitter)
        due = time.time()
        while True:
            started = time.time()
            await walker.poll()
            now = time.time()
            due = schedule.following(due, started, now)
            await link.wait_until(schedule.late(due, now))

    async def once(self, link: Link) -> None:
        """Poll once.

        Raises:
            SourceLost, SourceRefused: see Source.
        """
        await _Walker(self, link).poll()

    def span(self) -> Range | None:
        """Give the parameters that ask for a span of time, if there are any."""
        if self.range is None and self.incremental is not None:
            return Range(since=self.incremental.param)
        return self.range

    def between(self, since: datetime, until: datetime) -> "Rest":
        """Give the feed that asks for a span of time, and for all that lies in it.

        Raises:
            SourceRefused: the provider cannot be asked for that.
        """
        span = self.span()
        if span is None:
            raise SourceRefused("the feed cannot be asked for a span of time: set `range`")
        params = {**self.params, **span.params(since, until)}
        without = {"incremental": None, "absent": None, "snapshot": (), "conditional": False}
        return self.model_copy(update={"params": params, **without})


class _Walker:
    """Walks through the pages of one poll after the other, and keeps the position.

    The position holds ``cursor``, the newest incremental value of the last complete walk; ``walk``, the step of
    the next page while a walk is under way, and ``high``, the newest value in it; ``answer``, what tells an
    unchanged answer; ``broken``, the digest of the last body that was no JSON, or a web page.
    """

    def __init__(self, rest: Rest, link: Link) -> None:
        self._rest = rest
        self._link = link
        self._paginator = cast("Paginator | None", rest.paginate)
        self._base = rest.address(link.provider)
        self._compares = rest.conditional and rest.method == "GET" and rest.paginate is None
        self._position: Position = dict(link.position or {})
        self._rules = Rules(rest.errors)
        self._warned: set[str] = set()
        self._set, self._number = "", 0  # of the walk, and of the next message in it
        self._format = cast("Format", rest.format)
        self._told: str | None = None
        self._field = parse_path(rest.incremental.field) if rest.incremental is not None else None

    async def poll(self) -> None:
        """Walk from the first page, or from where the last walk was interrupted."""
        try:
            await self._resume()
        except AnswerIgnored as ignored:
            # The cursor stays: what lies behind this page was not seen.
            self._forget_walk("answer ignored, as a rule says", ignored)
            self._link.alive()
        except PageInstead as page:
            await self._keep_aside(page.page, {"refused": page.reason})
            raise

    async def _resume(self) -> None:
        first = self._paginator.first() if self._paginator is not None else Step()
        try:
            if self._paginator is not None and "walk" in self._position:
                await self._walk(msgspec.convert(self._position["walk"], Step))
                return
        except SourceRefused as refused:
            # A cursor that has expired meanwhile would be refused for ever; from the start nothing is missed.
            self._forget_walk("walk starts anew", refused)
        try:
            await self._walk(first)
        except WalkRefused as refused:
            self._forget_walk("walk starts anew", refused)
            await self._walk(first)

    def _forget_walk(self, what: str, why: SourceLost | SourceRefused) -> None:
        """Let the next walk start anew, and say why, once per change."""
        if why.reason != self._told:
            self._told = why.reason
            log.warning(what, feed=self._link.feed, reason=why.reason)
        self._position.pop("walk", None)
        self._position.pop("high", None)

    async def _keep_aside(self, body: bytes, meta: dict[str, Any]) -> None:
        """Hand on, once, what is no answer, so that quarantine has it."""
        broken = _digest(body)
        if self._position.get("broken") != broken:
            self._position["broken"] = broken
            await self._link.emit([Message(body, time.time(), dict(self._position), meta)])

    async def _walk(self, first: Step) -> None:
        step: Step | None = first
        steps, bodies = {_identity(first)}, set[str]()
        self._set, self._number = uuid4().hex, first.number
        while step is not None:
            answer = await self._fetch(step)
            if answer is None or answer.digest in bodies or self._is_known(answer.digest):
                if answer is not None and answer.digest in bodies:
                    self._warn("the provider sent the same page twice", step)
                self._move(None)
                self._link.alive()
                if answer is not None and answer.is_cut:  # its first pieces are on their way
                    await self._hand_on(answer, is_last=answer.digest not in bodies)
                return
            bodies.add(answer.digest)
            following, is_last = self._next(step, await self._page(answer), steps)
            self._remember(answer)
            self._move(following)
            await self._hand_on(answer, is_last=is_last)
            step = following if len(steps) < self._rest.max_pages else None
            steps.add(_identity(following))

    def _next(self, step: Step, page: Page, steps: set[bytes]) -> tuple[Step | None, bool]:
        """Give the page that follows in this walk, in which ``steps`` were asked for, and whether this one is the last.

        Where a walk is cut short, no page follows though this one is not the last.

        Raises:
            SourceLost: the provider gives an address that is none.
        """
        try:
            following = self._paginator.next(step, page) if self._paginator is not None else None
        except ValueError as error:
            raise SourceLost(f"poll failed: {plain(page.url)} leads to what is no address") from error
        if following is None:
            return None, True
        if _identity(following) in steps:
            self._warn("the provider leads back to a page of this walk", following)
            return None, False
        if len(steps) >= self._rest.max_pages:
            self._warn("the walk is longer than max_pages", following)
            return following if self._rest.incremental is not None else None, False
        return following, False

    def _address(self, step: Step) -> URL:
        return URL(step.url) if step.url is not None else self._base.update_query(self._params(step))

    def _params(self, step: Step) -> dict[str, str]:
        params: dict[str, Any] = {**self._rest.params, **step.params}
        incremental = self._rest.incremental
        if incremental is not None:
            cursor = self._position.get("cursor")
            since = incremental.start if cursor is None else reach_back(cursor, incremental.lookback)
            params |= {} if since is None else {incremental.param: since}
        return query(params)

    async def _fetch(self, step: Step) -> Answer | None:
        """Receive a page, and hand on all of it but the last piece; None when there is nothing new."""
        rest, provider = self._rest, self._link.provider
        url = self._address(step)
        headers = dict(rest.headers)
        known = self._position.get("answer", {})
        if self._compares and known.get("of") == _digest(str(url).encode()):
            headers |= {name: known[name] for name in _VALIDATORS if name in known}
        body = msgspec.json.encode(rest.body) if rest.body is not None else None
        if body is not None:
            headers.setdefault("Content-Type", "application/json")
        terms: dict[str, Any] = {"weight": rest.weight, "rules": self._rules}
        async with provider.request(rest.method, url, headers=headers, body=body, **terms) as response:
            if response.status in {204, 304}:
                return None
            answer = Answer(url, response, rest.max_body, self._params(step))
            async with aclosing(answer.chunks(provider, self._rules)) as chunks:
                pieces = cut(chunks, self._format, answer.meta, rest.records, rest.max_body)
                async with aclosing(pieces):
                    async for piece, is_last in pieces:
                        place = {"set": self._set, "page": self._number, "last": False}
                        answer.message = Message(piece.body, time.time(), None, {**answer.meta, **place, **piece.meta})
                        self._number += 1
                        if not is_last:
                            self._look(answer)
                            answer.hold()
                            if not self._compares or answer.held_bytes > HOLD_BYTES:
                                await self._let_go(answer)
        return answer

    def _look(self, answer: Answer) -> None:
        """Note what paging and the cursor need of the newest message."""
        if self._paginator is None and self._field is None:
            return
        try:
            records = self._format.decode(answer.message, self._rest.records)
        except FormatError as error:
            answer.fault = answer.fault or error
            return
        answer.count += len(records)
        if self._field is not None:
            answer.high = newest([answer.high, *(lookup(record, self._field) for record in records)])

    async def _page(self, answer: Answer) -> Page:
        """Give what paging needs.

        Raises:
            SourceLost: the body does not decode; the rest of it is handed on once, so that quarantine has it.
        """
        if self._paginator is None and self._field is None:
            return Page(answer.url, answer.headers, None, 0)
        fault, document = answer.fault, None
        self._look(answer)  # that `records` leads nowhere is told by the quarantine
        try:
            document = self._format.document(answer.message)
        except FormatError as error:
            fault = fault or error
        if fault is not None:
            if self._position.get("broken") != answer.digest:
                self._position["broken"] = answer.digest
                await self._hand_on(answer, is_last=False)
            kind = self._format.kind_of(answer.message).upper()
            reason = f"poll failed: {plain(answer.url)}: body is not {kind}: {fault}"
            raise SourceLost(reason, retry_after=self._rest.every) from fault
        return Page(answer.url, answer.headers, document, answer.count)

    async def _let_go(self, answer: Answer) -> None:
        """Hand on the messages that were held back."""
        answer.is_cut = True
        await self._link.emit(answer.release())

    async def _hand_on(self, answer: Answer, *, is_last: bool) -> None:
        """Hand on the last message of a page, and with it the position, and whether it completes a walk."""
        if answer.held_bytes:
            await self._let_go(answer)
        message = answer.message
        meta = {**(message.meta or {}), "last": is_last}
        await self._link.emit([Message(message.body, message.received_at, dict(self._position), meta)])

    def _is_known(self, digest: str) -> bool:
        """Whether these are the bytes of the last answer, which need not be loaded again."""
        return self._compares and self._position.get("answer", {}).get("digest") == digest

    def _remember(self, answer: Answer) -> None:
        """Keep what the page tells: its newest incremental value, and how to know it again."""
        self._position.pop("broken", None)
        high = newest([self._position.get("high"), answer.high])
        if high is not None:
            self._position["high"] = high
        if self._compares:
            validators = {name: answer.headers[sent] for name, sent in _VALIDATORS.items() if sent in answer.headers}
            # Validators belong to one address (RFC 9110, section 13.1): the cursor is a part of ours.
            known = {"of": _digest(str(answer.url).encode()), "digest": answer.digest}
            self._position["answer"] = {**known, **validators}

    def _move(self, following: Step | None) -> None:
        """Move to the next page; the cursor itself moves only when the walk is complete."""
        position = self._position
        position.pop("walk", None)
        if following is not None:
            position["walk"] = msgspec.to_builtins(following)
        elif "high" in position:
            position["cursor"] = newest([position.get("cursor"), position.pop("high")])

    def _warn(self, what: str, step: Step) -> None:
        """Log what ends a walk early, once."""
        if what not in self._warned:
            self._warned.add(what)
            log.warning(what, feed=self._link.feed, page=step.number)


def _identity(step: Step | None) -> bytes:
    return msgspec.json.encode((step.params, step.url)) if step is not None else b""


def _digest(data: bytes) -> str:
    return blake2b(data, digest_size=16).hexdigest()
