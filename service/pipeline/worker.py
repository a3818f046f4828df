"""The transform worker: reads a lane in order and turns its messages into rows of the filling batch."""

import asyncio
import time
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from service.errors import FormatError
from service.model import Lane, Message
from service.pipeline.batch import Batches, Parsed
from service.pipeline.breaker import Breaker
from service.pipeline.conflate import gone_before
from service.pipeline.drift import Drift
from service.pipeline.gaps import Gaps
from service.pipeline.ledger import Ledger
from service.pipeline.rollcall import RollCall
from service.pipeline.tap import Tap
from service.transform.custom import Applied, Function
from service.transform.dedupe import Window
from service.transform.transform import Mapped, Piece, Transform

READ_BYTES = 1 << 20
"""Bytes asked of the buffer at a time."""
SLICE = 100
"""The most records mapped before the loop gets its turn; keeps its lag under 10 ms."""
SLICE_BYTES = 256 << 10
"""Bytes decoded before the loop gets its turn, for the same reason."""
TURN = 0.004
"""Seconds that mapping may take before the loop gets its turn: records that cost more are taken fewer at a time."""


class Extras(NamedTuple):
    """What a feed may have besides its map.

    Attributes:
        roll: notes who is there, where the feed sends full sets.
        function: makes records of records before they are mapped.
        window: leaves out rows that repeat.
        drift: watches how records change.
        gaps: finds what was not heard.
    """

    roll: RollCall | None = None
    function: Function | None = None
    window: Window | None = None
    drift: Drift | None = None
    gaps: Gaps | None = None


