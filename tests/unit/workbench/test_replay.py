"""Replay against real Postgres: what was refused is loaded, refused again or left, and the ledger balances."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import msgspec
import pytest

from service.config.feeds import FeedSettings
from service.errors import FormatError, RowRefused
from service.model import Counts, Message, Refusal
from service.store.review import Review, Selection
from service.store.store import Store
from service.transform.transform import Piece, Transform
from service.transform.where import Where
from service.workbench.replay import Outcome, Replay
from tests.store_feed import Feed, store_of, table
from tests.unit.transform.making import make, message, run

COLUMNS: dict[str, Any] = {"id": "text", "at": "integer", "n": {"type": "integer", "max": 9}}
WIDER = {**COLUMNS, "n": {"type": "integer", "max": 99}}
VERSIONED = {"key": ["id"], "version": "at"}


def transform_of(columns: dict[str, Any] = COLUMNS, **feed: Any) -> Transform:
    return make(columns, None, VERSIONED, **feed)


@pytest.fixture
async def store(database: str) -> AsyncIterator[Store]:
    async with store_of(database, {"t": table("id", WIDER, "at")}) as opened:
        await opened.prepare()
        yield opened


async def load(feed: Feed, *records: Any) -> None:
    """Commit what a strict configuration makes of records."""
    mapped = run(transform_of(), *records)
    await feed.commit(feed.write({"t": mapped.rows}, mapped.refusals))


async def replay(store: Store, transform: Transform, selection: Selection | None = None, **options: Any) -> Outcome:
    return await Replay(Review(store), {"acme.scores": transform}).run(selection or Selection(), **options)


async def fetch(url: str, query: str) -> list[tuple[Any, ...]]:
    connection = await asyncpg.connect(url)
    try:
        return [tuple(row) for row in await connection.fetch(query)]
    finally:
        await connection.close()


async def balance(store: Store, url: str) -> Counts:
    """Give the feed's ledger, after checking that it balances and agrees with the tables."""
    commit = await store.position("acme.scores")
    assert commit is not None
    assert commit.counts.settled == commit.counts.received
    waiting = await fetch(url, "SELECT count(*) FROM headrace.quarantine WHERE resolved_at IS NULL")
    assert waiting == [(commit.counts.quarantined,)]
    assert await fetch(url, "SELECT count(*) FROM t") == [(commit.counts.inserted,)]
    return commit.counts


async def test_refused_records_are_loaded_once_the_configuration_takes_them(store: Store, database: str) -> None:
    await load(Feed(store), {"id": "a", "at": 1, "n": 5}, {"id": "b", "at": 1, "n": 50}, {"id": "c", "at": 1, "n": 500})
    assert (await balance(store, database)).quarantined == 2
    outcome = await replay(store, transform_of(WIDER))
    assert outcome.counts == Counts(received=2, inserted=1, quarantined=1)
    assert dict(outcome.again) == {("acme.scores", "n: max"): 1}
    assert await fetch(database, "SELECT * FROM t ORDER BY id") == [("a", 1, 5), ("b", 1, 50)]
    assert (await balance(store, database)) == Counts(received=3, inserted=2, quarantined=1)
    query = "SELECT attempts, resolved_at IS NULL, detail FROM headrace.quarantine ORDER BY id"
    (done, again) = await fetch(database, query)
    assert done[:2] == (1, False)
    assert again[:2] == (1, True)
    assert again[2].startswith('acme.scores, record 3: n ("n"): 500 is more than the maximum 99 [max]')


async def test_a_second_replay_finds_nothing_that_is_resolved(store: Store, database: str) -> None:
    await load(Feed(store), {"id": "b", "at": 1, "n": 50})
    await replay(store, transform_of(WIDER))
    assert (await replay(store, transform_of(WIDER))).entries == 0
    await balance(store, database)


async def test_a_replayed_record_never_overwrites_a_newer_row(store: Store, database: str) -> None:
    feed = Feed(store)
    await load(feed, {"id": "a", "at": 1, "n": 50}, {"id": "a", "at": 2, "n": 7}, {"id": "a", "at": 3, "n": 60})
    outcome = await replay(store, transform_of(WIDER), Selection(ids=(1,)))
    assert outcome.counts == Counts(received=1, stale=1)
    assert await fetch(database, "SELECT * FROM t") == [("a", 2, 7)]
    outcome = await replay(store, transform_of(WIDER))
    assert outcome.counts == Counts(received=1, updated=1)
    assert await fetch(database, "SELECT * FROM t") == [("a", 3, 60)]
    await balance(store, database)


