"""Batches: natural batching, bounds, and the record behind a row that the database refused."""

import asyncio
import json

import pytest

from service.config.feeds import FeedSettings
from service.config.settings import Batch as Bounds
from service.config.tables import Table
from service.config.units import Window as MemoryWindow
from service.errors import RowMissing, RowRefused
from service.model import Message
from service.pipeline.batch import Batch, Batches, Parsed
from service.sources.rest import Rest
from service.transform.dedupe import Window
from service.transform.transform import Piece, Transform

TABLE = Table.model_validate({"key": "id", "columns": {"id": "integer", "name": {"type": "text", "null": True}}})
FEED: FeedSettings = Rest.model_validate({"path": "/", "into": "things", "map": {"id": "id", "name": "name"}})


def transform() -> Transform:
    return Transform("acme.things", FEED, {"things": TABLE})


def parsed(mapping: Transform, *messages: Message) -> Parsed:
    pieces = [Piece(message, mapping.decode(message)) for message in messages]
    result = Parsed(received=sum(len(piece.records) for piece in pieces))
    result.add(mapping.map(pieces), messages)
    return result


def message(*ids: object) -> Message:
    return Message(json.dumps([{"id": one, "name": f"n{one}"} for one in ids]).encode(), 1.0, {"at": ids[-1]})


async def test_rows_are_taken_as_soon_as_they_are_there() -> None:
    mapping = transform()
    batches = Batches(mapping, Bounds(max_rows=1000))
    await batches.add(1, parsed(mapping, message(1)))
    batch = await batches.take(0)
    assert batch is not None
    assert batch.rows == [(1, "n1")]


async def test_a_full_batch_makes_the_worker_wait_until_it_is_taken() -> None:
    mapping = transform()
    batches = Batches(mapping, Bounds(max_rows=2))
    async with asyncio.TaskGroup() as group:
        adding = group.create_task(batches.add(1, parsed(mapping, message(1, 2, 3))))
        await asyncio.sleep(0)
        assert not adding.done()
        batch = await batches.take(60)
        assert batch is not None
        assert len(batch.rows) == 3  # a message is never split


async def test_a_batch_is_full_by_the_bytes_of_its_messages_too() -> None:
    mapping = transform()
    batches = Batches(mapping, Bounds(max_bytes=10))
    async with asyncio.TaskGroup() as group:
        adding = group.create_task(batches.add(1, parsed(mapping, message(1))))
        await asyncio.sleep(0)
        assert not adding.done()
        assert await batches.take(60) is not None


async def test_the_end_is_told_after_the_last_batch() -> None:
    mapping = transform()
    batches = Batches(mapping, Bounds(max_rows=1000))
    async with batches:
        await batches.add(1, parsed(mapping, message(1)))
    assert await batches.take(60) is not None
    assert await batches.take(60) is None


async def test_abandoned_batches_let_the_worker_go() -> None:
    mapping = transform()
    batches = Batches(mapping, Bounds(max_rows=1))
    async with asyncio.TaskGroup() as group:
        group.create_task(batches.add(1, parsed(mapping, message(1, 2))))
        await asyncio.sleep(0)
        batches.abandon()


def test_each_refused_row_leads_back_to_its_own_record_though_rows_shift() -> None:
    mapping = transform()
    batch = Batch(mapping)
    batch.add(7, parsed(mapping, message(1, "bad", 2), message(3)))
    batch.add(9, parsed(mapping, message(4, 5)))
    assert [row[0] for row in batch.rows] == [1, 2, 3, 4, 5]
    batch.take_out(RowRefused("things", 1, "id: Check", "no"))
    batch.take_out(RowRefused("things", 2, "id: Check", "no"))
    assert [row[0] for row in batch.write("acme.things", "lane", None).rows["things"]] == [1, 3, 5]
    assert batch.count == 3
    refused = [json.loads(refusal.record or b"") for refusal in batch.refusals]
    assert [record["id"] for record in refused] == ["bad", 2, 4]
    write = batch.write("acme.things", "lane", None)
    assert (write.first, write.last, write.source) == (7, 9, {"at": 5})
    assert (write.counts.received, write.counts.quarantined) == (6, 3)


ROUTED = Rest.model_validate(
    {
        "path": "/",
        "routes": [
            {"where": "id > 100", "into": "large", "map": {"id": "id"}},
            {"into": "small", "map": {"id": "id"}},
        ],
        "dedupe": 100,
    }
)
TABLES = {name: Table.model_validate({"key": "id", "columns": {"id": "integer"}}) for name in ("small", "large")}


def routed_batch(*bodies: str) -> Batch:
    mapping = Transform("acme.things", ROUTED, TABLES)
    batch = Batch(mapping)
    batch.add(1, parsed(mapping, *(Message(body.encode(), 1.0) for body in bodies)))
    return batch


def sifted(window: Window, mapping: Transform, sent: Message) -> Parsed:
    found = mapping.map([Piece(sent, mapping.decode(sent))])
    result = Parsed(received=len(found.rows))
    result.leave_out(window, found)
    result.add(found, [sent])
    return result


