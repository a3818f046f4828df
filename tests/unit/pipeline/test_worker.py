"""The worker: every message of a lane becomes rows once, whatever holes the lane has."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

from service.buffer.memory import Memory
from service.config.settings import Batch as Bounds
from service.errors import RowRefused
from service.model import Message
from service.pipeline.batch import Batch, Batches
from service.pipeline.breaker import Breaker
from service.pipeline.drift import LEARN, Drift
from service.pipeline.ledger import Ledger
from service.pipeline.tap import Tap
from service.pipeline.worker import SLICE, Extras, Worker
from service.transform.custom import function_of
from service.transform.transform import Transform
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
        tap = Tap(mapping, {"things": TABLE})
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
        tap = Tap(mapping, {"things": TABLE})
        batches = Batches(mapping, Bounds())
        await Worker(lane, mapping, batches, Ledger(), Breaker(NAME, 1000), tap, Extras(drift=drift)).run(0)
    assert [(finding.field, finding.what) for finding in drift.findings.values()] == [("more", "new")]


def unfold(records: list[Any]) -> Iterator[Any]:
    """Make many records of each."""
    for record in records:
        for n in range(record["count"]):
            yield {"id": record["id"] * 10_000 + n if n % 500 else None, "name": "x"}


async def test_what_a_function_makes_of_one_record_is_mapped_by_slices() -> None:
    settings = FEED.model_copy(update={"transform": f"{__name__}:unfold"})
    mapping = Transform(NAME, settings, {"things": TABLE})
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with Memory(1 << 20, [NAME]) as buffer:
        lane = await buffer.lane(NAME)
        bodies = [b'[{"id": 1, "count": 2000}, {"id": 2, "count": 0}]', b'{"id": 3, "count": 2000}']
        await lane.append([Message(body, 1.0) for body in bodies])
        lane.close()
        batches, ledger = Batches(mapping, Bounds()), Ledger()
        tap, extras = Tap(mapping, {"things": TABLE}), Extras(function=function_of(mapping))
        other = asyncio.create_task(count_turns())
        await Worker(lane, mapping, batches, ledger, Breaker(NAME, 1000), tap, extras).run(0)
        other.cancel()
        batch = await batches.take(0)
    assert batch is not None
    expected = [number * 10_000 + n for number in (1, 3) for n in range(2000) if n % 500]
    assert [row[0] for row in batch.rows] == expected
    assert turns >= len(expected) / SLICE
    assert [(refusal.index, refusal.message) for refusal in batch.refusals] == [
        (0, bodies[number]) for number in (0, 1) for _ in range(4)
    ]
    assert (batch.counts.received, batch.counts.filtered, batch.counts.quarantined) == (4001, 1, 8)
    batch.take_out(RowRefused("things", len(expected) - 1, "id: check_violation", "said", ("id",)))
    assert batch.refusals[-1].message == bodies[1]