async def test_a_running_daemon_is_not_disturbed_and_keeps_the_ledger_balanced(store: Store, database: str) -> None:
    feed = Feed(store)
    await load(feed, {"id": "a", "at": 1, "n": 5}, {"id": "b", "at": 1, "n": 50})
    await replay(store, transform_of(WIDER))
    write = feed.write({"t": [("c", 1, 1)]})
    counts = await feed.commit(write)  # follows the position that it left before the replay
    assert counts == Counts(received=1, inserted=1)
    assert await balance(store, database) == Counts(received=3, inserted=3)
    assert (await store.commit(write))[
        1
    ] == counts  # the answer was lost: the batch is accounted for without the replay


async def test_a_batch_repeated_after_a_replay_counts_only_itself(store: Store, database: str) -> None:
    feed = Feed(store)
    await load(feed, {"id": "b", "at": 1, "n": 50})
    write = feed.write({"t": [("c", 1, 1)]})
    _, counts, _ = await store.commit(write)
    await replay(store, transform_of(WIDER))
    assert (await store.commit(write))[1] == counts == Counts(received=1, inserted=1)
    await balance(store, database)


async def test_a_dry_run_says_what_would_be_and_changes_nothing(store: Store, database: str) -> None:
    await load(Feed(store), {"id": "b", "at": 1, "n": 50}, {"id": "c", "at": 1, "n": 500})
    before = await balance(store, database)
    outcome = await replay(store, transform_of(WIDER), dry_run=True)
    assert outcome.counts == Counts(received=2, inserted=1, quarantined=1)
    assert await balance(store, database) == before
    assert await fetch(database, "SELECT sum(attempts) FROM headrace.quarantine") == [(0,)]


async def test_a_row_that_the_database_refuses_is_refused_again_alone(store: Store, database: str) -> None:
    await fetch(database, "ALTER TABLE t ADD CONSTRAINT even CHECK (n % 2 = 0)")
    await load(Feed(store), {"id": "a", "at": 1, "n": 20}, {"id": "b", "at": 1, "n": 21}, {"id": "c", "at": 1, "n": 22})
    outcome = await replay(store, transform_of(WIDER))
    assert outcome.counts == Counts(received=3, inserted=2, quarantined=1)
    assert dict(outcome.again) == {("acme.scores", "even: check_violation"): 1}
    ((detail,),) = await fetch(database, "SELECT detail FROM headrace.quarantine WHERE resolved_at IS NULL")
    assert detail.startswith('acme.scores, record 2: n ("n"): 21 is refused by the database [check_violation]: ')
    await balance(store, database)


async def test_a_whole_message_that_decodes_now_becomes_its_records(store: Store, database: str) -> None:
    feed, strict = Feed(store), transform_of(records="rows")
    body = msgspec.json.encode(
        [{"id": "a", "at": 1, "n": 5}, {"id": "b", "at": 1, "n": 500}, {"id": "c", "at": 2, "n": 1}]
    )
    sent = Message(body, 1767355200.0)
    refusal = strict.undecodable(sent, FormatError("it has no rows"))
    await feed.commit(feed.write({"t": []}, [refusal]))
    outcome = await replay(store, transform_of(WIDER))
    assert outcome.counts == Counts(received=3, inserted=2, quarantined=1)
    assert await balance(store, database) == Counts(received=3, inserted=2, quarantined=1)
    outcome = await replay(store, transform_of({**WIDER, "n": "integer"}))  # what was refused of it is an entry now
    assert outcome.counts == Counts(received=1, inserted=1)
    await balance(store, database)


async def test_a_message_that_still_does_not_decode_stays_with_one_attempt_more(store: Store, database: str) -> None:
    feed, strict = Feed(store), transform_of()
    refusal = strict.undecodable(Message(b"<x/>", 1767355200.0), FormatError("no"))
    await feed.commit(feed.write({"t": []}, [refusal]))
    assert (await replay(store, strict)).counts == Counts(received=1, quarantined=1)
    assert await fetch(database, "SELECT attempts, resolved_at FROM headrace.quarantine") == [(1, None)]
    await balance(store, database)


async def test_what_the_configuration_leaves_out_now_is_counted_as_filtered(store: Store, database: str) -> None:
    await load(Feed(store), {"id": "a", "at": 1, "n": 50})
    assert (await replay(store, transform_of(where="n < 9"))).counts == Counts(received=1, filtered=1)
    await balance(store, database)