class Worker:
    """Decodes and maps the messages of one feed.

    Args:
        lane: that they lie in.
        transform: that maps their records.
        batches: that take their rows.
        ledger: is told of the records.
        breaker: says whether they may go on.
        tap: shows them to those who listen.
        extras: what else the feed has.
        floor: is held while records are decoded or mapped. The workers of all feeds share it, so that however many of
            them are busy, one turn of the loop holds one slice of their work.
    """

    def __init__(
        self,
        lane: Lane,
        transform: Transform,
        batches: Batches,
        ledger: Ledger,
        breaker: Breaker,
        tap: Tap,
        extras: Extras | None = None,
        floor: asyncio.Lock | None = None,
    ) -> None:
        self._lane = lane
        self._transform = transform
        self._batches = batches
        self._ledger = ledger
        self._breaker = breaker
        self._tap = tap
        self._roll, self._function, self._window, self._drift, self._gaps = extras or Extras()
        self._floor = floor or asyncio.Lock()
        self._slice = SLICE

    async def run(self, after: int) -> None:
        """Work through the lane from the message that follows sequence number ``after`` until the lane ends."""
        while (group := await self._lane.read(after, READ_BYTES)) is not None:
            after = max(after, group.first - 1)  # what lay before is gone: damaged, or forgotten by an earlier run
            while after < group.last:
                parsed = await self._parse(group.messages, after + 1 - group.first)
                if self._roll is not None:
                    parsed.sweep = self._roll.note(parsed.messages[0], parsed)
                if self._tap.listeners:
                    self._tap.parsed(parsed)
                if not await self._breaker.admit(parsed):
                    return
                await self._batches.add(after + 1, parsed)
                if self._batches.abandoned:
                    return
                after += len(parsed.messages)

    async def _parse(self, messages: Sequence[Message], first: int) -> Parsed:
        """Make rows of messages from number ``first`` on, as many as one turn of the loop and the batch can take.

        The work of a message is little; done for many at a time, what surrounds it is little too. Pages of a full set
        are taken one by one.
        """
        parsed = Parsed()
        async with self._floor:
            *pieces, last = self._decode(messages, first, min(self._slice, self._batches.room), parsed)
        self._ledger.decoded(parsed.received)
        if self._drift is not None:
            await self._look(self._drift, [*pieces, last])
        if len(last.records) > self._slice:
            await asyncio.sleep(0)  # a page took its time to decode
        start = 0
        while start < (len(last.records) or 1):
            records = last.records[start : start + self._slice]
            pieces.append(Piece(last.message, records, start))
            start += len(records) or 1
            mapped = await self._map(pieces, parsed)
            if self._window is not None:
                parsed.leave_out(self._window, mapped)
            parsed.add(mapped, [piece.message for piece in pieces if piece.start == 0])
            pieces = []
            await asyncio.sleep(0)
        return parsed

    async def _map(self, pieces: list[Piece], parsed: Parsed) -> Mapped:
        """Map records: those that did not drift, or what the user's own function makes of them."""
        stages: list[Applied] = []
        if self._drift is not None and self._drift.is_strict:
            stages.append(self._drift.apply(pieces))
        if self._function is not None:
            stages.append(await self._function.apply(stages[-1].pieces if stages else pieces))
        pieces = stages[-1].pieces if stages else pieces
        if self._function is not None and sum(len(piece.records) for piece in pieces) > SLICE:  # it made many of one
            mapped = await self._by_slices(pieces)
        else:
            async with self._floor:
                mapped = self._timed(pieces)
        for stage in stages:
            parsed.received += stage.added
            self._ledger.decoded(stage.added)
            mapped.filtered += stage.filtered
            for message, index, reason, detail in map(msgspec.structs.astuple, stage.failures):
                mapped.refusals.append(self._transform.refusal(message, index, self._transform.table, reason, detail))
                mapped.lost.append(None)
        return mapped

    async def _by_slices(self, pieces: Sequence[Piece]) -> Mapped:
        """Map records as many at a time as one turn of the loop can take."""
        whole = Mapped([], [], [], 0, [], [])
        for piece in pieces:
            whole.starts.append(len(whole.rows))
            at = 0
            while at < len(piece.records):
                end = at + self._slice
                numbers = piece.numbers[at:end] if piece.numbers is not None else None
                part = Piece(piece.message, piece.records[at:end], piece.start + at, numbers)
                async with self._floor:
                    mapped = self._timed([part])
                whole.rows += mapped.rows
                whole.refusals += mapped.refusals
                whole.filtered += mapped.filtered
                whole.lost += mapped.lost
                whole.origins += mapped.origins
                at = end
                await asyncio.sleep(0)
        return whole

    def _timed(self, pieces: list[Piece]) -> Mapped:
        """Map records, and learn how many a turn of the loop can take."""
        started = time.monotonic()
        mapped = self._transform.map(pieces)
        took = time.monotonic() - started
        count = sum(len(piece.records) for piece in pieces)
        self._slice = max(1, min(SLICE, 2 * self._slice, int(count * TURN / took) if took else SLICE))
        return mapped

    async def _look(self, drift: Drift, pieces: Sequence[Piece]) -> None:
        """Let the drift see what messages hold, whatever of it is mapped, as long as it has time for them."""
        for message in (piece.message for piece in pieces if piece.records):
            if not drift.is_due():
                return
            await asyncio.sleep(0)  # a page takes its time to decode
            async with self._floor:
                try:
                    records = self._transform.decode(message)
                except FormatError:
                    records = []
                drift.sample(records, len(message.body))

    def _decode(self, messages: Sequence[Message], first: int, most: int, parsed: Parsed) -> list[Piece]:
        pieces: list[Piece] = []
        add, read, gaps = pieces.append, self._transform.read, self._gaps
        size = received = 0
        for message in messages[first : first + most]:
            if message.meta is not None:
                parsed.add_gone(gone_before(message))
                if gaps is not None and gaps.mark(message):
                    add(Piece(message, ()))
                    continue
            try:
                records = read(message)
                received += len(records)
                if gaps is not None:
                    gaps.note(message, records)
            except FormatError as error:
                records = []
                received += 1
                parsed.refusals.append(self._transform.undecodable(message, error))
                parsed.lost.append(None)
                if gaps is not None:
                    gaps.undecoded()
            add(Piece(message, records))
            size += len(message.body)
            if received >= most or size >= SLICE_BYTES or self._roll is not None:
                break
        parsed.received += received
        parsed.heard = gaps.take() if gaps is not None else None
        return pieces
