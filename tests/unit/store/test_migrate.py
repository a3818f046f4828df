"""Migration: what is missing is made, drift is named and refused, users' own tables are served as they are."""

import asyncio
from typing import Any

import pytest

from service.errors import TableRefused
from service.store.migrate import ddl
from tests.sql import execute, fetch
from tests.store_feed import Feed, store_of, table

EVERY_TYPE = ["text", "integer", "float", "decimal", "boolean", "timestamp", "date", "time", "uuid", "json", "bytes"]
ALL = table(
    "k",
    {"k": "text"}
    | {kind: {"type": kind, "null": True} for kind in EVERY_TYPE}
    | {f"{kind}_list": {"type": kind, "list": True, "null": True} for kind in EVERY_TYPE},
    indexes=[["date", "time"]],
)
SMALL = table("id", {"id": "text", "n": {"type": "integer", "null": True}})


async def prepare(url: str, configured: Any, mode: str = "create", **more: Any) -> None:
    async with store_of(url, {"matches": configured}, migrate=mode, **more) as store:
        await store.prepare()


async def test_what_was_created_verifies_and_may_be_created_again(database: str) -> None:
    for mode in ("create", "verify", "create"):
        await prepare(database, ALL, mode)


async def test_the_printed_sql_makes_what_verify_wants(database: str) -> None:
    await execute(database, ddl({"matches": ALL}, "odds and ends"))
    await prepare(database, ALL, "verify", schema="odds and ends")


async def test_verify_writes_nothing(database: str) -> None:
    with pytest.raises(TableRefused, match=r"public\.matches does not exist.*schema headrace note no revision"):
        await prepare(database, SMALL, "verify")
    assert await fetch(database, "SELECT 1 FROM pg_namespace WHERE nspname = 'headrace'") == []


async def test_off_looks_at_nothing(database: str) -> None:
    await prepare(database, SMALL, "off")


async def test_new_columns_and_indexes_are_added(database: str) -> None:
    await prepare(database, SMALL)
    await execute(database, "INSERT INTO matches VALUES ('a', 1)")
    columns = {"id": "text", "n": {"type": "integer", "null": True}, "why": {"type": "text", "null": True}}
    columns |= {
        "state": {"type": "text", "default": "it's :new 5%"},
        "tags": {"type": "text", "list": True, "default": ["a,b", 'c"']},
    }
    await prepare(database, table("id", columns, indexes=[["n"], ["why", "n"]]))
    assert await fetch(database, "SELECT why, state, tags FROM matches") == [(None, "it's :new 5%", ["a,b", 'c"'])]
    indexes = await fetch(database, "SELECT indexname FROM pg_indexes WHERE tablename = 'matches' ORDER BY 1")
    assert indexes == [("matches_n_idx",), ("matches_pkey",), ("matches_why_n_idx",)]


async def test_a_column_that_old_rows_cannot_have_is_refused_with_the_way_by_hand(database: str) -> None:
    await prepare(database, SMALL)
    wanted = table("id", {"id": "text", "n": {"type": "integer", "null": True}, "Who": "text"})
    await execute(database, "INSERT INTO matches VALUES ('a', 1)")
    with pytest.raises(
        TableRefused, match=r'matches\.Who does not exist and is to be NOT NULL.*ALTER COLUMN "Who" SET NOT NULL'
    ):
        await prepare(database, wanted)
    await execute(database, "DELETE FROM matches")
    await prepare(database, wanted)


@pytest.mark.parametrize(
    ("sql", "complaint"),
    [
        ("CREATE TABLE matches (id text PRIMARY KEY, n text)", "matches.n is TEXT, which cannot hold integer"),
        ("CREATE TABLE matches (id text PRIMARY KEY, n real)", "matches.n is REAL, which cannot hold integer"),
        ("CREATE TABLE matches (id text PRIMARY KEY, n bigint[])", r"matches.n is BIGINT\[\], which cannot"),
        ("CREATE TABLE matches (id text, n bigint)", r"no primary key or unique index on its key \(id\)"),
        ("CREATE TABLE matches (id text, n bigint PRIMARY KEY)", r"unique index on its key \(id\)"),
        ("CREATE TABLE matches (id text, n bigint); CREATE UNIQUE INDEX ON matches (id) WHERE n > 1", "unique index"),
        ("CREATE TABLE matches (id text, n bigint); CREATE UNIQUE INDEX ON matches (lower(id))", "unique index"),
        ("CREATE TABLE matches (id text PRIMARY KEY, n bigint NOT NULL)", "matches.n is NOT NULL in the database"),
        ("CREATE TABLE matches (id text PRIMARY KEY, n bigint, m text NOT NULL)", "matches.m is not in the config"),
        ("CREATE TABLE matches (id text PRIMARY KEY, n bigint GENERATED ALWAYS AS IDENTITY)", "n is generated"),
        ("CREATE EXTENSION citext; CREATE TABLE matches (id citext PRIMARY KEY, n bigint)", "matches.id is CITEXT"),
        ("CREATE VIEW matches AS SELECT 1", "matches is a view"),
    ],
)
async def test_drift_is_refused(database: str, sql: str, complaint: str) -> None:
    await execute(database, sql)
    with pytest.raises(TableRefused, match=complaint):
        await prepare(database, SMALL)


