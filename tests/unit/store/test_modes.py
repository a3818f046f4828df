"""Modes on a real database: the table, its history and the counts are what a plain model makes of the records."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.errors import RowRefused
from service.model import Counts, Row
from service.store.store import Store
from tests.store_feed import Feed, rows_of, store_of, table

NUMBER = {"type": "integer", "null": True}
COLUMNS = {"id": "text", "version": NUMBER, "score": NUMBER}
TABLES = {
    "deleted": table("id", COLUMNS, "version"),
    "bare": table("id", COLUMNS),
    "updated": table("id", COLUMNS, "version", mode="update"),
    "mixed": table("id", COLUMNS, "version", mode="update"),
    "appended": table([], COLUMNS, mode="append"),
}
DELETABLE = ("deleted", "bare", "mixed")

KEYS, VERSIONS = st.sampled_from("abc"), st.one_of(st.none(), st.integers(0, 4))
ROW = st.tuples(KEYS, VERSIONS, st.one_of(st.none(), st.integers(0, 2)))
FLAGGED = st.one_of(
    ROW.map(lambda row: (*row, False)), st.tuples(KEYS, VERSIONS, st.none(), st.just(True))  # a deletion
)  # fmt: skip
CASES = st.sampled_from(list(TABLES)).flatmap(
    lambda name: st.tuples(
        st.just(name), st.lists(st.lists(FLAGGED if name in DELETABLE else ROW, max_size=8), max_size=4)
    )
)


@pytest.fixture
async def store(database: str) -> AsyncIterator[Store]:
    async with store_of(database, TABLES, deletable=DELETABLE) as opened:
        await opened.prepare()
        yield opened


def rank(version: int | None) -> int:
    return -1 if version is None else version


class Model:
    """One table as the documentation has it: a batch is folded by key, then each winner meets the table."""

    def __init__(self, name: str, rows: Sequence[Row] = ()) -> None:
        self.rows = {row[0]: tuple(row[:3]) for row in rows}
        self._mode = TABLES[name].mode
        self._versioned = TABLES[name].version is not None
        self._tombs: dict[str, int] = {}
        self.appended: list[Row] = []

    def load(self, batch: Sequence[Row]) -> Counts:
        counts = Counts(received=len(batch))
        if self._mode == "append":
            self.appended += batch
            counts.inserted = len(batch)
            return counts
        for key in dict.fromkeys(row[0] for row in batch):
            rivals = [row for row in batch if row[0] == key]
            best = max(self._rank(row) for row in rivals)
            winner = [row for row in rivals if self._rank(row) == best][-1]
            counts.duplicate += rivals.count(winner) - 1
            counts.stale += len(rivals) - rivals.count(winner)
            outcome = self._delete(winner) if winner[3:] == (True,) else self._write(winner)
            setattr(counts, outcome, getattr(counts, outcome) + 1)
        return counts

    def _rank(self, row: Row) -> int:
        return rank(row[1]) if self._versioned else 0

    def _delete(self, row: Row) -> str:
        if self._versioned and row[1] is not None:
            self._tombs[row[0]] = max(row[1], self._tombs.get(row[0], -1))
        there = self.rows.get(row[0])
        if there is None:
            return "unchanged"
        if self._rank(row) < self._rank(there):
            return "stale"
        del self.rows[row[0]]
        return "deleted"

    def _write(self, row: Row) -> str:
        key, there = row[0], self.rows.get(row[0])
        if self._rank(row) < self._tombs.get(key, -1) or (there is not None and self._rank(row) < self._rank(there)):
            return "stale"
        if there is None and self._mode == "update":
            return "filtered"
        self.rows[key] = row[:3]
        return "inserted" if there is None else "unchanged" if there == row[:3] else "updated"


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(CASES)
async def test_tables_and_counts_are_those_of_the_model_in_every_mode(
    store: Store, database: str, case: tuple[str, list[list[Row]]]
) -> None:
    name, batches = case
    await rows_of(database, f'TRUNCATE "{name}", headrace.positions, headrace.deleted')
    start: list[Row] = [("a", 2, 1), ("b", None, None)]
    if TABLES[name].mode == "update":
        await rows_of(database, f"INSERT INTO {name} VALUES ('a', 2, 1), ('b', NULL, NULL)")
    feed, model, ledger = Feed(store), Model(name, start if TABLES[name].mode == "update" else ()), Counts()
    for batch in batches:
        counts = await feed.load(batch, name)
        assert counts == model.load(batch)
        assert counts.settled == counts.received == len(batch)
        ledger.add(counts)
    found = await rows_of(database, f"SELECT * FROM {name}")
    wanted = model.appended or list(model.rows.values())
    assert sorted(found, key=repr) == sorted(wanted, key=repr)
    assert feed.at is None or feed.at.counts == ledger


async def test_an_appended_batch_that_is_repeated_is_not_written_twice(store: Store, database: str) -> None:
    feed = Feed(store)
    write = feed.write({"appended": [("a", 1, 1), ("a", 1, 1)]})
    first = await store.commit(write)
    assert await store.commit(write) == first
    assert await rows_of(database, "SELECT id FROM appended") == [("a",), ("a",)]


async def test_an_append_table_has_no_primary_key_and_an_index_on_its_key(database: str) -> None:
    async with store_of(database, {"log": table("id", {"id": "text"}, mode="append")}) as opened:
        await opened.prepare()
        await opened.prepare()
        assert (await Feed(opened).load([("a",), ("a",)], "log")).inserted == 2
    query = "SELECT indexdef FROM pg_indexes WHERE tablename = 'log'"
    assert await rows_of(database, query) == [("CREATE INDEX log_id_idx ON public.log USING btree (id)",)]


async def test_an_older_record_of_another_feed_does_not_bring_a_deleted_row_back(store: Store, database: str) -> None:
    await Feed(store).load([("a", 5, None, True)], "deleted")
    other = Feed(store, "acme.fixtures")
    assert (await other.load([("a", 4, 1, False)], "deleted")).stale == 1
    assert (await other.load([("a", 5, 1, False)], "deleted")).inserted == 1


SLOW = """
CREATE FUNCTION linger() RETURNS trigger LANGUAGE plpgsql AS
    $$BEGIN PERFORM pg_advisory_xact_lock_shared(1); RETURN NULL; END$$;
