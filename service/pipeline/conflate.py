"""Conflation: of messages that wait for room, only those with the newest record of each key are kept.

Of deltas, those with the newest value of each column: together they are what merging all of them would give, and each
is still the bytes that came.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec

from service.config.tables import Table
from service.errors import FormatError
from service.model import Message, Position, Row
from service.pipeline.gaps import META as GAP
from service.transform.transform import Piece, Transform

SLICE = 100
"""Messages looked at before the loop gets its turn."""
META = "conflated"
"""Where a message says for how many others it stands."""


class Gone(msgspec.Struct):
    """Records of messages that were dropped while they waited.

    Attributes:
        stale: those of which a newer one waited, too.
        filtered: those that the feed's configuration leaves out.
    """

    stale: int = 0
    filtered: int = 0

    def add(self, other: "Gone") -> None:
        """Add the other's figures to these."""
        self.stale += other.stale
        self.filtered += other.filtered


class _Seen(msgspec.Struct):
    """What a message is made of: the key of each row; without any it stays whatever comes."""

    keys: list[Any]
    filtered: int
    may_go: bool


class Conflation:
    """Finds the messages that newer ones make superfluous.

    A message may go only if each of its records is filtered, or a row with a newer row of its key in a message that
    stays. Newer is the greater version; without a version, or where it is equal, the later arrival. A message with a
    record that is refused stays, to be quarantined. A delta may go if each of its columns is carried by a newer one;
    but none does of a key that one of them deletes.

    The message that follows one that went says so in its ``meta``, and its records are counted with its own, in one
    transaction: nothing is dropped silently.

    Args:
        transform: of the feed.
        table: that its rows go to.
    """

    def __init__(self, transform: Transform, table: Table) -> None:
        self._transform = transform
        names = list(table.columns)
        self._key = [names.index(column) for column in table.key]
        self._version = names.index(table.version) if table.version is not None else None
        self._columns = [n for n, name in enumerate(names) if name not in {*table.key, table.version}]
        self._is_partial = transform.partial

    async def fold(self, messages: Sequence[Message]) -> list[Message]:
        """Give the messages that stay, at least one, in order."""
        newest: dict[Any, tuple[Any, int]] = {}
        deleted: set[Any] = set()
        seen: list[_Seen] = []
        for number, message in enumerate(messages):
            seen.append(self._look(number, message, newest, deleted))
            if number % SLICE == SLICE - 1:
                await asyncio.sleep(0)
        stays = {number for _, number in newest.values()}
        kept: list[Message] = []
        gone, position = Gone(), None
        for number, message in enumerate(messages):
            if number in stays or not seen[number].may_go or not deleted.isdisjoint(seen[number].keys):
                kept.append(_standing_for(message, gone, None))
                gone, position = Gone(), None
            else:
                gone.add(Gone(len(seen[number].keys), seen[number].filtered))
                gone.add(gone_before(message))
                position = message.position or position
        if not kept:
            return [_standing_for(messages[-1], _without(gone, seen[-1], messages[-1]), None)]
        kept[-1] = _standing_for(kept[-1], gone, position)
        return kept

    def _look(self, number: int, message: Message, newest: dict[Any, tuple[Any, int]], deleted: set[Any]) -> _Seen:
        if message.meta is not None and GAP in message.meta:
            return _Seen([], 0, may_go=False)
        try:
            records = self._transform.read(message)
        except FormatError:
            return _Seen([], 0, may_go=False)
        mapped = self._transform.map([Piece(message, records)])
        versions = [row[self._version] if self._version is not None else 0 for row in mapped.rows]
        if mapped.refusals or None in versions:
            return _Seen([], 0, may_go=False)
        keys = [tuple(row[column] for column in self._key) for row in mapped.rows]
        for key, version, row in zip(keys, versions, mapped.rows, strict=True):
            for part in self._parts(row, deleted, key):
                before = newest.get((key, part))
                if before is None or version >= before[0]:
                    newest[key, part] = (version, number)
        return _Seen(keys, mapped.filtered, may_go=True)

    def _parts(self, row: Row, deleted: set[Any], key: Any) -> Sequence[int]:
        """Give the columns of which a row may hold the newest value; -1 stands for the whole."""
        if not self._is_partial:
            return (-1,)
        if type(row[-1]) is bool:  # a deletion: see Row
            deleted.add(key)
            return (-1,)
        return [-1, *(n for n in self._columns if row[-1] >> n & 1)]


def gone_before(message: Message) -> Gone:
    """Give what a message stands for besides its own records."""
    noted = message.meta.get(META) if message.meta is not None else None
    return msgspec.convert(noted, Gone) if noted is not None else Gone()


def _standing_for(message: Message, gone: Gone, position: Position | None) -> Message:
    """Give a message that also stands for what went before it, or, at the very end, after it."""
    if not (gone.stale or gone.filtered or position):
        return message
    gone.add(gone_before(message))
    meta = {**(message.meta or {}), META: msgspec.to_builtins(gone)}
    return Message(message.body, message.received_at, position or message.position, meta)


def _without(gone: Gone, last: _Seen, message: Message) -> Gone:
    """Give what went besides one message, which stays after all."""
    before = gone_before(message)
    return Gone(gone.stale - len(last.keys) - before.stale, gone.filtered - last.filtered - before.filtered)
