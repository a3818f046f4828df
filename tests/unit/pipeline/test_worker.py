"""The worker: every message of a lane becomes rows once, whatever holes the lane has."""

import json

from service.buffer.memory import Memory
from service.config.settings import Batch as Bounds
from service.model import Message
from service.pipeline.batch import Batch, Batches
from service.pipeline.breaker import Breaker
from service.pipeline.drift import LEARN, Drift
from service.pipeline.ledger import Ledger
from service.pipeline.tap import Tap
from service.pipeline.worker import Extras, Worker
from tests.unit.pipeline.test_batch import FEED, TABLE, transform

NAME = "acme.things"


async def loaded(after: int, forgotten: int, count: int = 50) -> Batch:
    """Run a worker from a position through a lane that forgot its first messages; give the batch that it fills."""
    async with Memory(1 << 20, [NAME]) as buffer:
        lane = await buffer.lane(NAME)
        await lane.append([Message(json.dumps({"id": n, "name": "x"}).encode(), 1.0) for n in range(1, count + 1)])
        await lane.forget(forgotten)
        lane.close()
        mapping = transform()
        batches, ledger = Batches(mapping, Bounds()), Ledger()
        tap = Tap(mapping, FEED, {"things": TABLE})
        await Worker(lane, mapping, batches, ledger, Breaker(NAME, 1000), tap).run(after)
        batch = await batches.take(0)
        assert batch is not None
        assert ledger.in_flight == len(batch.rows)
        return batch


async def test_messages_behind_the_position_are_loaded_in_order() -> None:
    batch = await loaded(after=20, forgotten=0)
    assert [row[0] for row in batch.rows] == list(range(21, 51))
    assert (batch.first, batch.last) == (21, 50)


async def test_messages_that_are_gone_shift_nothing() -> None:
    for forgotten in (5, 30, 49):
        batch = await loaded(after=0, forgotten=forgotten)
        assert [row[0] for row in batch.rows] == list(range(forgotten + 1, 51))
        assert (batch.first, batch.last) == (forgotten + 1, 50)


async def test_the_drift_learns_from_each_message_that_has_records() -> None:
    bodies = [b"{", *[b'{"id": 1, "name": "x"}'] * LEARN, b'{"id": 1, "name": "x", "more": 1}']
    async with Memory(1 << 20, [NAME]) as buffer:
        lane = await buffer.lane(NAME)
        await lane.append([Message(body, 1.0) for body in bodies])
        lane.close()
        mapping = transform()
        drift = Drift(NAME, mapping.fields, is_strict=False, clock=lambda: float(drift._looked_at == LEARN))
        tap = Tap(mapping, FEED, {"things": TABLE})
        batches = Batches(mapping, Bounds())
        await Worker(lane, mapping, batches, Ledger(), Breaker(NAME, 1000), tap, Extras(drift=drift)).run(0)
    assert [(finding.field, finding.what) for finding in drift.findings.values()] == [("more", "new")]