CREATE TRIGGER linger AFTER DELETE ON deleted FOR EACH ROW EXECUTE FUNCTION linger();
"""


async def test_an_older_record_that_arrives_while_a_row_is_deleted_does_not_bring_it_back(
    store: Store, database: str
) -> None:
    feed, other = Feed(store), Feed(store, "acme.fixtures")
    await feed.load([("a", 3, 1, False)], "deleted")
    connection = await asyncpg.connect(database)
    await connection.execute(SLOW)

    async def until_waiting(count: int) -> None:
        while await connection.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted") < count:
            await asyncio.sleep(0.01)

    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        await connection.execute("SELECT pg_advisory_lock(1)")
        deleting = group.create_task(feed.load([("a", 5, None, True)], "deleted"))
        await until_waiting(1)
        writing = group.create_task(other.load([("a", 4, 1, False)], "deleted"))
        await until_waiting(2)
        await connection.execute("SELECT pg_advisory_unlock(1)")
    await connection.close()
    assert (deleting.result().deleted, writing.result().stale) == (1, 1)
    assert await rows_of(database, "SELECT id FROM deleted") == []


async def test_tombstones_know_keys_and_versions_of_every_type_in_any_zone(database: str) -> None:
    columns = {"at": "timestamp", "odds": "decimal", "day": "date", "changed": "timestamp"}
    tables = {"t": table(["at", "odds", "day"], columns, "changed")}
    connection = await asyncpg.connect(database)
    async with store_of(database, tables, deletable=["t"]) as opened:
        await opened.prepare()
        early, late = datetime(2026, 1, 1, 0, 0, 0, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)
        odds, shorter, day = Decimal("1.50"), Decimal("1.5"), date(2026, 1, 2)
        await Feed(opened).load([(early, odds, day, late, True)], "t")
    name = database.rpartition("/")[2]
    await connection.execute(f"ALTER DATABASE {name} SET timezone = 'Asia/Kathmandu'")
    async with store_of(database, tables, deletable=["t"]) as opened:
        feed = Feed(opened, "acme.other")
        assert (await feed.load([(early, shorter, day, early, False)], "t")).stale == 1
        assert (await feed.load([(early, shorter, day, late, False)], "t")).inserted == 1
    await connection.close()


async def test_tombstones_are_dropped_after_a_week(
    store: Store, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed = Feed(store)
    await feed.load([("a", 5, None, True)], "deleted")
    await rows_of(database, "UPDATE headrace.deleted SET deleted_at = now() - interval '8 days'")
    monkeypatch.setattr("service.store.store.PRUNE_SECONDS", -1.0)
    await feed.load([("b", 5, None, True)], "deleted")
    assert await rows_of(database, "SELECT key::text FROM headrace.deleted") == [('["b"]',)]


async def test_a_column_may_be_called_as_the_flag_is(database: str) -> None:
    tables: dict[str, Any] = {"t": table("id", {"id": "text", "deleted": "boolean"})}
    async with store_of(database, tables, deletable=["t"]) as opened:
        await opened.prepare()
        feed = Feed(opened)
        assert (await feed.load([("a", True, False)], "t")).inserted == 1
        assert (await feed.load([("a", None, True)], "t")).deleted == 1


async def test_a_deletion_that_the_database_refuses_is_named(store: Store, database: str) -> None:
    feed = Feed(store)
    await feed.load([("a", 1, 1, False), ("b", 1, 1, False)], "deleted")
    connection = await asyncpg.connect(database)
    await connection.execute("CREATE TABLE goals (of_match text REFERENCES deleted); INSERT INTO goals VALUES ('a')")
    await connection.close()
    with pytest.raises(RowRefused, match="violates foreign key") as refused:
        await feed.load([("b", 2, None, True), ("a", 2, None, True)], "deleted")
    assert (refused.value.row, refused.value.also) == (1, ())
    assert await rows_of(database, "SELECT id FROM deleted ORDER BY id") == [("a",), ("b",)]
