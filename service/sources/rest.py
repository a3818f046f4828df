"""REST: polls a provider, page by page, for what changed."""

import asyncio
import time
from collections.abc import Mapping
from contextlib import aclosing
from datetime import datetime
from itertools import chain
from typing import Annotated, Any, ClassVar, Literal, cast
from uuid import uuid4

import msgspec
import structlog
from pydantic import Field, model_validator
from yarl import URL

from service.config.answers import ErrorRule
from service.config.connectors import Connector, OneOf
from service.config.foreach import ForEach, Value
from service.config.units import Size
from service.cutting import cut
from service.errors import AnswerIgnored, FormatError, PageInstead, SourceLost, SourceRefused, WalkRefused
from service.formats import Format
from service.model import Message, Position
from service.pagination import Page, Paginator, Step
from service.provider.answer import Answer
from service.provider.answers import plain
from service.provider.aside import HOLD_BYTES, Aside
from service.provider.binding import bound
from service.provider.rounds import Outlet, Rounds
from service.provider.rules import Rules
from service.provider.standing import PAGES, Standing, digest
from service.provider.walk import Walk
from service.reading import Reading
from service.schedule import Polled
from service.sources import Addressed, Link, query
from service.spans import Range
from service.watermark import Incremental

log = structlog.get_logger()


