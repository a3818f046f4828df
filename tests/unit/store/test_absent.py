"""Absent rows on a real database: what a full set does not hold goes, nothing else does, and it is counted apart."""

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.model import Counts, Row
from service.store.store import Store
from service.store.write import Sweep
from tests.store_feed import Feed, rows_of, store_of, table

COLUMNS = {"source": "text", "id": "text", "at": "timestamp", "n": {"type": "integer", "null": True}}
MARK = {"absent_since": {"type": "timestamp", "null": True}}
KEY = ["source", "id"]
TABLES = {
    "plain": table(KEY, COLUMNS, "at"),
    "marked": table(KEY, COLUMNS | MARK, "at"),
    "kept": table(KEY, COLUMNS, "at", history=True),
    "kept_marks": table(KEY, COLUMNS | MARK, "at", history=True),
}
START = datetime(2026, 1, 1, tzinfo=UTC)


def hour(number: int) -> datetime:
    return START + timedelta(hours=number)


def row(key: str, at: int = 0, *more: object, source: str = "acme") -> Row:
    return (source, key, hour(at), 7, *more)


def sweep(name: str, keys: Sequence[str], at: int) -> Sweep:
    found = [("acme", key) for key in keys]
    return Sweep(name, {"source": "acme"}, found, name in {"marked", "kept_marks"}, hour(at).timestamp())


@pytest.fixture
async def store(database: str) -> AsyncIterator[Store]:
    async with store_of(database, TABLES) as opened:
        await opened.prepare()
        yield opened


SETS = st.lists(st.sets(st.sampled_from("abcd")), max_size=5)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(SETS)
async def test_after_each_full_set_the_rows_in_scope_are_those_of_the_set(
    store: Store, database: str, sets: list[set[str]]
) -> None:
    await rows_of(database, "TRUNCATE plain, marked, headrace.positions")
    feed, other = Feed(store), Feed(store, "acme.other")
    await other.load([row("a", source="rival")], "plain")
    known, shown = set[str](), set[str]()
    for number, keys in enumerate(sets):
        counts = await feed.load([row(key) for key in keys], "plain", sweep("plain", list(keys), number))
        new = len(keys - shown)
        wanted = Counts(received=len(keys), inserted=new, unchanged=len(keys & shown), absent=len(shown - keys))
        assert counts == wanted
        counts = await feed.load([row(key, 0, None) for key in keys], "marked", sweep("marked", list(keys), number))
        back = len((known - shown) & keys)
        assert (counts.inserted, counts.updated, counts.absent) == (len(keys - known), back, len(shown - keys))
        assert counts.settled == counts.received
        shown, known = keys, known | keys
    ids = "SELECT source, id FROM {} {} ORDER BY source, id"
    assert await rows_of(database, ids.format("plain", "")) == [
        *(("acme", key) for key in sorted(shown)),
        ("rival", "a"),
    ]
    present = ids.format("marked", "WHERE absent_since IS NULL")
    assert await rows_of(database, present) == [("acme", key) for key in sorted(shown)]


async def test_a_mark_stays_as_it_was_first_set_and_goes_when_the_row_is_seen_in_an_older_version(
    store: Store, database: str
) -> None:
    feed = Feed(store)
    await feed.load([row("a", 5, None)], "marked", sweep("marked", ["a"], 6))
    assert (await feed.load([], "marked", sweep("marked", [], 7))).absent == 1
    assert (await feed.load([], "marked", sweep("marked", [], 8))).absent == 0
    assert await rows_of(database, "SELECT absent_since FROM marked") == [(hour(7),)]
    counts = await feed.load([row("a", 4, None)], "marked", sweep("marked", ["a"], 9))
    assert (counts.stale, counts.absent) == (1, 0)
    assert await rows_of(database, "SELECT at, absent_since FROM marked") == [(hour(5), None)]


