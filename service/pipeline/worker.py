"""The transform worker: reads a lane in order and turns its messages into rows of the filling batch."""

import asyncio

from service.errors import FormatError
from service.model import Lane, Message
from service.pipeline.batch import Batches, Parsed
from service.pipeline.ledger import Ledger
from service.transform.transform import Transform

READ_BYTES = 1 << 20
"""Bytes asked of the buffer at a time."""
SLICE = 100
"""Records mapped before the loop gets its turn; keeps its lag under 10 ms."""


class Worker:
    """Decodes and maps the messages of one feed."""

    def __init__(self, lane: Lane, transform: Transform, batches: Batches, ledger: Ledger) -> None:
        self._lane = lane
        self._transform = transform
        self._batches = batches
        self._ledger = ledger
        self._unyielded = 0

    async def run(self, after: int) -> None:
        """Work through the lane from the message that follows sequence number ``after`` until the lane ends."""
        while (group := await self._lane.read(after, READ_BYTES)) is not None:
            for sequence, message in enumerate(group.messages, group.first):
                await self._batches.add(sequence, message, await self._parse(message))
                if self._batches.abandoned:
                    return
            after = group.last

    async def _parse(self, message: Message) -> Parsed:
        try:
            records = self._transform.decode(message)
        except FormatError as error:
            self._ledger.decoded(1)
            return Parsed(1, [], [self._transform.undecodable(message, error)])
        self._ledger.decoded(len(records))
        parsed = Parsed(len(records), [], [])
        for start in range(0, len(records), SLICE):
            mapped = self._transform.map(message, records[start : start + SLICE], start)
            parsed.rows += mapped.rows
            parsed.refusals += mapped.refusals
            parsed.filtered += mapped.filtered
            self._unyielded += min(len(records), SLICE)
            if self._unyielded >= SLICE:
                self._unyielded = 0
                await asyncio.sleep(0)
        return parsed