class Rest(Polled, Addressed):
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
    errors: tuple[ErrorRule, ...] = ()
    """What to do about some answers; any other goes by its status."""
    paginate: Annotated[Connector, OneOf("service.pagination")] | None = None
    """How a long answer is walked through."""
    range: Range | None = None
    """The parameters that a backfill asks for a span of time with; by default that of `incremental`."""
    for_each: ForEach | None = None
    """One call, or walk through pages, for each row of a table or of a query: `{match_id}` in `path`, `url`, `params`,
    `headers` or `body` stands for its value."""
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
        if self.absent is not None and self.for_each is not None:
            raise ValueError("`absent` needs one full set, but `for_each` asks for many; remove one of them")
        return self

    async def run(self, link: Link) -> None:
        """Poll until cancelled; see Source."""
        poller = self._poller(link)
        schedule = self.schedule()
        due = time.time()
        while True:
            started = time.time()
            await poller.poll()
            now = time.time()
            due = schedule.following(due, started, now)
            await poller.rest(schedule.late(due, now))

    async def once(self, link: Link) -> None:
        """Poll once.

        Raises:
            SourceLost, SourceRefused: see Source.
        """
        await self._poller(link).once()

    def _poller(self, link: Link) -> "_Walker | Rounds":
        if self.for_each is None:
            return _Walker(self, link)
        rules = Rules(self.errors)

        async def call(values: Mapping[str, Value], outlet: Outlet, pages: int) -> Position:
            return await _Walker(bound(self, values), outlet, rules, pages).poll()

        rounds = Rounds(link, self.for_each, call)
        link.follow(rounds)
        return rounds

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
    """Walks through the pages of one poll after the other; where it stands, its Standing says."""

    def __init__(self, rest: Rest, link: Outlet, rules: Rules | None = None, pages: int = PAGES) -> None:
        self._rest = rest
        self._link = link
        self._paginator = cast("Paginator | None", rest.paginate)
        self._base = rest.address(link.provider)
        self._compares = rest.conditional and rest.method == "GET"
        self._is_set = rest.absent is not None and rest.paginate is not None
        self._standing = Standing(
            link.position,
            link.notes,
            pages=pages if rest.paginate is not None else 0,
            compares=self._compares,
            is_set=rest.absent is not None,
        )
        self._rules = rules or Rules(rest.errors)
        self._notes = link.notes
        self._warned: set[str] = self._notes.setdefault("warned", set())
        self._set, self._number = "", 0  # of the walk, and of the next message in it
        self._is_from_first = True  # whether the walk began with the first page
        self._held: list[Message] = []
        self._waits = False  # for a page that changed, to hand on the whole set or nothing
        self._format = cast("Format", rest.format)
        field = rest.incremental.field if rest.incremental is not None else None
        self._reading = Reading(self._format, rest.records, self._paginator, field)

    async def poll(self) -> Position:
        """Walk from the first page, or from where the last walk was interrupted; give where that leads."""
        try:
            await self._resume()
        except AnswerIgnored as ignored:
            # The cursor stays: what lies behind this page was not seen.
            self._forget_walk("answer ignored, as a rule says", ignored)
            self._link.alive()
        except PageInstead as page:
            await self._keep_aside(page.page, {"refused": page.reason})
            raise
        return self._standing.position

    async def once(self) -> None:
        """Poll once."""
        await self.poll()

    async def rest(self, until: float) -> None:
        """Wait for the next poll."""
        await self._link.wait_until(until)

    async def _resume(self) -> None:
        first = self._paginator.first() if self._paginator is not None else Step()
        try:
            if self._paginator is not None and (step := self._standing.walk) is not None:
                await self._walk(step)
                return
        except SourceRefused as refused:
            # A cursor that has expired meanwhile would be refused for ever; from the start nothing is missed.
            self._forget_walk("walk starts anew", refused)
        try:
            await self._walk(first)
        except WalkRefused as refused:
            self._forget_walk("walk starts anew", refused)
            await self._walk(first)
        self._standing.end()

    def _forget_walk(self, what: str, why: SourceLost | SourceRefused) -> None:
        """Let the next walk start anew, and say why, once per change."""
        if why.reason != self._notes.get("told"):
            self._notes["told"] = why.reason
            log.warning(what, feed=self._link.feed, reason=why.reason)
        self._standing.forget_walk()

    async def _keep_aside(self, body: bytes, meta: dict[str, Any]) -> None:
        """Hand on, once, what is no answer, so that quarantine has it."""
        position, broken = self._standing.position, digest(body)
        if position.get("broken") != broken:
            position["broken"] = broken
            await self._link.emit([Message(body, time.time(), dict(position), meta)])
            self._standing.passed()

    async def _walk(self, first: Step) -> None:
        rest, standing = self._rest, self._standing
        walk = Walk(first, self._paginator, rest.max_pages, self._warn, goes_on=rest.incremental is not None)
        self._set, self._number, self._is_from_first = uuid4().hex, first.number, first.number == 0
        # A set that broke off deleted nothing: the next is handed on whole, whether it is as it was or not.
        self._held, self._waits = [], self._is_set and self._notes.get("whole") is True
        standing.begin()
        step: Step | None = first
        while step is not None:
            answer = await self._fetch(step)
            noted = standing.unchanged(answer)
            seen = noted or (answer if answer.has_body else None)
            leads = noted.following if noted else walk.leads(step, await self._page(answer)) if seen else None
            if seen is None or walk.repeats(seen.digest, seen.count, step):
                standing.move(None)
                # Only if its first pieces are on their way, or the position would be left amid the walk.
                await self._hand_on(answer, is_last=False, is_news=False)
                standing.passed()
                return
            following, is_last = walk.next(leads)
            standing.learn(answer, noted)
            standing.move(following)
            await self._hand_on(answer, is_last=is_last, is_news=noted is None)
            if noted is None:
                standing.handed_on(answer, leads)
            if not self._waits:
                standing.passed()
            step = following if not walk.is_full else None
            if step is not None:
                walk.ask(step)

    def _address(self, step: Step) -> URL:
        return URL(step.url) if step.url is not None else self._base.update_query(self._params(step))

    def _params(self, step: Step) -> dict[str, str]:
        params: dict[str, Any] = {**self._rest.params, **step.params}
        if self._rest.incremental is not None:
            params |= self._rest.incremental.params(self._standing.position.get("cursor"))
        return query(params)

    async def _fetch(self, step: Step) -> Answer:
        """Receive a page: all of it, or what is left once its first pieces had to be handed on."""
        rest, provider = self._rest, self._link.provider
        url = self._address(step)
        headers = {**rest.headers, **self._standing.validators(url)}
        body = msgspec.json.encode(rest.body) if rest.body is not None else None
        if body is not None:
            headers.setdefault("Content-Type", "application/json")
        terms: dict[str, Any] = {"weight": rest.weight, "rules": self._rules}
        with Aside() as aside:
            async with provider.request(rest.method, url, headers=headers, body=body, **terms) as response:
                answer = await self._receive(Answer(url, response, rest.max_body, self._params(step)), aside)
            if aside.size and self._standing.unchanged(answer) is None:
                await self._cut_loose(answer, aside)
        return answer

    async def _receive(self, answer: Answer, aside: Aside) -> Answer:
        """Receive a body; what may be as it was waits, beyond a little on disk."""
        if not answer.has_body:
            return answer
        rest, waits = self._rest, self._compares and not self._is_set and self._standing.knows(answer.url)
        async with aclosing(answer.chunks(self._link.provider, self._rules)) as chunks:
            pieces = cut(chunks, self._format, answer.meta, rest.records, rest.max_body)
            async with aclosing(pieces):
                async for piece, is_last in pieces:
                    place = {"set": self._set, "page": self._number, "last": False}
                    answer.message = Message(piece.body, time.time(), None, {**answer.meta, **place, **piece.meta})
                    self._number += 1
                    if is_last:
                        continue
                    answer.hold()
                    if self._compares and answer.held_bytes <= HOLD_BYTES:
                        continue
                    if waits and not answer.is_cut and await asyncio.to_thread(aside.put, answer.held):
                        answer.release()
                    else:
                        await self._cut_loose(answer, aside)
        return answer

    async def _cut_loose(self, answer: Answer, aside: Aside) -> None:
        """Hand on the pieces that came so far."""
        answer.is_cut, held = True, answer.release()
        for answer.held in chain(([message] for message in aside.take()), [held]):
            await self._reading.look(answer, answer.held)
            await self._let_go(answer)

    async def _page(self, answer: Answer) -> Page:
        """Give what paging needs.

        Raises:
            SourceLost: the body does not decode; the rest of it is handed on once, so that quarantine has it.
        """
        try:
            return await self._reading.page(answer)
        except FormatError as fault:
            if self._standing.position.get("broken") != answer.digest:
                self._standing.position["broken"] = answer.digest
                await self._hand_on(answer, is_last=False)
                self._standing.passed()
            kind = self._format.kind_of(answer.message).upper()
            reason = f"poll failed: {plain(answer.url)}: body is not {kind}: {fault}"
            raise SourceLost(reason, retry_after=self._rest.every) from fault

    async def _let_go(self, answer: Answer) -> None:
        """Hand on what was held back."""
        self._waits = self._notes["whole"] = False
        held, self._held = [*self._held, *answer.release()], []
        if held:
            await self._link.emit(held)

    async def _hand_on(self, answer: Answer, *, is_last: bool, is_news: bool = True) -> None:
        """Hand on the last message of a page, and with it the position, and whether it completes a walk.

        What is no news stays here, unless the position would be left amid the walk. Of a full set, all pages are handed
        on or none.
        """
        message, position = answer.message, dict(self._standing.position)
        is_news |= answer.is_cut or (self._standing.amid and "walk" not in position)
        if not answer.has_body or not (is_news or self._is_set):
            answer.release()
            self._link.alive()
            return
        last = Message(message.body, message.received_at, position, {**(message.meta or {}), "last": is_last})
        self._held += [*answer.release(), last]
        if is_news or not self._waits or sum(len(held.body) for held in self._held) > HOLD_BYTES:
            await self._let_go(answer)
            self._standing.amid = "walk" in position
            self._notes["whole"] = is_last and self._is_from_first
        else:
            self._link.alive()

    def _warn(self, what: str, step: Step) -> None:
        """Log what ends a walk early, once."""
        if what not in self._warned:
            self._warned.add(what)
            log.warning(what, feed=self._link.feed, page=step.number)
