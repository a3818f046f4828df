"""Partial feeds on a real database: whatever the order, cut and restarts, each column keeps its newest value."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.model import Counts
from service.store.store import Store
from tests.sql import execute, fetch
from tests.store_feed import store_of, table
from tests.unit.store.deltas import COLUMNS, Deltas, Record, Sequential, newest

TABLES = {
    "t": table("id", COLUMNS, "version"),
    "bare": table("id", COLUMNS),
    "buried": table("id", COLUMNS, "version"),
    "cut": table("id", COLUMNS),
}
DELETABLE = ("buried", "cut")
VALUES = st.integers(0, 2)
CARRIED = st.one_of(
    st.fixed_dictionaries({}, optional={"a": VALUES | st.none(), "b": VALUES | st.none(), "c": VALUES, "d": VALUES}),
    st.fixed_dictionaries({"a": VALUES, "b": VALUES, "c": VALUES, "d": VALUES}),
    st.fixed_dictionaries({"a": VALUES}),
)
KEYS, VERSIONS = st.sampled_from("abc"), st.integers(0, 5) | st.none()
RECORDS = st.builds(Record, KEYS, VERSIONS, CARRIED, st.just(False))
DELETIONS = st.builds(Record, KEYS, VERSIONS, st.just({}), st.just(True))
SLOW = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
async def store(database: str) -> AsyncIterator[Store]:
    async with open_store(database) as opened:
        await opened.prepare()
        yield opened


def open_store(database: str) -> Store:
    return store_of(database, TABLES, deletable=DELETABLE, partial=TABLES)


async def clear(database: str, name: str) -> None:
    tables = ("positions", "deleted", "waiting", "column_versions", "quarantine")
    await execute(database, f"TRUNCATE {name}, {', '.join(f'headrace.{each}' for each in tables)}")


async def content(database: str, name: str) -> list[tuple[Any, ...]]:
    return await fetch(database, f'SELECT * FROM {name} ORDER BY id COLLATE "C"')


@settings(SLOW, max_examples=60)
@given(st.lists(st.lists(RECORDS, max_size=7), max_size=4), st.sampled_from(["t", "bare"]), st.data())
async def test_every_column_holds_the_newest_value_that_was_carried(
    store: Store, database: str, batches: list[list[Record]], name: str, data: st.DataObject
) -> None:
    await clear(database, name)
    feeds = [Deltas(store), Deltas(store, "acme.fixtures")]
    ledger = Counts()
    for batch in batches:
        feed = feeds[data.draw(st.integers(0, 1))]
        write = feed.write({name: [record.row() for record in batch]})
        ledger.add(await feed.commit(write))
        if data.draw(st.booleans()):  # killed before the answer came: the same again, by a daemon that just started
            async with open_store(database) as fresh:
                assert (await fresh.commit(write))[0].counts == feed.at.counts  # type: ignore[union-attr]
    records = [record for batch in batches for record in batch]
    versioned = TABLES[name].version is not None
    assert await content(database, name) == newest(records, versioned=versioned)
    assert Sequential(versioned=versioned).load(records).table() == newest(records, versioned=versioned)
    waits = 0
    for feed in feeds:
        if feed.at is not None:
            ledger.add(await feed.settle())
            waits += feed.at.waiting
    assert ledger.settled == ledger.received == len(records) - waits
    there = {row[0] for row in await content(database, name)}
    assert await fetch(database, "SELECT key ->> 0 FROM headrace.waiting WHERE outcome IS NOT NULL") == []
    assert there.isdisjoint(key for (key,) in await fetch(database, "SELECT key ->> 0 FROM headrace.waiting"))


@settings(SLOW, max_examples=60)
@given(st.lists(st.lists(RECORDS | RECORDS | DELETIONS, max_size=7), max_size=4), st.sampled_from(DELETABLE))
async def test_deletions_and_deltas_end_as_record_after_record(
    store: Store, database: str, batches: list[list[Record]], name: str
) -> None:
    await clear(database, name)
    model, feed, ledger = Sequential(versioned=TABLES[name].version is not None), Deltas(store), Counts()
    for batch in batches:
        ledger.add(await feed.load([record.row(deletable=True) for record in batch], name))
        assert await content(database, name) == model.load(batch).table()
    if feed.at is not None:
        ledger.add(await feed.settle())
        assert ledger.settled == ledger.received == sum(map(len, batches)) - feed.at.waiting
        assert feed.at.counts == ledger
    waits = await fetch(database, "SELECT DISTINCT key ->> 0 FROM headrace.waiting")
    assert {key for (key,) in waits} <= {record.key for record in model.waiting}
