"""Replay of the quarantine: refused records through the present configuration, a page of them per transaction."""

from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from service.errors import EntriesTaken, FormatError, RowMissing, RowRefused
from service.model import Counts, Message, Row
from service.store.review import Entry, Resolution, Review, Selection
from service.transform.custom import Function, attempts, function_of
from service.transform.transform import Transform, numbered
from service.transform.violations import Violation
from service.transform.where import Where

PAGE = 500
"""Entries that are read, and written, at a time."""


@dataclass
class Outcome:
    """What a replay did.

    Attributes:
        entries: how many entries were tried.
        counts: what became of their records: ``received`` is all of them, ``quarantined`` those refused again.
        again: of those, how many have which reason now, by feed.
        homeless: entries that stay as they are because the configuration has no such feed, by feed.
    """

    entries: int = 0
    counts: Counts = field(default_factory=Counts)
    again: dict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))
    homeless: dict[str, int] = field(default_factory=lambda: defaultdict(int))


class Replay:
    """Runs entries through the transforms of the present configuration and settles them.

    Args:
        review: the quarantine.
        transforms: by feed.
    """

    def __init__(self, review: Review, transforms: Mapping[str, Transform]) -> None:
        self._review = review
        self._transforms = transforms

    async def run(self, selection: Selection, where: Where | None = None, *, dry_run: bool = False) -> Outcome:
        """Replay what is selected.

        Args:
            selection: which entries.
            where: only records for which this is true; entries that do not decode are left alone then.
            dry_run: change nothing, and give the counts that each page would have had.

        Raises:
            StoreLost, TableRefused: the database cannot be used; the pages before are settled.
        """
        outcome = Outcome()
        async for entries in self.pages(selection, where):
            by_feed: dict[str, list[Entry]] = defaultdict(list)
            for entry in entries:
                by_feed[entry.feed].append(entry)
            for feed, members in by_feed.items():
                if feed_of(feed) in self._transforms:
                    await self._settle(feed, members, outcome, dry_run=dry_run)
                else:
                    outcome.homeless[feed] += len(members)
        return outcome

    async def pages(self, selection: Selection, where: Where | None = None) -> AsyncIterator[Sequence[Entry]]:
        """Give the selected entries in order, a page at a time; what is added meanwhile is left for another run."""
        after, newest = 0, await self._review.newest()
        while after < newest and (entries := await self._review.entries(selection, after, newest, PAGE)):
            after = entries[-1].id
            yield [entry for entry in entries if where is None or self._matches(entry, where)]

    async def _settle(self, feed: str, entries: Sequence[Entry], outcome: Outcome, *, dry_run: bool) -> None:
        """Settle entries of one feed; those that somebody else settles meanwhile are left to him."""
        while entries:
            attempt = Attempt(feed, self._transforms[feed_of(feed)], entries)
            await attempt.try_all()
            try:
                counts = await attempt.settle(self._review, dry_run=dry_run)
            except EntriesTaken:
                chosen = Selection(ids=tuple(entry.id for entry in entries))
                entries = await self._review.entries(chosen, 0, entries[-1].id, len(entries))
                continue
            outcome.entries += len(entries)
            outcome.counts.add(counts)
            for reason in attempt.reasons():
                outcome.again[feed, reason] += 1
            return

    def _matches(self, entry: Entry, where: Where) -> bool:
        transform = self._transforms.get(feed_of(entry.feed))
        if transform is None or entry.record is None:
            return False
        try:
            return where(transform.reread(message_of(entry)))
        except (FormatError, Violation):
            return False


class Attempt:
    """What entries of one feed become, until the database agrees."""

    def __init__(self, feed: str, transform: Transform, entries: Sequence[Entry]) -> None:
        self._transform = transform
        self._origins: dict[str, list[tuple[Entry, Message, int]]] = {name: [] for name in transform.tables}
        rows: dict[str, list[Row]] = {name: [] for name in transform.tables}
        self._resolution = Resolution(feed, [entry.id for entry in entries], rows, {}, [])
        self._entries = entries

    async def try_all(self) -> None:
        """Run every entry through the transform."""
        function = function_of(self._transform)
        for entry in self._entries:
            await self._add(entry, function)

    async def settle(self, review: Review, *, dry_run: bool) -> Counts:
        """Write; rows that the database refuses are taken out and refused again."""
        while True:
            try:
                return await review.resolve(self._resolution, dry_run=dry_run)
            except RowRefused as refused:
                for each in (refused, *refused.also):
                    self._take_out(each)

    def reasons(self) -> list[str]:
        """Give the reason of each record that is refused again."""
        again = [reason for reason, _ in self._resolution.again.values()]
        return again + [refusal.reason for refusal in self._resolution.fresh]

    async def _add(self, entry: Entry, function: Function | None) -> None:
        message = message_of(entry)
        try:
            records = records_of(self._transform, entry)
        except FormatError as error:
            refusal = self._transform.undecodable(message, error)
            self._resolution.again[entry.id] = (refusal.reason, refusal.detail)
            return
        verdicts = [
            (index, verdict)
            for index, record in records
            for verdict in await attempts(self._transform, function, message, record)
        ]
        for index, verdict in verdicts:
            if verdict.row is not None and verdict.table is not None:
                self._resolution.rows[verdict.table].append(verdict.row)
                self._origins[verdict.table].append((entry, message, index))
            elif verdict.reason:
                self._refuse(entry, message, index, verdict.table, verdict.reason, verdict.detail)
            else:
                self._resolution.filtered += 1

    def _take_out(self, refused: RowRefused) -> None:
        table = refused.table
        row = self._resolution.rows[table].pop(refused.row)
        detail = refused.detail
        if not isinstance(refused, RowMissing):
            detail = self._transform.refused(table, row, refused)
        self._refuse(*self._origins[table].pop(refused.row), table, refused.reason, detail)

    def _refuse(self, entry: Entry, message: Message, index: int, table: str | None, reason: str, detail: str) -> None:
        """Refuse a record again: its own entry, or a new one where the entry was a whole message."""
        if entry.record is None:
            refusal = self._transform.refusal(message, index, table, reason, detail)
            self._resolution.fresh.append(msgspec.structs.replace(refusal, feed=entry.feed))
        else:
            self._resolution.again[entry.id] = (reason, numbered(entry.feed, entry.number, detail))


def feed_of(name: str) -> str:
    """Give the feed that an entry is of: one that a backfill made is named ``provider.feed@backfill:...``."""
    return name.partition("@")[0]


def records_of(transform: Transform, entry: Entry) -> list[tuple[int, Any]]:
    """Decode the records that an entry is of, each with its number in the message, from 0.

    Raises:
        FormatError: its bytes still do not decode.
    """
    message = message_of(entry)
    if entry.record is not None:
        return [(entry.number, transform.reread(message))]
    records = list(enumerate(transform.decode(message)))
    is_alone = entry.meta is not None and "alone" in entry.meta  # the others of the message are loaded
    return records[entry.number : entry.number + 1] if is_alone else records


def message_of(entry: Entry) -> Message:
    """Give the message to decode: the whole one, or the record's own bytes."""
    body = entry.record if entry.record is not None else entry.message or b""
    return Message(body, entry.received_at.timestamp(), None, entry.meta)