async def test_every_difference_is_named_at_once(database: str) -> None:
    await execute(database, "CREATE TABLE matches (id integer, x text NOT NULL)")
    async with store_of(database, {"matches": SMALL, "teams": SMALL}, migrate="verify") as store:
        with pytest.raises(TableRefused) as refused:
            await store.prepare()
    for part in ("teams does not", "matches.id is INTEGER", "matches.n does not", "matches.x is not", "unique index"):
        assert part in str(refused.value)


async def test_a_column_that_may_be_null_only_in_the_database_matters_to_verify_alone(database: str) -> None:
    await execute(database, "CREATE TABLE matches (id text UNIQUE, n bigint)")
    await prepare(database, SMALL)
    with pytest.raises(TableRefused, match=r"matches\.id may be null in the database"):
        await prepare(database, SMALL, "verify")


async def test_a_users_own_table_keeps_its_other_columns(database: str) -> None:
    await execute(
        database,
        "CREATE TYPE state AS ENUM ('live', 'over'); CREATE DOMAIN goals AS integer CHECK (value >= 0);"
        "CREATE TABLE matches (no bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, doubled bigint GENERATED ALWAYS AS "
        "(n * 2) STORED, seen timestamptz NOT NULL DEFAULT now(), n goals, note json, id varchar(20) NOT NULL, "
        "state state, UNIQUE (id))",
    )
    optional = {"n": "integer", "note": "json", "state": "text"}
    mine = table("id", {"id": "text"} | {name: {"type": kind, "null": True} for name, kind in optional.items()})
    async with store_of(database, {"matches": mine}) as store:
        await store.prepare()
        feed = Feed(store)
        await feed.load([("a", 2, '{"x": 1}', "live"), ("b", None, None, None)])
        counts = await feed.load([("a", 2, '{"x":  1}', "live"), ("b", 4, None, "over")])
    assert (counts.unchanged, counts.updated) == (1, 1)
    found = await fetch(database, "SELECT id, n, doubled, note::text, state::text FROM matches ORDER BY id")
    assert found == [("a", 2, 4, '{"x": 1}', "live"), ("b", 4, 8, None, "over")]


async def test_a_partitioned_table_is_counted_as_exactly(database: str) -> None:
    await execute(
        database,
        "CREATE TABLE matches (id text PRIMARY KEY, n bigint) PARTITION BY HASH (id)",
        "CREATE TABLE matches_0 PARTITION OF matches FOR VALUES WITH (MODULUS 1, REMAINDER 0)",
    )
    async with store_of(database, {"matches": SMALL}) as store:
        await store.prepare()
        feed = Feed(store)
        await feed.load([("a", 1), ("b", 1)])
        counts = await feed.load([("a", 1), ("b", 2), ("c", 1)])
    assert (counts.inserted, counts.updated, counts.unchanged) == (1, 1, 1)


async def test_odd_names_are_only_names(database: str) -> None:
    odd = table(
        ['the "key"', "select"], {'the "key"': "text", "select": "text", "a:b %s {x}": "integer", "Ä": "text"}, "Ä"
    )
    async with store_of(database, {"my table; --": odd}, schema="Odd Schema") as store:
        await store.prepare()
        feed = Feed(store)
        await feed.load([("k", "s", 1, "1")], "my table; --")
        counts = await feed.load([("k", "s", 2, "2"), ("k", "t", 1, "1")], "my table; --")
        assert (counts.updated, counts.inserted) == (1, 1)
        assert (await feed.load([("k", "s", 3, "1")], "my table; --")).stale == 1


async def test_two_daemons_that_start_at_once_make_the_tables_once(database: str) -> None:
    async with asyncio.TaskGroup() as starts:
        for _ in range(4):
            starts.create_task(prepare(database, ALL))


async def test_verify_writes_nothing_into_a_history_either(database: str) -> None:
    columns = {"id": "text", "at": "timestamp"}
    await prepare(database, table("id", columns, "at"))
    await execute(database, "INSERT INTO matches VALUES ('a', now())")
    kept = table("id", columns, "at", history=True)
    async with store_of(database, {"matches": kept}) as store:
        text, _ = await store.missing()
    await execute(database, text)
    await prepare(database, kept, "verify")
    assert await fetch(database, "SELECT count(*) FROM matches_history") == [(0,)]
    await prepare(database, kept)
    assert await fetch(database, "SELECT count(*) FROM matches_history") == [(1,)]