def test_rows_of_several_tables_are_written_together_each_in_order() -> None:
    batch = routed_batch('[{"id": 1}, {"id": 101}]', '{"id": 2}', '{"id": 102}')
    assert batch.write("acme.things", "lane", None).rows == {"large": [(101,), (102,)], "small": [(1,), (2,)]}


def test_a_refused_row_is_found_in_its_own_table() -> None:
    batch = routed_batch('[{"id": 1}, {"id": 101}]', '[{"id": 2}, {"id": 102}]', '{"id": 3}')
    for table, row in (("small", 1), ("large", 1), ("large", 0)):
        batch.take_out(RowRefused(table, row, "id: check_violation", "the database said so"))
    assert [(refusal.table, refusal.record, refusal.index) for refusal in batch.refusals] == [
        ("small", b'{"id": 2}', 0),
        ("large", b'{"id": 102}', 1),
        ("large", b'{"id": 101}', 1),
    ]
    assert batch.write("acme.things", "lane", None).rows == {"large": [], "small": [(1,), (3,)]}
    assert batch.counts.quarantined == 3


def test_a_row_that_the_database_refused_is_not_taken_for_a_repeat() -> None:
    mapping = Transform("acme.things", ROUTED, TABLES)
    window = Window(MemoryWindow(100, None), TABLES)
    batch = Batch(mapping, window)
    sent = Message(b'[{"id": 1}, {"id": 2}]', 1.0)

    batch.add(1, sifted(window, mapping, sent))
    batch.take_out(RowRefused("small", 0, "id: check_violation", "the database said so"))
    assert sifted(window, mapping, sent).repeats == [1]


def test_what_repeats_is_left_out_of_what_is_written() -> None:
    mapping = Transform("acme.things", ROUTED, TABLES)
    window = Window(MemoryWindow(100, None), TABLES)
    batch = Batch(mapping, window)
    bodies = (b'[{"id": 1}, {"id": 101}, {"id": 1}]', b'[{"id": 1}, {"id": 2}]', b'{"id": 101}')
    for number, body in enumerate(bodies, 1):
        batch.add(number, sifted(window, mapping, Message(body, 1.0)))
    assert batch.write("acme.things", "lane", None).rows == {"large": [(101,)], "small": [(1,), (2,)]}
    assert (batch.count, batch.counts.duplicate) == (3, 3)
    batch.take_out(RowRefused("small", 1, "id: check_violation", "the database said so"))
    (refusal,) = batch.refusals
    assert (refusal.record, refusal.index) == (b'{"id": 2}', 1)


@pytest.mark.parametrize("when", ["filling", "taken", "mapped"])
def test_what_repeats_a_row_that_is_refused_meanwhile_is_tried_itself(when: str) -> None:
    mapping = Transform("acme.things", ROUTED, TABLES)
    window = Window(MemoryWindow(100, None), TABLES)
    before, after = Batch(mapping, window), Batch(mapping, window)
    sent = Message(b'[{"id": 1}, {"id": 2}]', 1.0)
    before.add(1, sifted(window, mapping, sent))
    again = sifted(window, mapping, sent)
    assert again.repeats == [0, 1]
    if when != "mapped":
        after.add(2, again)
    if when == "taken":
        assert after.write("acme.things", "lane", None).rows["small"] == []
    before.take_out(RowRefused("small", 0, "id: check_violation", "the database said so"))
    if when == "mapped":
        after.add(2, again)
    assert after.is_outdated
    assert after.write("acme.things", "lane", None).rows["small"] == [(1,), (2,)]
    assert after.counts.duplicate == 0
    assert not after.is_outdated


def test_a_row_that_waits_keeps_its_own_record_whatever_was_taken_out_before() -> None:
    batch = routed_batch('[{"id": 1}, {"id": 101}]', '[{"id": 2}, {"id": 102}]', '{"id": 3}')
    patience = batch.write("acme.things", "lane", None, 30).patience
    assert patience is not None
    assert (patience.feed, patience.seconds) == ("acme.things", 30)
    assert patience.refusal("large", 1, "partial: no row", "why").record == b'{"id": 102}'
    batch.take_out(RowMissing("small", 1, "partial: no row", "too many"))
    (refusal,) = batch.refusals
    assert (refusal.record, refusal.reason, refusal.detail) == (
        b'{"id": 2}',
        "partial: no row",
        "acme.things, record 1: too many",
    )
    assert patience.refusal("large", 1, "partial: no row", "why").record == b'{"id": 102}'
    assert patience.refusal("small", 1, "partial: no row", "why").record == b'{"id": 3}'


def test_the_same_delta_is_welcome_again_after_one_that_had_to_wait() -> None:
    settings = Rest.model_validate({"path": "/", "into": "small", "map": {"id": "id"}, "partial": True, "dedupe": 9})
    mapping = Transform("acme.things", settings, TABLES)
    window = Window(MemoryWindow(100, None), TABLES)
    batch, sent = Batch(mapping, window), Message(b'{"id": 1}', 1.0)
    batch.add(1, sifted(window, mapping, sent))
    assert sifted(window, mapping, sent).repeats == [0]
    batch.refusal("small", 0, "partial: no row", "why")
    assert sifted(window, mapping, sent).repeats == []