async def test_a_deletion_that_was_refused_deletes_its_row_and_stays_gone(database: str) -> None:
    tables = {"t": table("id", WIDER, "at")}
    transform = Transform(
        "acme.scores",
        FeedSettings.model_validate(
            {"into": "t", "map": {name: name for name in WIDER}, "delete_when": "gone == true"}
        ),
        tables,
        {"t"},
    )
    async with store_of(database, tables, deletable=["t"]) as store:
        await store.prepare()
        feed, gone = Feed(store), {"id": "a", "at": 5, "gone": True}
        body = msgspec.json.encode(gone)
        refusal = Refusal("acme.scores", "t", "at: required", "", body, body, 1767355200.0)
        await feed.commit(feed.write({"t": [("a", 1, 1, False)]}, [refusal]))
        assert (await replay(store, transform)).counts == Counts(received=1, deleted=1)
        counts = await feed.commit(feed.write({"t": [("a", 4, 4, False)]}))
        assert counts == Counts(received=1, stale=1)
        assert await fetch(database, "SELECT * FROM t") == []


async def test_feed_reason_and_where_select(store: Store, database: str) -> None:
    await load(
        Feed(store), {"id": "a", "at": 1, "n": 50}, {"id": "b", "at": 1, "n": 60}, {"id": "c", "at": "x", "n": 1}
    )
    everything = transform_of({**WIDER, "at": "text"})
    assert (await replay(store, everything, Selection(feed="acme.other"))).entries == 0
    assert (await replay(store, everything, Selection(reason="at:"), dry_run=True)).entries == 1
    outcome = await replay(store, transform_of(WIDER), Selection(reason="n: max"), where=Where("n > 55"))
    assert (outcome.entries, outcome.counts.inserted) == (1, 1)
    assert await fetch(database, "SELECT id FROM t") == [("b",)]
    await balance(store, database)


async def test_entries_of_a_feed_that_is_gone_stay(store: Store, database: str) -> None:
    await load(Feed(store), {"id": "a", "at": 1, "n": 50})
    outcome = await Replay(Review(store), {}).run(Selection())
    assert (outcome.entries, dict(outcome.homeless)) == (0, {"acme.scores": 1})
    await balance(store, database)


async def test_two_replays_at_once_settle_each_record_once(store: Store, database: str) -> None:
    await load(Feed(store), *({"id": str(n), "at": 1, "n": 50} for n in range(40)))
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(replay(store, transform_of(WIDER))) for _ in range(2)]
    assert sum(task.result().counts.inserted for task in tasks) == 40
    assert sum(task.result().counts.received for task in tasks) == 40
    await balance(store, database)


async def test_params_of_the_message_are_there_again(store: Store, database: str) -> None:
    mapping = {"id": "id", "at": "$params.day", "n": "n"}
    strict, wider = (make(columns, mapping, VERSIONED) for columns in (COLUMNS, WIDER))
    sent = message([{"id": "a", "n": 50}], meta={"params": {"day": "7"}})
    mapped, feed = strict.map([Piece(sent, strict.read(sent))]), Feed(store)
    await feed.commit(feed.write({"t": mapped.rows}, mapped.refusals))
    assert (await replay(store, wider)).counts.inserted == 1
    assert await fetch(database, "SELECT * FROM t") == [("a", 7, 50)]


async def test_groups_count_by_feed_table_and_reason(store: Store) -> None:
    await load(
        Feed(store), {"id": "a", "at": 1, "n": 50}, {"id": "b", "at": "x", "n": 1}, {"id": "c", "at": 1, "n": 70}
    )
    review = Review(store)
    groups = await review.groups(Selection())
    assert [(group.reason, group.count, group.table_name, group.sample) for group in groups] == [
        ("n: max", 2, "t", 3),
        ("at: number", 1, "t", 2),
    ]
    assert await review.groups(Selection(reason="n: m%x")) == []


async def test_dropped_entries_are_resolved_or_gone_and_stay_counted(store: Store, database: str) -> None:
    await load(Feed(store), {"id": "a", "at": 1, "n": 50}, {"id": "b", "at": 1, "n": 60})
    review = Review(store)
    assert await review.drop([1], purge=False) == 1
    assert await review.drop([1], purge=False) == 0
    assert [group.count for group in await review.groups(Selection())] == [1]
    assert [group.count for group in await review.groups(Selection(resolved=True))] == [2]
    assert await review.drop([1, 2], purge=True) == 2
    commit = await store.position("acme.scores")
    assert commit is not None
    assert commit.counts.quarantined == 2
    assert await fetch(database, "SELECT count(*) FROM headrace.quarantine") == [(0,)]


