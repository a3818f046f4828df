"""The traces of one key: every record that is still known and holds it, from the quarantine, the buffer and files."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any, Literal, TypeAlias

import msgspec

from service.buffer.peek import peek
from service.config.settings import Config
from service.errors import FormatError
from service.model import Commit, Message
from service.pipeline.gaps import META as GAP
from service.store.review import Entry, Review, Selection
from service.transform.custom import attempts, function_of
from service.transform.explain import Verdict
from service.transform.transform import Transform
from service.transform.violations import Violation
from service.workbench.replay import feed_of, message_of
from service.workbench.wanted import Finder

Outcome: TypeAlias = Literal[
    "won", "replaced", "stale", "unchanged", "added", "deleted", "refused", "filtered", "waiting", "mentioned"
]
PAGE = 500
MOST = 10_000
"""Entries of the quarantine that are looked at for each feed."""


class Trace(msgspec.Struct):
    """One record that holds the key.

    Attributes:
        at: when its message was received, in seconds since the epoch; of one that was replayed, when it was.
        place: where it was found: ``buffer``, ``quarantine 12``, or the name of a file.
        feed: ``provider.feed``.
        number: of the record in its message, from 0.
        outcome: what became of it; see ``story``, which decides between those that were loaded.
        raw: bytes of the record, which tell whether it is the same that was found elsewhere.
        because: why, as half a sentence.
        row: that it became, by column; of a delta what it carries; None where it became none.
        deletes: whether it deletes the row.
    """

    at: float
    place: str
    feed: str
    number: int
    outcome: Outcome
    raw: bytes
    because: str = ""
    row: dict[str, Any] | None = None
    deletes: bool = False

    @property
    def is_loaded(self) -> bool:
        """Whether it was handed to the database, as far as is known."""
        return self.outcome == "won"


class Tracer:
    """Looks for one key.

    Args:
        config: the whole.
        finders: by feed, for those that load into the table.
        transforms: by feed.
    """

    def __init__(self, config: Config, finders: Mapping[str, Finder], transforms: Mapping[str, Transform]) -> None:
        self._config = config
        self._finders = finders
        self._transforms = transforms
        self._functions = {feed: function_of(transforms[feed]) for feed in finders}

    async def in_quarantine(self, review: Review) -> list[Trace]:
        """Look at refused records, resolved ones too.

        Raises:
            StoreLost, TableRefused: the database cannot be asked.
        """
        newest, found = await review.newest(), list[Trace]()
        for feed, finder in self._finders.items():
            for needles in finder.needles or [[]]:
                after, looked_at = 0, 0
                chosen = Selection(feed=feed, resolved=True, mentions=tuple(needles))
                while looked_at < MOST and (entries := await review.entries(chosen, after, newest, PAGE)):
                    after, looked_at = entries[-1].id, looked_at + len(entries)
                    for entry in entries:
                        found += [trace async for trace in self._of_entry(entry)]
        return found

    async def in_buffer(self, positions: Mapping[str, Commit | None]) -> list[Trace]:
        """Look at the messages that still lie in the spool, beside a daemon that may run; none of another buffer.

        Raises:
            OSError: it cannot be read.
        """
        found: list[Trace] = []
        if self._config.buffer.kind != "spool":
            return found
        for feed in self._finders:
            at = positions.get(feed)
            for lane, group in peek(self._config.buffer.path, feed):
                done = at.sequence if at is not None and at.lane == lane else 0
                for sequence, message in enumerate(group.messages, group.first):
                    if GAP in (message.meta or {}):  # a message of our own
                        continue
                    for trace in await self._of_message(feed, "buffer", message):
                        if sequence > done and trace.is_loaded:
                            trace.outcome, trace.because = "waiting", "is in the buffer, not loaded yet"
                        found.append(trace)
        return found

    async def in_messages(self, feed: str, place: str, messages: Iterable[Message]) -> list[Trace]:
        """Look at messages that the user has."""
        return [trace for message in messages for trace in await self._of_message(feed, place, message)]

    async def _of_message(self, feed: str, place: str, message: Message) -> list[Trace]:
        transform, finder = self._transforms[feed], self._finders[feed]
        if not finder.may_hold(message.body):
            return []
        try:
            records = transform.decode(message)
        except FormatError as error:
            if not finder.speaks_of(message.body):
                return []
            refusal = transform.undecodable(message, error)
            return [Trace(message.received_at, place, feed, 0, "mentioned", message.body, f"refused: {refusal.detail}")]
        found: list[Trace] = []
        function = self._functions[feed]
        given = records if function is None else transform.decode(message)  # it may change what it is given
        for number, record in enumerate(records):
            verdicts = await attempts(transform, function, message, given[number])
            found += self._judged(feed, place, message, number, record, verdicts)
        return found

    async def _of_entry(self, entry: Entry) -> AsyncIterator[Trace]:
        """Give what an entry says of the key: its refusal, and the row that a replay made of it."""
        feed, message = feed_of(entry.feed), message_of(entry)
        place = f"quarantine {entry.id}"
        transform, finder = self._transforms[feed], self._finders[feed]
        if entry.table_name not in {None, finder.table}:
            return
        refused = Trace(message.received_at, place, entry.feed, entry.number, "refused", message.body, entry.detail)
        try:
            record = transform.reread(message) if entry.record is not None else None
        except FormatError:
            record = None
        verdicts: Sequence[Verdict] = []
        if record is not None:
            verdicts = await attempts(transform, self._functions[feed], message, transform.reread(message))
        rows = [verdict for verdict in verdicts if self._is_ours(finder, verdict)]
        if not rows and not (record is not None and finder.claims(record, message)):
            if not finder.mentions(record, message, message.body):
                return
            refused.outcome, refused.because = "mentioned", f"refused: {entry.detail}"
        yield refused
        if entry.resolved_at is not None and entry.attempts and rows:
            replayed = self._loaded(place, entry.feed, entry.number, message, message.body, rows[0])
            replayed.at, replayed.because = entry.resolved_at.timestamp(), "was replayed"
            yield replayed

    def _judged(
        self, feed: str, place: str, message: Message, number: int, record: Any, verdicts: Sequence[Verdict]
    ) -> list[Trace]:
        transform, finder = self._transforms[feed], self._finders[feed]
        if not verdicts or all(verdict.row is not None and not self._is_ours(finder, verdict) for verdict in verdicts):
            return []
        found, raw = [], transform.raw(message, number)
        for verdict in verdicts:
            if self._is_ours(finder, verdict):
                found.append(self._loaded(place, feed, number, message, raw, verdict))
            elif verdict.row is not None:
                continue
            elif finder.claims(record, message):
                outcome: Outcome = "refused" if verdict.reason else "filtered"
                why = verdict.detail or _left_out(transform, record, message)
                found.append(Trace(message.received_at, place, feed, number, outcome, raw, why))
            elif verdict.reason and finder.mentions(record, message, raw):
                why = f"refused: {verdict.detail}"
                found.append(Trace(message.received_at, place, feed, number, "mentioned", raw, why))
        return found

    def _is_ours(self, finder: Finder, verdict: Verdict) -> bool:
        table = verdict.table or finder.table
        return verdict.row is not None and table == finder.table and finder.is_of(verdict.row)

    def _loaded(self, place: str, feed: str, number: int, message: Message, raw: bytes, verdict: Verdict) -> Trace:
        row, finder = verdict.row or (), self._finders[feed_of(feed)]
        flags = row[:-1] if verdict.carried is not None else row
        deletes = finder.table in self._transforms[feed_of(feed)].deletable and bool(flags[-1])
        values = finder.values(row, verdict.carried)
        return Trace(message.received_at, place, feed, number, "won", raw, "", values, deletes)


def _left_out(transform: Transform, record: Any, message: Message) -> str:
    if transform.custom is not None:
        return f"{transform.custom} made nothing of it"
    try:
        return transform.routes.left_out(record, message)
    except Violation as violation:
        return violation.said
