"""Deltas that wait for their row: how long, how many, for whom, and what becomes of those that cannot be applied."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

import asyncpg
import msgspec
import pytest

from service.errors import RowMissing, RowRefused
from service.model import Counts
from service.store import waiting
from service.store.store import Store
from service.store.write import Sweep
from tests.sql import execute, fetch
from tests.store_feed import Feed, store_of, table
from tests.unit.store.deltas import COLUMNS, Deltas, Record

TABLES = {"t": table("id", COLUMNS, "version"), "bare": table("id", COLUMNS)}
WHOLE = {"a": 0, "b": 0, "c": 0, "d": 0}
A, B, CHILD = {"a": 5}, {"b": 6}, {"a": 99}


@pytest.fixture
async def store(database: str) -> AsyncIterator[Store]:
    async with store_of(database, TABLES, partial=TABLES) as opened:
        await opened.prepare()
        yield opened


def row(version: int | None, carried: Mapping[str, int | None], key: str = "x") -> Any:
    return Record(key, version, carried).row()


async def content(database: str, name: str = "t") -> list[tuple[Any, ...]]:
    return await fetch(database, f"SELECT version, a, b, c, d FROM {name} ORDER BY id")


async def test_a_delta_waits_for_its_row_and_each_feed_counts_its_own(store: Store, database: str) -> None:
    deltas, full = Deltas(store), Feed(store, "acme.fixtures")
    assert await deltas.load([row(5, A), row(3, B)], "t") == Counts()
    assert deltas.at is not None
    assert (deltas.at.waiting, deltas.at.counts) == (2, Counts())
    assert await store.position("acme.scores") == deltas.at
    assert await full.load([row(4, WHOLE)], "t") == Counts(received=1, inserted=1)
    assert await content(database) == [(5, 5, 0, 0, 0)]  # version 3 of b lost to version 4
    assert await deltas.settle() == Counts(received=2, updated=1, stale=1)
    assert deltas.at.waiting == 0
    assert deltas.at.counts == Counts(received=2, updated=1, stale=1)


async def test_the_feeds_own_row_settles_in_the_same_commit(store: Store, database: str) -> None:
    feed = Deltas(store)
    await feed.load([row(5, A)], "t")
    assert await feed.load([row(4, WHOLE)], "t") == Counts(received=2, inserted=1, updated=1)
    assert feed.at is not None
    assert feed.at.waiting == 0


async def test_deltas_that_have_it_all_together_make_the_row(store: Store, database: str) -> None:
    feed = Deltas(store)
    await feed.load([row(5, A)], "t")
    assert await feed.load([row(6, {"c": 1})], "t") == Counts(received=2, inserted=1, updated=1)
    assert await content(database) == [(6, 5, None, 1, 7)]


async def test_what_waited_in_vain_is_quarantined_with_its_reason_and_bytes(store: Store, database: str) -> None:
    feed = Deltas(store)
    await feed.load([row(5, A), row(5, A, "y")], "t")
    assert await feed.settle() == Counts()  # not yet
    await execute(database, "UPDATE headrace.waiting SET until = now() WHERE key = '[\"x\"]'")
    assert await feed.settle() == Counts(received=1, quarantined=1)
    assert feed.at is not None
    assert feed.at.waiting == 1
    query = "SELECT feed, table_name, reason, detail, record, message, number FROM headrace.quarantine"
    ((*where, detail, record, message, number),) = await fetch(database, query)
    assert where == ["acme.scores", "t", "partial: no row"]
    assert detail == (
        "t has no row with id = x, and none came within 3600 s; the record alone makes none, as it does not carry c "
        "[no row]; replay it once the row is there, raise the feed's `wait_for_row`, or give these columns a default"
    )
    assert (record, message, number) == (b"record 0", b"message", 0)


async def test_without_a_version_the_row_that_arrives_later_wins(store: Store, database: str) -> None:
    feed = Deltas(store)
    await feed.load([row(None, A)], "bare")
    await feed.load([row(None, {"b": 1, "c": 1})], "bare")
    assert await content(database, "bare") == [(None, 5, 1, 1, 7)]
    await feed.load([row(None, A, "y")], "bare")
    assert await feed.load([row(None, WHOLE, "y")], "bare") == Counts(received=2, inserted=1, stale=1)


async def test_without_patience_a_delta_without_a_row_is_refused_by_its_place(store: Store) -> None:
    feed = Feed(store)
    with pytest.raises(RowMissing) as refused:
        await feed.load([row(1, WHOLE, "z"), row(5, A), row(1, WHOLE, "x"), row(5, A, "y"), row(6, B, "y")], "t")
    assert [(each.row, each.reason) for each in (refused.value, *refused.value.also)] == [
        (4, "partial: no row"),
        (3, "partial: no row"),
    ]
    feed = Deltas(store)
    feed.seconds = 0
    with pytest.raises(RowMissing, match="none is waited for"):
        await feed.load([row(5, A, "y")], "t")


async def test_so_many_wait_and_no_more(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "MOST", 3)
    feed = Deltas(store)
    await feed.load([row(5, A, "x"), row(5, A, "y")], "t")
    with pytest.raises(RowMissing, match="3 others wait for theirs already") as refused:
        await feed.load([row(5, A, "z"), row(5, A, "u"), row(5, A, "v")], "t")
    assert [each.row for each in (refused.value, *refused.value.also)] == [2, 1]


async def test_older_deltas_of_a_column_do_not_pile_up(store: Store, database: str) -> None:
    feed = Deltas(store)
    for version in range(20):
        await feed.load([row(version, A), row(version, {"a": 5, "b": 6})], "t")
    assert feed.at is not None
    assert feed.at.waiting == 1
    assert feed.at.counts == Counts(received=39, stale=39)
    assert await feed.load([row(0, WHOLE)], "t") == Counts(received=2, inserted=1, updated=1)
    assert await content(database) == [(19, 5, 6, 0, 0)]


async def test_one_that_the_database_refuses_when_its_row_comes_harms_nobody(store: Store, database: str) -> None:
    await execute(database, "ALTER TABLE t ADD CHECK (a < 50), ADD CHECK (b <> d)")
    feed, full = Deltas(store), Feed(store, "acme.fixtures")
    await feed.load([row(5, CHILD), row(6, B), row(5, CHILD, "y"), row(5, A, "z")], "t")
    arriving = [row(1, {**WHOLE, "b": 1}, key) for key in "uxyz"]
    assert await full.load(arriving, "t") == Counts(received=4, inserted=4)
    assert await content(database) == [(1, 0, 1, 0, 0), (6, 0, 6, 0, 0), (1, 0, 1, 0, 0), (5, 5, 1, 0, 0)]
    assert await feed.settle() == Counts(received=4, updated=2, quarantined=2)
    details = await fetch(database, "SELECT detail FROM headrace.quarantine")
    assert all("refuses the row that it would make" in detail and "t_a_check" in detail for (detail,) in details)
    await feed.load([row(5, A, "v")], "t")
    with pytest.raises(RowRefused) as refused:  # a bad row of the batch itself is found beside what waits
        await full.load([row(1, {**WHOLE, "b": 1}, "v"), row(1, {**WHOLE, "b": 1, "a": 70}, "w")], "t")
    assert (refused.value.row, refused.value.also) == (1, ())


async def test_a_delta_that_breaks_a_rule_of_the_row_is_found_among_others(store: Store, database: str) -> None:
    await execute(database, "ALTER TABLE t ADD CHECK (a < 50)")
    feed = Deltas(store)
    keys = [f"k{number:02}" for number in range(40)]
    await feed.load([row(1, WHOLE, key) for key in keys], "t")
    batch = [row(2, A, key) for key in keys]
    batch[7], batch[23] = row(2, CHILD, "k07"), row(2, CHILD, "k23")
    with pytest.raises(RowRefused) as refused:
        await feed.load(batch, "t")
    assert [each.row for each in (refused.value, *refused.value.also)] == [23, 7]
    assert refused.value.reason == "t_a_check: check_violation"
    batch[7] = row(3, {"a": 2**63}, "k07")  # what the COPY itself names, alone and among deltas of one row
    batch[23] = row(2, A, "k23")
    with pytest.raises(RowRefused) as refused:
        await feed.load(batch, "t")
    assert [each.row for each in (refused.value, *refused.value.also)] == [7]
    with pytest.raises(RowRefused) as refused:
        await feed.load([row(4, B, "k07"), *batch], "t")
    assert [each.row for each in (refused.value, *refused.value.also)] == [8]


TYPES: dict[str, Any] = {
    "at": ("timestamp", datetime(1, 1, 1, 0, 0, 0, 1, tzinfo=UTC)),
    "odds": ("decimal", Decimal("1.50")),
    "day": ("date", date(9999, 12, 31)),
    "clock": ("time", time(1, 2, 3, 4)),
    "number": ("uuid", UUID(int=7)),
    "raw": ("json", '{"a": [1.10, null]}'),
    "bits": ("bytes", b"\x00\xff"),
    "ratio": ("float", 0.1),
    "yes": ("boolean", True),
    "tags": ({"type": "text", "list": True}, ["a", None, 'b"']),
    "docs": ({"type": "json", "list": True}, ['{"b": 1.0}']),
}


async def test_values_of_every_type_wait_unharmed_in_any_zone(database: str) -> None:
    kinds = {name: kind if isinstance(kind, dict) else {"type": kind} for name, (kind, _) in TYPES.items()}
    columns = {name: {**kind, "null": name not in {"at", "odds"}} for name, kind in kinds.items()}
    tables = {"t": table(["at", "odds"], {**columns, "last": "text"})}
    values = tuple(value for _, value in TYPES.values())
    name = database.rpartition("/")[2]
    async with store_of(database, tables, partial=tables) as store:
        await store.prepare()
        await Deltas(store).load([(*values, None, (1 << len(TYPES)) - 1)], "t")
    await execute(database, f"ALTER DATABASE {name} SET timezone = 'Asia/Kathmandu'")
    async with store_of(database, tables, partial=tables) as store:
        late = (values[0], Decimal("1.5"), *(None for _ in values[2:]), "z", 0b11 | 1 << len(TYPES))
        assert (await Deltas(store, "acme.other").load([late], "t")).inserted == 1
    ((found,),) = await fetch(database, "SELECT to_jsonb(t) FROM t")
    assert msgspec.json.decode(found) == {
        "at": "0001-01-01T05:41:16.000001+05:41:16",  # as long ago as that it had this offset
        "odds": 1.5,
        "day": "9999-12-31",
        "clock": "01:02:03.000004",
        "number": "00000000-0000-0000-0000-000000000007",
        "raw": {"a": [1.1, None]},
        "bits": "\\x00ff",
        "ratio": 0.1,
        "yes": True,
        "tags": ["a", None, 'b"'],
        "docs": [{"b": 1.0}],
        "last": "z",
    }


@pytest.mark.parametrize("kind", ["timestamp", "decimal", "date", "text", "float"])
async def test_versions_of_every_type_order_the_columns(database: str, kind: str) -> None:
    moments: dict[str, tuple[Any, Any, Any]] = {
        "timestamp": tuple(datetime(2026, 1, 1, 0, 0, 0, n, tzinfo=UTC) for n in (1, 2, 3)),  # type: ignore[dict-item]
        "decimal": (Decimal("1.10"), Decimal("1.2"), Decimal(10)),
        "date": (date(2026, 1, 1), date(2026, 1, 2), date(2026, 1, 3)),
        "text": ("B", "a", "ä"),
        "float": (0.1, 0.2, 1e300),
    }
    tables = {"t": table("id", {**COLUMNS, "version": kind}, "version")}
    one, two, three = moments[kind]
    async with store_of(database, tables, partial=tables) as store:
        await store.prepare()
        feed = Deltas(store)
        await feed.load([("x", two, 0, 0, 0, 0)], "t")
        await feed.load([("x", three, 3, None, None, None, 0b000111)], "t")
        await feed.load([("x", one, None, 1, None, None, 0b001011)], "t")
        assert await fetch(database, "SELECT a, b FROM t") == [(3, 0)]
        await feed.load([("x", two, 2, 2, None, None, 0b001111), ("x", one, None, None, 1, None, 0b010011)], "t")
        assert await fetch(database, "SELECT a, b, c, version FROM t") == [(3, 2, 0, three)]


async def test_a_stream_in_order_leaves_the_versions_of_columns_alone(store: Store, database: str) -> None:
    feed = Deltas(store)
    await feed.load([row(1, WHOLE)], "t")
    await feed.load([row(2, A)], "t")
    before = await fetch(database, "SELECT versions::text, xmin::text, ctid::text FROM headrace.column_versions")
    assert before[0][0] == '{"b": "1", "c": "1", "d": "1"}'
    for version in range(3, 6):
        await feed.load([row(version, {"a": version})], "t")
    assert (
        await fetch(database, "SELECT versions::text, xmin::text, ctid::text FROM headrace.column_versions") == before
    )
    await feed.load([row(6, WHOLE)], "t")
    assert await fetch(database, "SELECT * FROM headrace.column_versions") == []


async def test_a_row_that_went_takes_the_versions_of_its_columns_along(database: str) -> None:
    tables = {"t": table("id", COLUMNS, "version")}
    async with store_of(database, tables, partial=tables, deletable=tables) as store:
        await store.prepare()
        feed = Deltas(store)
        for key in "xy":
            await feed.load([Record(key, 1, WHOLE).row(deletable=True), Record(key, 5, A).row(deletable=True)], "t")
        await feed.load([Record("x", 4, {}, gone=True).row()], "t")
        assert await fetch(database, "SELECT key ->> 0 FROM headrace.column_versions ORDER BY 1") == [("x",), ("y",)]
        assert (await feed.load([Record("x", 5, {}, gone=True).row()], "t")).deleted == 1
        assert await fetch(database, "SELECT key ->> 0 FROM headrace.column_versions") == [("y",)]
        assert (await feed.load([], "t", Sweep("t", {}, [], mark=False, at=9.0))).absent == 1
        assert await fetch(database, "SELECT * FROM headrace.column_versions") == []


async def test_only_rows_that_exist_are_written_in_mode_update(database: str) -> None:
    tables = {"t": table("id", COLUMNS, "version", mode="update")}
    async with store_of(database, tables, partial=tables) as store:
        await store.prepare()
        await execute(database, "INSERT INTO t VALUES ('x', 1, 0, 0, 0, 0)")
        counts = await Deltas(store).load([row(2, A), row(2, WHOLE, "y"), row(2, A, "y"), row(0, B)], "t")
        assert counts == Counts(received=4, updated=1, filtered=2, stale=1)
        assert await content(database) == [(2, 5, 0, 0, 0)]


async def test_columns_of_others_generated_ones_and_partitions_stay_as_they_are(database: str) -> None:
    await execute(
        database,
        "CREATE TABLE t (id text PRIMARY KEY, version bigint, a smallint, b bigint, c bigint NOT NULL, d bigint, note "
        "text DEFAULT 'ours', twice bigint GENERATED ALWAYS AS (c * 2) STORED) PARTITION BY HASH (id)",
        *(f"CREATE TABLE t{n} PARTITION OF t FOR VALUES WITH (MODULUS 2, REMAINDER {n})" for n in range(2)),
    )
    async with store_of(database, TABLES | {"bare": TABLES["t"]}, partial=["t"]) as store:
        await store.prepare()
        feed = Deltas(store)
        await feed.load([row(1, WHOLE, key) for key in "uvxyz"], "t")
        counts = await feed.load([row(2, {"c": 4}, key) for key in "uvxyz"] + [row(0, A, "u"), row(1, WHOLE, "w")], "t")
        assert counts == Counts(received=7, updated=5, inserted=1, stale=1)
        found = await fetch(database, "SELECT DISTINCT version, note, twice FROM t ORDER BY 1")
        assert found == [(1, "ours", 0), (2, "ours", 8)]
        with pytest.raises(RowRefused, match="int16"):
            await feed.load([row(3, A, "u"), row(3, {"a": 70_000}, "v")], "t")


async def test_a_row_that_a_trigger_suppresses_counts_as_unchanged(store: Store, database: str) -> None:
    await execute(
        database,
        "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NULL; END$$;"
        "CREATE TRIGGER no BEFORE INSERT OR UPDATE ON t FOR EACH ROW WHEN (new.a = 13) EXECUTE FUNCTION no()",
    )
    feed = Deltas(store)
    rows = [row(1, {**WHOLE, "a": 13}), row(1, WHOLE, "y")]
    assert await feed.load(rows, "t") == Counts(received=2, inserted=1, unchanged=1)
    assert await feed.load([row(2, {"a": 13}, "y")], "t") == Counts(received=1, unchanged=1)


async def test_another_program_that_writes_other_columns_meanwhile_loses_nothing(store: Store, database: str) -> None:
    feed = Deltas(store)
    await feed.load([row(1, WHOLE)], "t")
    waits = "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)"
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        connection = await asyncpg.connect(database)
        async with connection.transaction():
            await connection.execute("UPDATE t SET b = 77")
            loading = group.create_task(feed.load([row(2, A)], "t"))
            while not (await fetch(database, waits))[0][0]:
                await asyncio.sleep(0.01)
        await connection.close()
    assert loading.result() == Counts(received=1, updated=1)
    assert await content(database) == [(2, 5, 77, 0, 0)]


async def test_feeds_that_settle_each_others_deltas_do_not_deadlock(store: Store) -> None:
    feeds = [Deltas(store, name) for name in ("acme.a", "acme.b")]

    async def load(feed: Deltas, other: int) -> Counts:
        total = Counts()
        for number in range(15):
            total.add(await feed.load([row(1, A, f"{number}"), row(2, WHOLE, f"{number + other}")], "t"))
            total.add(await feed.settle())
        return total

    totals = await asyncio.gather(*(load(feed, 1 - 2 * n) for n, feed in enumerate(feeds)))
    for total, feed in zip(totals, feeds, strict=True):
        total.add(await feed.settle())
        assert feed.at is not None
        assert total.settled == total.received == 30 - feed.at.waiting


async def test_a_number_that_its_column_would_round_is_refused(database: str) -> None:
    tables = {"t": table("id", {"id": "text", "odds": {"type": "decimal", "null": True}, "n": "integer"})}
    await execute(database, "CREATE TABLE t (id text PRIMARY KEY, odds numeric(10, 2), n bigint NOT NULL)")
    async with store_of(database, tables, partial=tables) as store:
        await store.prepare()
        feed = Deltas(store)
        await feed.load([("x", None, 1), ("y", None, 1)], "t")
        with pytest.raises(RowRefused, match=r"numeric\(10,2\), would round it") as refused:
            await feed.load([("x", Decimal("1.50"), None, 0b11), ("y", Decimal("1.005"), None, 0b11)], "t")
        assert refused.value.row == 1


async def test_a_key_of_any_length_waits_and_a_table_has_many_columns(database: str) -> None:
    columns = {f"c{number}": {"type": "integer", "null": True} for number in range(480)}
    tables = {"t": table("id", {"id": "text", "v": "integer", **columns, "n": "integer"}, "v")}
    key = "".join(chr(0x4E00 + number * 7919 % 20000) for number in range(4000))
    async with store_of(database, tables, partial=tables) as store:
        await store.prepare()
        feed = Deltas(store)
        nulls = (None,) * 479
        await feed.load([(key, 1, 1, *nulls, None, 0b111), ("x", 1, 1, *nulls, 1)], "t")
        assert feed.at is not None
        assert feed.at.waiting == 1
        assert (await feed.load([("x", 2, 2, *nulls, None, 0b111), ("x", 1, 5, 5, *nulls[1:], None, 0b1111)], "t")) == (
            Counts(received=2, updated=2)
        )
        assert await fetch(database, "SELECT v, c0, c1 FROM t") == [(2, 2, 5)]


async def test_a_whole_row_that_the_table_itself_forbids_is_refused_and_never_waits(database: str) -> None:
    async with store_of(database, TABLES, partial=["t"]) as store:
        await store.prepare()
    await execute(database, "ALTER TABLE t ALTER a SET NOT NULL")
    async with store_of(database, TABLES, partial=["t"], migrate="off") as store:
        await store.prepare()
        feed = Deltas(store)
        await feed.load([row(1, {"c": 1, "b": 1, "d": 1}), row(1, WHOLE, "y")], "t")
        assert feed.at is not None
        assert feed.at.waiting == 1  # without the a that the table wants
        with pytest.raises(RowRefused) as refused:
            await Feed(store, "acme.fixtures").load([row(1, WHOLE, "u"), row(1, {**WHOLE, "a": None}, "v")], "t")
        assert (refused.value.row, refused.value.reason) == (1, "a: not_null_violation")


async def test_versions_of_columns_are_forgotten_when_no_feed_is_partial_any_more(store: Store, database: str) -> None:
    await Deltas(store).load([row(1, WHOLE), row(2, A)], "t")
    assert len(await fetch(database, "SELECT * FROM headrace.column_versions")) == 1
    async with store_of(database, TABLES, partial=["bare"]) as whole:
        await whole.prepare()
        await Feed(whole, "acme.fixtures").load([row(9, WHOLE)], "t")
    async with store_of(database, TABLES, partial=TABLES) as again:
        await again.prepare()
        await Deltas(again, "acme.again").load([row(3, B)], "t")
    assert await content(database) == [(9, 0, 0, 0, 0)]


async def test_a_delta_that_no_longer_fits_a_changed_column_is_quarantined_and_its_row_comes(database: str) -> None:
    columns = {**COLUMNS, "a": {"type": "text", "null": True}}
    then = {"t": table("id", columns, "version")}
    async with store_of(database, then, partial=then) as store:
        await store.prepare()
        deltas = [(key, 5, a, None, None, None, 0b000111) for key, a in (("x", "five"), ("y", "7"))]
        await Deltas(store).load([*deltas, row(6, B)], "t")
    await execute(database, "ALTER TABLE t ALTER a TYPE bigint USING a::bigint")
    async with store_of(database, TABLES, partial=TABLES) as store:
        await store.prepare()
        arriving = [row(1, WHOLE), row(1, WHOLE, "y")]
        assert await Feed(store, "acme.fixtures").load(arriving, "t") == Counts(received=2, inserted=2)
        assert await content(database) == [(6, 0, 6, 0, 0), (5, 7, 0, 0, 0)]
        assert await Deltas(store).settle() == Counts(received=3, updated=2, quarantined=1)
    ((reason, detail, record),) = await fetch(database, "SELECT reason, detail, record FROM headrace.quarantine")
    assert (reason, record) == (waiting.REASON, b"record 0")
    assert detail.startswith('a column has another type since it came: invalid input syntax for type bigint: "five"')