async def test_records_of_several_kinds_are_replayed_each_into_its_table(database: str) -> None:
    tables = {"small": table("id", {"id": "text"}), "large": table("id", {"id": "text", "n": "integer"})}
    routes = [
        {"where": "n > 10", "into": "large", "map": {"id": "id", "n": "n"}},
        {"into": "small", "map": {"id": "id"}},
    ]
    feed = FeedSettings.model_validate({"routes": routes, "transform": "tests.unit.transform.functions:several"})
    async with store_of(database, tables) as store:
        await store.prepare()
        bodies = [msgspec.json.encode({"id": name, "n": n}) for name, n in (("a", 1), ("b", 12), ("c", 0), ("d", "x"))]
        refusals = [Refusal("acme.scores", None, "x", "", body, body, 1767355200.0) for body in bodies]
        begun = Feed(store)
        await begun.commit(begun.write({}, refusals))
        outcome = await Replay(Review(store), {"acme.scores": Transform("acme.scores", feed, tables)}).run(Selection())
        assert await fetch(database, "SELECT id FROM small") == [("a",)]
        assert await fetch(database, "SELECT id FROM large") == [("b",)]
        assert outcome.again == {("acme.scores", "transform: TypeError"): 1}
        assert outcome.counts.filtered == 1
        commit = await store.position("acme.scores")
        assert commit is not None
        assert commit.counts.settled == commit.counts.received == 4 + 11


async def test_more_entries_are_dropped_than_a_statement_has_parameters(store: Store, database: str) -> None:
    columns = "provider, feed, reason, detail, record, number, received_at"
    values = "'acme', 'acme.scores', 'n: max', '', ''::bytea, 0, now()"
    query = f"INSERT INTO headrace.quarantine ({columns}) SELECT {values} FROM generate_series(1, 40000) RETURNING id"
    ids = [number for (number,) in await fetch(database, query)]
    assert await Review(store).drop(ids, purge=False) == 40_000


async def test_long_messages_are_read_few_at_a_time(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.store.review.READ_BYTES", 250)
    feed = Feed(store)
    bodies = [b"x" * 100, b"x" * 100, b"x" * 100, b"x" * 900, b"x"]
    transform = transform_of()
    refusals = [transform.undecodable(Message(body, 0.0), FormatError("no")) for body in bodies]
    await feed.commit(feed.write({"t": []}, refusals))
    pages = [
        [len(entry.message or b"") for entry in page] async for page in Replay(Review(store), {}).pages(Selection())
    ]
    assert pages == [[100, 100, 100], [900], [1]]


def half_readable(transform: Transform) -> tuple[Message, list[Any]]:
    """Give a message of which no record can be read further than it is mapped, and its records."""
    each = ((b"a", 5), (b"b", 50), (b"c", 6), (b"d", 7))
    texts = [b'{"id": "%b", "at": 1, "n": %d, "x": "\xff"}' % one for one in each]
    sent = Message(b"[%b]" % b",".join(texts), 0.0)
    with pytest.raises(FormatError):
        transform.decode(sent)
    return sent, transform.read(sent)


async def test_a_record_without_bytes_of_its_own_is_replayed_without_its_neighbours(
    store: Store, database: str
) -> None:
    strict, feed = transform_of(), Feed(store)
    sent, records = half_readable(strict)
    mapped = strict.map([Piece(sent, records)])
    refusals = [*mapped.refusals, strict.refuse(sent, 2, RowRefused("t", 2, "id: unique", "taken"))]
    assert [(refusal.index, refusal.record) for refusal in refusals] == [(1, None), (3, None)]
    now = sent.body.replace(b"\xff", b"")  # as if a later release could read it
    refusals = [msgspec.structs.replace(refusal, message=now) for refusal in refusals]
    await feed.commit(feed.write({"t": mapped.rows[:2]}, refusals))
    outcome = await replay(store, transform_of(WIDER), dry_run=True)
    assert outcome.counts == Counts(received=2, inserted=2)
    assert (await replay(store, transform_of())).counts == Counts(received=2, inserted=1, quarantined=1)
    assert await fetch(database, "SELECT id FROM t ORDER BY id") == [("a",), ("c",), ("d",)]
    await balance(store, database)
