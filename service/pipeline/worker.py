"""The transform worker: reads a lane in order and turns its messages into rows of the filling batch."""

import asyncio
from collections.abc import Sequence

from service.errors import FormatError
from service.model import Lane, Message
from service.pipeline.batch import Batches, Parsed
from service.pipeline.conflate import gone_before
from service.pipeline.ledger import Ledger
from service.pipeline.rollcall import RollCall
from service.transform.transform import Piece, Transform

READ_BYTES = 1 << 20
"""Bytes asked of the buffer at a time."""
SLICE = 100
"""Records mapped before the loop gets its turn; keeps its lag under 10 ms."""
SLICE_BYTES = 256 << 10
"""Bytes decoded before the loop gets its turn, for the same reason."""


class Worker:
    """Decodes and maps the messages of one feed, and calls the roll where it sends full sets."""

    def __init__(
        self, lane: Lane, transform: Transform, batches: Batches, ledger: Ledger, roll: RollCall | None = None
    ) -> None:
        self._roll = roll
        self._lane = lane
        self._transform = transform
        self._batches = batches
        self._ledger = ledger

    async def run(self, after: int) -> None:
        """Work through the lane from the message that follows sequence number ``after`` until the lane ends."""
        while (group := await self._lane.read(after, READ_BYTES)) is not None:
            while after < group.last:
                parsed = await self._parse(group.messages, after + 1 - group.first)
                if self._roll is not None:
                    parsed.sweep = self._roll.note(parsed.messages[0], parsed)
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
        most = min(SLICE, self._batches.room)
        *pieces, last = self._decode(messages, first, most, parsed)
        self._ledger.decoded(parsed.received)
        for start in range(0, len(last.records) or 1, SLICE):
            pieces.append(Piece(last.message, last.records[start : start + SLICE], start))
            parsed.add(self._transform.map(pieces), [piece.message for piece in pieces if piece.start == 0])
            pieces = []
            await asyncio.sleep(0)
        return parsed

    def _decode(self, messages: Sequence[Message], first: int, most: int, parsed: Parsed) -> list[Piece]:
        pieces: list[Piece] = []
        size = 0
        for number in range(first, len(messages)):
            message = messages[number]
            if message.meta is not None:
                parsed.add_gone(gone_before(message))
            try:
                records = self._transform.read(message)
                parsed.received += len(records)
            except FormatError as error:
                records = []
                parsed.received += 1
                parsed.refusals.append(self._transform.undecodable(message, error))
                parsed.lost.append(None)
            pieces.append(Piece(message, records))
            size += len(message.body)
            if parsed.received >= most or size >= SLICE_BYTES or self._roll is not None:
                break
        return pieces
