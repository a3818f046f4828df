"""The store on a real database: what is in the tables afterwards, and that every record is accounted for."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import asyncpg
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.errors import PositionTaken
from service.model import Commit, Counts, Refusal, Row
from service.store.store import Store
from tests.store_feed import Feed, rows_of, store_of, table

pytestmark = pytest.mark.usefixtures("either_way")

NUMBER = {"type": "integer", "null": True}
MATCHES = table("id", {"id": "text", "version": NUMBER, "score": NUMBER}, "version")
TABLES = {"matches": MATCHES, "keys": table("id", {"id": "text"}), "plain": table("id", {"id": "text", "n": "integer"})}

ROW = st.tuples(
    st.sampled_from("abcd"), st.one_of(st.none(), st.integers(0, 4)), st.one_of(st.none(), st.integers(0, 2))
)
BATCHES = st.lists(st.lists(ROW, max_size=8), max_size=4)


@pytest.fixture
async def store(database: str) -> AsyncIterator[Store]:
    async with store_of(database, TABLES) as opened:
        await opened.prepare()
        yield opened


def newer_or_equal(row: Row, than: Row) -> bool:
    return (row[1] is not None, row[1] or 0) >= (than[1] is not None, than[1] or 0)


def expected(table_rows: dict[str, Row], batch: list[Row]) -> Counts:
    """Apply a batch to a model of the table, one record after another, and count as the ledger defines."""
    counts = Counts(received=len(batch))
    before = dict(table_rows)
    winners: dict[str, Row] = {}
    for row in batch:
        if row[0] not in winners or newer_or_equal(row, winners[row[0]]):
            winners[row[0]] = row
        if row[0] not in table_rows or newer_or_equal(row, table_rows[row[0]]):
            table_rows[row[0]] = row
    for key, winner in winners.items():
        rivals = [row for row in batch if row[0] == key]
        counts.duplicate += rivals.count(winner) - 1
        counts.stale += len(rivals) - rivals.count(winner)
        if key not in before:
            counts.inserted += 1
        elif not newer_or_equal(winner, before[key]):
            counts.stale += 1
        elif winner == before[key]:
            counts.unchanged += 1
        else:
            counts.updated += 1
    return counts


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(BATCHES)
async def test_the_table_is_what_one_record_after_another_makes_and_the_counts_add_up(
    store: Store, database: str, batches: list[list[Row]]
) -> None:
    await rows_of(database, "TRUNCATE matches, headrace.positions")
    feed, model, ledger = Feed(store), dict[str, Row](), Counts()
    for batch in batches:
        counts = await feed.load(batch)
        assert counts == expected(model, batch)
        assert counts.settled == counts.received == len(batch)
        ledger.add(counts)
    assert await rows_of(database, "SELECT * FROM matches ORDER BY id") == [model[key] for key in sorted(model)]
    stored = await store.position("acme.scores")
    assert stored == feed.at
    assert stored is None or stored.counts == ledger


async def test_a_table_of_keys_alone_counts_what_it_has_as_unchanged(store: Store) -> None:
    feed = Feed(store)
    assert (await feed.load([("a",), ("b",), ("a",)], "keys")).inserted == 2
    counts = await feed.load([("b",), ("c",)], "keys")
    assert (counts.inserted, counts.unchanged) == (1, 1)


async def test_without_a_version_the_record_that_came_last_wins(store: Store, database: str) -> None:
    feed = Feed(store)
    await feed.load([("a", 5)], "plain")
    assert (await feed.load([("a", 3), ("b", 1)], "plain")).updated == 1
    assert await rows_of(database, "SELECT * FROM plain ORDER BY id") == [("a", 3), ("b", 1)]


async def test_tables_are_counted_apart_and_together(store: Store) -> None:
    write = Feed(store).write({"plain": [("a", 1), ("a", 1)], "keys": [("a",)], "matches": []})
    commit, counts, tables = await store.commit(write)
    assert tables == {"plain": Counts(inserted=1, duplicate=1), "keys": Counts(inserted=1)}
    assert counts == commit.counts == Counts(received=3, inserted=2, duplicate=1)


async def test_a_batch_without_rows_moves_the_position(store: Store) -> None:
    feed = Feed(store)
    await feed.load([])
    assert await store.position("acme.scores") == Commit("lane-1", 1, {"cursor": 0}, Counts())


async def test_a_repeated_batch_is_recognised_and_answered_as_before(store: Store, database: str) -> None:
    feed = Feed(store)
    await feed.load([("a", 1, 1)])
    write = feed.write({"matches": [("a", 2, 2), ("b", 1, 1)]})
    first = await store.commit(write)
    assert await store.commit(write) == first
    assert await rows_of(database, "SELECT count(*) FROM headrace.batches") == [(2,)]


async def test_a_repeated_batch_of_several_tables_is_counted_by_table_as_before(store: Store) -> None:
    write = Feed(store).write({"plain": [("a", 1), ("a", 1)], "keys": [("x",)]})
    first = await store.commit(write)
    assert set(first[2]) == {"plain", "keys"}
    assert await store.commit(write) == first


async def test_the_first_batch_of_a_feed_may_be_repeated_too(store: Store) -> None:
    write = Feed(store).write({"matches": [("a", 2, 2)]})
    assert await store.commit(write) == await store.commit(write)


async def test_a_feed_that_another_daemon_has_moved_is_not_written(store: Store, database: str) -> None:
    mine, other = Feed(store), Feed(store, lane="lane-2")
    await other.load([("a", 1, 1)])
    with pytest.raises(PositionTaken, match=r"message 1 of lane lane-2.*no position"):
        await mine.load([("b", 1, 1)])
    assert await rows_of(database, "SELECT id FROM matches") == [("a",)]


async def test_a_new_lane_goes_on_where_the_old_one_ended(store: Store) -> None:
    feed = Feed(store)
    await feed.load([("a", 1, 1)])
    successor = Feed(store, lane="lane-2")
    successor.at = feed.at
    await successor.load([("b", 1, 1)])
    stored = await store.position("acme.scores")
    assert stored is not None
    assert (stored.lane, stored.counts.inserted) == ("lane-2", 2)


async def test_a_batch_that_knows_no_source_position_keeps_the_stored_one(store: Store) -> None:
    feed = Feed(store)
    await feed.load([("a", 1, 1)])
    write = feed.write({"matches": []})
    await store.commit(msgspec.structs.replace(write, source=None))
    stored = await store.position("acme.scores")
    assert stored is not None
    assert stored.source == {"cursor": 1}


async def test_refusals_land_in_quarantine_whatever_text_they_quote(store: Store, database: str) -> None:
    at = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
    refusal = Refusal("acme.scores", "matches", "score: max", "is \0 and \ud800", b"{}", b"[{}]", at.timestamp())
    large = Refusal("acme.scores", None, "json: not decodable", "cut off", b"{}", b"x" * 100_000, at.timestamp())
    feed = Feed(store)
    await feed.commit(feed.write({"matches": [("a", 1, 1)]}, [refusal, large]))
    query = "SELECT provider, feed, table_name, reason, detail, record, message, received_at, attempts, resolved_at "
    assert await rows_of(database, f"{query} FROM headrace.quarantine ORDER BY id") == [
        ("acme", "acme.scores", "matches", "score: max", "is \\x00 and \\ud800", b"{}", b"[{}]", at, 0, None),
        ("acme", "acme.scores", None, "json: not decodable", "cut off", b"{}", None, at, 0, None),
    ]


async def test_a_message_is_kept_with_the_first_of_its_refused_records(store: Store, database: str) -> None:
    pages = [b"x" * 60_000, b"y" * 60_000]
    refusals = [
        Refusal("acme.scores", "matches", "score: max", "", b"%d" % number, page, 1.0, number)
        for page in pages
        for number in range(3)
    ]
    feed = Feed(store)
    await feed.commit(feed.write({"matches": []}, refusals))
    first, second = pages
    found = await rows_of(database, "SELECT message FROM headrace.quarantine ORDER BY id")
    assert found == [(first,), (None,), (None,), (second,), (None,), (None,)]


async def test_each_batch_is_noted_with_its_messages_and_counts(store: Store, database: str) -> None:
    feed = Feed(store)
    await feed.load([("a", 1, 1)])
    await feed.load([("a", 1, 1), ("b", 1, 1)])
    query = (
        "SELECT feed, first_sequence, last_sequence, received, inserted, unchanged FROM headrace.batches ORDER BY id"
    )
    assert await rows_of(database, query) == [("acme.scores", 1, 1, 1, 1, 0), ("acme.scores", 2, 3, 2, 1, 1)]


async def test_batches_older_than_a_week_are_dropped(
    store: Store, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed = Feed(store)
    await feed.load([("a", 1, 1)])
    await rows_of(database, "UPDATE headrace.batches SET committed_at = now() - interval '8 days'")
    monkeypatch.setattr("service.store.store.PRUNE_SECONDS", -1.0)
    await feed.load([("b", 1, 1)])
    assert await rows_of(database, "SELECT first_sequence FROM headrace.batches") == [(2,)]


async def test_a_server_that_does_not_wait_for_its_disk_is_told_to(store: Store, database: str) -> None:
    connection = await asyncpg.connect(database)
    name = database.rpartition("/")[2]
    await connection.execute(
        f"ALTER DATABASE {name} SET synchronous_commit = off;"
        "CREATE TABLE seen (sync text);"
        "CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS "
        "$$BEGIN INSERT INTO seen VALUES (current_setting('synchronous_commit')); RETURN new; END$$;"
        "CREATE TRIGGER see BEFORE INSERT ON matches FOR EACH ROW EXECUTE FUNCTION see()"
    )
    await connection.close()
    async with store_of(database, TABLES) as fresh:
        await Feed(fresh).load([("a", 1, 1)])
    assert await rows_of(database, "SELECT sync FROM seen") == [("on",)]