async def test_sweeps_are_counted_in_the_batch_and_the_feed_but_are_no_records(store: Store, database: str) -> None:
    feed = Feed(store)
    await feed.load([row("a"), row("b")], "plain")
    counts = await feed.load([], "plain", sweep("plain", ["a"], 1))
    assert counts == Counts(absent=1)
    assert feed.at is not None
    assert (feed.at.counts.absent, feed.at.counts.settled) == (1, 2)
    assert await rows_of(database, "SELECT absent FROM headrace.batches ORDER BY id") == [(0,), (1,)]


async def test_the_history_tells_when_a_row_was_absent_and_when_it_came_back(store: Store, database: str) -> None:
    feed = Feed(store)
    await feed.load([row("a", 1)], "kept", sweep("kept", ["a"], 2))
    await feed.load([], "kept", sweep("kept", [], 3))
    query = "SELECT at, valid_from, valid_to FROM kept_history WHERE valid_to IS NULL OR valid_to > valid_from "
    assert await rows_of(database, query) == [(hour(1), hour(1), hour(3))]
    await feed.load([row("a", 1)], "kept", sweep("kept", ["a"], 4))
    first, second = await rows_of(database, query + "ORDER BY valid_from")
    assert first == (hour(1), hour(1), hour(3))
    assert second[0] == hour(1)
    assert second[1] > hour(4)  # when it was loaded
    assert second[2] is None
    await feed.load([row("a", 2)], "kept", sweep("kept", ["a"], 5))
    current = "SELECT at FROM kept_history WHERE valid_to IS NULL"
    assert await rows_of(database, current) == await rows_of(database, "SELECT at FROM kept") == [(hour(2),)]


async def test_a_mark_is_a_version_in_the_history(store: Store, database: str) -> None:
    feed = Feed(store)
    await feed.load([row("a", 1, None)], "kept_marks", sweep("kept_marks", ["a"], 2))
    await feed.load([], "kept_marks", sweep("kept_marks", [], 3))
    query = "SELECT absent_since, valid_from, valid_to FROM kept_marks_history ORDER BY valid_from"
    assert await rows_of(database, query) == [(None, hour(1), hour(3)), (hour(3), hour(3), None)]


async def test_keys_that_the_users_own_table_could_not_hold_were_seen_all_the_same(database: str) -> None:
    await rows_of(database, "CREATE TYPE side AS ENUM ('home', 'away')")
    await rows_of(database, "CREATE TABLE sides (side side PRIMARY KEY)")
    async with store_of(database, {"sides": table("side", {"side": "text"})}) as opened:
        await opened.prepare()
        feed = Feed(opened)
        await feed.load([("home",), ("away",)], "sides")
        counts = await feed.load([], "sides", Sweep("sides", {}, [("home",), ("nowhere",)], mark=False, at=0.0))
    assert counts.absent == 1
    assert await rows_of(database, "SELECT side FROM sides") == [("home",)]


SNAPSHOTS = {"levels": table(["symbol", "level"], {"symbol": "text", "level": "integer", "u": "integer"}, "u")}


async def test_a_snapshot_leaves_what_is_newer_and_keeps_what_is_older_from_coming_back(database: str) -> None:
    async with store_of(database, SNAPSHOTS, deletable=["levels"]) as store:
        await store.prepare()
        feed, query = Feed(store), "select symbol, level, u from levels order by 1, 2"
        await feed.load([("a", 1, 5, False), ("a", 2, 8, False), ("a", 3, 11, False), ("b", 1, 5, False)], "levels")
        taken = Sweep("levels", {"symbol": "a"}, [("a", 2)], mark=False, at=1.0, until=10)
        counts = await feed.load([("a", 2, 10, False)], "levels", taken)
        assert (counts.updated, counts.absent) == (1, 1)
        assert await rows_of(database, query) == [("a", 2, 10), ("a", 3, 11), ("b", 1, 5)]
        counts = await feed.load([("a", 1, 9, False), ("b", 1, 6, False)], "levels")
        assert (counts.stale, counts.updated) == (1, 1)
        assert (await feed.load([("a", 1, 12, False)], "levels")).inserted == 1
