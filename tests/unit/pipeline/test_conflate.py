"""Conflation: the table ends as it would have, every record is accounted for, and a full inlet makes room."""

import asyncio
from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from service.buffer.memory import Memory
from service.config.feeds import FeedSettings
from service.config.tables import Table
from service.model import OVERHEAD, Message, Row
from service.pipeline.conflate import Conflation, gone_before
from service.pipeline.inlet import Inlet
from service.transform.transform import Piece, Transform

TABLE = Table.model_validate(
    {"key": "k", "version": "v", "columns": {"k": "text", "v": {"type": "integer", "null": True}, "p": "integer"}}
)
BARE = Table.model_validate({"key": "k", "columns": {"k": "text", "p": "integer"}})
RECORDS = st.fixed_dictionaries(
    {
        "k": st.sampled_from(["a", "b", "c"]),
        "v": st.integers(0, 3) | st.none(),
        "p": st.integers(0, 99) | st.just("no number"),
        "w": st.booleans(),
    }
)
BODIES = st.lists(st.lists(RECORDS, max_size=3).map(orjson.dumps) | st.just(b"not json"), min_size=1, max_size=12)


def transform(table: Table) -> Transform:
    columns = {name: name for name in table.columns}
    settings = FeedSettings.model_validate({"into": "t", "map": columns, "where": "w || p == 'no number'"})
    return Transform("a.b", settings, {"t": table})


def fold(table: Table, messages: list[Message]) -> list[Message]:
    return asyncio.run(Conflation(transform(table), table).fold(messages))


def rows_of(table: Table, messages: list[Message]) -> tuple[list[Row], int, int]:
    """Give the rows, and how many records are filtered and refused."""
    tested, rows, filtered, refused = transform(table), [], 0, 0
    for message in messages:
        if message.body == b"not json":
            refused += 1
            continue
        mapped = tested.map([Piece(message, tested.read(message))])
        rows += mapped.rows
        filtered += mapped.filtered
        refused += len(mapped.refusals)
    return rows, filtered, refused


def loaded(table: Table, rows: list[Row]) -> dict[Any, Row]:
    """Load rows as the store does: the newest version wins, the last of equals; one without a version always yields."""
    version = list(table.columns).index("v") if table.version is not None else None
    found: dict[Any, Row] = {}
    for row in rows:
        before = found.get(row[0], row)
        old, new = (before[version], row[version]) if version is not None else (0, 0)
        if old is None or (new is not None and new >= old):
            found[row[0]] = row
    return found


@given(bodies=BODIES, versioned=st.booleans(), times=st.integers(1, 3))
def test_the_table_and_the_account_are_the_same_with_conflation(
    bodies: list[bytes], versioned: bool, times: int
) -> None:
    table = TABLE if versioned else BARE
    messages = [Message(body, float(n), {"n": n} if n % 2 else None) for n, body in enumerate(bodies)]
    kept = messages
    for _ in range(times):
        kept = fold(table, kept)
    rows, filtered, refused = rows_of(table, messages)
    left, left_filtered, left_refused = rows_of(table, kept)
    gone = [gone_before(message) for message in kept]
    assert loaded(table, left) == loaded(table, rows)
    assert left_refused == refused
    assert len(left) + sum(each.stale for each in gone) == len(rows)
    assert left_filtered + sum(each.filtered for each in gone) == filtered
    assert [message.received_at for message in kept] == sorted(message.received_at for message in kept)


@given(bodies=st.lists(RECORDS.map(lambda record: orjson.dumps({**record, "p": 1, "v": 1, "w": True})), min_size=1))
def test_of_each_key_one_message_is_left_and_the_last_position(bodies: list[bytes]) -> None:
    kept = fold(TABLE, [Message(body, 0.0, {"n": n}) for n, body in enumerate(bodies)])
    assert len(kept) == len({orjson.loads(body)["k"] for body in bodies})
    assert kept[-1].position == {"n": len(bodies) - 1}


async def test_a_full_inlet_conflates_instead_of_making_the_source_wait() -> None:
    lane = await Memory(1 << 20, ["a.b"]).lane("a.b")
    inlet = Inlet(lane, 20 * (40 + OVERHEAD), Conflation(transform(TABLE), TABLE))
    for version in range(200):
        body = orjson.dumps({"k": "abc"[version % 3], "v": version, "p": version, "w": True})
        async with asyncio.timeout(5):
            await inlet.put([Message(body, 0.0)])
    assert inlet.conflated > 150
    assert inlet.paused_seconds == 0
    async with asyncio.TaskGroup() as group:
        appending = group.create_task(inlet.run())
        await inlet.settled()
        appending.cancel()
    found = await lane.read(0, 1 << 20)
    assert found is not None
    newest = {record["k"]: record["v"] for message in found.messages if (record := orjson.loads(message.body))}
    assert newest == {"a": 198, "b": 199, "c": 197}
    assert len(found.messages) + sum(gone_before(message).stale for message in found.messages) == 200
    assert inlet.held == 0


async def test_an_inlet_full_of_different_keys_makes_the_source_wait_and_drops_nothing() -> None:
    lane = await Memory(1 << 20, ["a.b"]).lane("a.b")
    inlet = Inlet(lane, 10 * (40 + OVERHEAD), Conflation(transform(TABLE), TABLE))
    async with asyncio.TaskGroup() as group:

        async def put() -> None:
            for number in range(100):
                body = orjson.dumps({"k": str(number), "v": 1, "p": 1, "w": True})
                await inlet.put([Message(body, 0.0)])

        putting = group.create_task(put())
        while inlet.paused_since is None:
            await asyncio.sleep(0)
        assert inlet.held <= 11 * (40 + OVERHEAD)
        appending = group.create_task(inlet.run())
        await putting
        await inlet.settled()
        appending.cancel()
    assert lane.last_sequence == 100
    assert inlet.conflated == 0
