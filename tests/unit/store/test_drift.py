"""Drift: each difference is named with SQL that mends it, and nothing is written before."""

import re
from typing import Any

import asyncpg
import pytest

from service.errors import TableRefused
from tests.sql import execute, fetch
from tests.store_feed import Feed, store_of, table

BY_HAND = re.compile(r"by hand: ((?:ALTER TABLE|CREATE UNIQUE INDEX).*?)(?:, or SET DEFAULT)?(?=; |$)")
N = {"type": "integer", "null": True}


async def refusal(url: str, mode: str = "create", **columns: Any) -> str:
    mine = table("id", {"id": "text", **{name.replace("_", " "): column for name, column in columns.items()}})
    async with store_of(url, {"matches": mine}, migrate=mode) as store:
        try:
            await store.prepare()
        except TableRefused as refused:
            return str(refused)
    return ""


@pytest.mark.parametrize(
    ("stored", "value", "wanted", "kept"),
    [
        ("text", "'12'", N, 12),
        ("text DEFAULT '7'", "'12'", N, 12),
        ("numeric", "12", N, 12),
        ("real", "0.5", {"type": "float", "null": True}, 0.5),
        ("text DEFAULT 3", "'12.25'", {"type": "decimal", "null": True}, "12.25"),
        ("text[]", "'{1,2,NULL}'", {"type": "integer", "list": True, "null": True}, [1, 2, None]),
        ("text", "'a b'", {"type": "text", "list": True, "null": True}, ["a b"]),
        ("bigint[]", "'{4}'", N, 4),
        ("timestamp", "'2026-01-02 03:04'", {"type": "timestamp", "null": True}, "2026-01-02 03:04:00+00"),
        ("text", "'{\"a\": 1}'", {"type": "json", "null": True}, '{"a": 1}'),
        ("text", "'true'", {"type": "boolean", "null": True}, True),
        ("text", "'2026-01-02'", {"type": "date", "null": True}, "2026-01-02"),
        ("text", "'00000000-0000-0000-0000-000000000001'", {"type": "uuid", "null": True},
         "00000000-0000-0000-0000-000000000001"),
        ("bigint", "5", {"type": "text", "null": True}, "5"),
    ],
)  # fmt: skip
async def test_a_change_of_type_is_refused_with_sql_that_keeps_every_value(
    database: str, stored: str, value: str, wanted: dict[str, Any], kept: object
) -> None:
    await execute(database, f'CREATE TABLE matches (id text PRIMARY KEY, "Odd n" {stored})',
                  f"INSERT INTO matches VALUES ('a', {value}), ('b', NULL)")  # fmt: skip
    said = await refusal(database, Odd_n=wanted)
    statement = BY_HAND.findall(said)[0]
    assert " USING " in statement
    assert await fetch(database, "SELECT to_regclass('headrace.positions')::text") == [(None,)]
    await execute(database, "SET timezone = 'UTC'", statement)
    assert await refusal(database, Odd_n=wanted) == ""
    cast = {"json": "text", "decimal": "text", "timestamp": "text", "date": "text", "time": "text", "uuid": "text"}
    to = f"::{cast[wanted['type']]}{'[]' if wanted.get('list') else ''}" if wanted["type"] in cast else ""
    query = f'SELECT "Odd n"{to} FROM matches ORDER BY id'
    zone = f"ALTER DATABASE {database.rpartition('/')[2]} SET timezone = 'UTC'"
    await execute(database, zone)
    assert await fetch(database, query) == [(kept,), (None,)]


async def test_the_way_by_hand_fails_rather_than_rounds(database: str) -> None:
    await execute(database, "CREATE TABLE matches (id text PRIMARY KEY, n numeric)")
    await execute(database, "INSERT INTO matches VALUES ('a', 12.5)")
    statement = BY_HAND.findall(await refusal(database, n=N))[0]
    with pytest.raises(asyncpg.InvalidTextRepresentationError, match=r"12\.5"):
        await execute(database, statement)


@pytest.mark.parametrize(
    ("stored", "wanted", "reason"),
    [
        ("real", "float", "REAL, which cannot hold float"),
        ("char(9)", {"type": "text", "trim": False}, "drops blanks"),
        ('"char"', "text", "cannot hold text"),
        ("name", "text", "cannot hold text"),
        ("xml", "text", "cannot hold text"),
        ("timetz", "time", "cannot hold time"),
        ("point", "text", "cannot hold text"),
        ("pair", "text", "of a type that Headrace does not know, which cannot hold text"),
    ],
)
async def test_what_would_change_a_value_without_a_word_is_drift(
    database: str, stored: str, wanted: Any, reason: str
) -> None:
    await execute(database, "CREATE TYPE pair AS (a int, b int)")
    await execute(database, f"CREATE TABLE matches (id text PRIMARY KEY, n {stored} NOT NULL)")
    said = await refusal(database, n=wanted)
    assert re.search(f"matches.n is .*{reason}", said)


@pytest.mark.parametrize(
    ("stored", "wanted"),
    [
        ("varchar(3)", {"type": "text", "max_length": 10}), ("char(3)", "text"), ("timestamptz(6)", "timestamp"),
        ("timestamptz", "timestamp"), ("numeric", "decimal"), ("smallint", "integer"), ("time(6)", "time"),
        ("mood", "text"), ("mood[]", {"type": "text", "list": True}), ("json", "json"), ("goals", "integer"),
        ("goals[]", {"type": "integer", "list": True}),
    ],
)  # fmt: skip
async def test_what_refuses_a_value_that_does_not_fit_is_no_drift(database: str, stored: str, wanted: Any) -> None:
    await execute(database, "CREATE TYPE mood AS ENUM ('a')", "CREATE DOMAIN goals AS smallint CHECK (value >= 0)")
    await execute(database, f"CREATE TABLE matches (id text PRIMARY KEY, n {stored} NOT NULL)")
    assert await refusal(database, n=wanted) == ""


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("CREATE TABLE matches (id text PRIMARY KEY, n bigint NOT NULL)", "n is NOT NULL in the database"),
        ("CREATE TABLE matches (id text PRIMARY KEY, n bigint, m text NOT NULL)", "m is not in the configuration"),
        ("CREATE TABLE matches (id text, n bigint)", "no primary key or unique index"),
        ("CREATE TABLE matches (id text UNIQUE DEFERRABLE, n bigint)", "no primary key or unique index"),
        ("CREATE TABLE matches (id text, n bigint); CREATE UNIQUE INDEX ON matches (id) WHERE n > 0", "unique index"),
        ("CREATE TABLE matches (id text PRIMARY KEY, n bigint GENERATED ALWAYS AS IDENTITY)", "n is generated"),
        ("CREATE TABLE matches (id text PRIMARY KEY, n bigint GENERATED ALWAYS AS (2) STORED)", "n is generated"),
    ],
)
async def test_the_sql_that_is_named_mends_the_difference(database: str, sql: str, said: str) -> None:
    await execute(database, sql)
    refused = await refusal(database, n=N)
    assert said in refused
    await execute(database, *BY_HAND.findall(refused))
    left = await refusal(database, n=N)
    assert said not in left
    await execute(database, *BY_HAND.findall(left))
    assert await refusal(database, n=N) == ""


async def test_verify_names_a_null_that_is_allowed_only_in_the_database_and_how_to_forbid_it(database: str) -> None:
    await execute(database, "CREATE TABLE matches (id text PRIMARY KEY, n bigint)")
    assert await refusal(database, n="integer") == ""
    statement = BY_HAND.findall(await refusal(database, "verify", n="integer"))[0]
    await execute(database, statement)
    assert await refusal(database, "verify", n="integer") == ""


@pytest.mark.parametrize(("sql", "kind"), [
    ("CREATE VIEW matches AS SELECT 'a'::text AS id", "a view"),
    ("CREATE MATERIALIZED VIEW matches AS SELECT 'a'::text AS id", "a materialised view"),
])  # fmt: skip
async def test_what_is_no_table_is_named(database: str, sql: str, kind: str) -> None:
    await execute(database, sql)
    assert f"matches is {kind}, and Headrace writes to tables" in await refusal(database)


@pytest.mark.parametrize("event", ["INSERT", "UPDATE"])
async def test_a_rule_is_named_and_a_table_without_it_is_taken(database: str, event: str) -> None:
    await execute(
        database,
        "CREATE TABLE matches (id text PRIMARY KEY, n bigint)",
        f"CREATE RULE twice AS ON {event} TO matches DO ALSO NOTHING",
        "CREATE RULE kept AS ON DELETE TO matches DO ALSO NOTHING",
    )
    for mode in ("create", "verify"):
        assert f"matches has a rule for {event}, beside which" in await refusal(database, mode, n=N)
    await execute(database, "DROP RULE twice ON matches")
    assert await refusal(database, n=N) == ""


@pytest.mark.parametrize(("mode", "event"), [("append", "INSERT"), ("update", "UPDATE")])
async def test_a_rule_is_named_for_what_the_mode_writes_alone(database: str, mode: str, event: str) -> None:
    for each in ("INSERT", "UPDATE"):
        await execute(
            database,
            "DROP TABLE IF EXISTS matches",
            "CREATE TABLE matches (id text PRIMARY KEY, n bigint)",
            f"CREATE RULE none AS ON {each} TO matches DO INSTEAD NOTHING",
        )
        mine = table("id", {"id": "text", "n": N}, mode=mode)
        async with store_of(database, {"matches": mine}) as store:
            if each == event:
                with pytest.raises(TableRefused, match=f"matches has a rule for {event}"):
                    await store.prepare()
            else:
                await store.prepare()


async def test_a_view_is_named_even_where_tables_are_not_looked_at(database: str) -> None:
    await execute(database, "CREATE TABLE base (id text PRIMARY KEY)", "CREATE VIEW matches AS SELECT id FROM base")
    assert "matches is a view, and Headrace writes to tables" in await refusal(database, "off")


async def test_a_unique_index_that_covers_more_than_the_key_will_do(database: str) -> None:
    await execute(database, "CREATE TABLE matches (n bigint, id text)",
                  "CREATE UNIQUE INDEX ON matches (id) INCLUDE (n)")  # fmt: skip
    async with store_of(database, {"matches": table("id", {"id": "text", "n": N})}) as store:
        await store.prepare()
        assert (await Feed(store).load([("a", 1)])).inserted == 1


async def test_other_columns_of_a_users_table_may_be_of_any_type(database: str) -> None:
    await execute(database, "CREATE TYPE pair AS (a int, b int)")
    await execute(database, "CREATE TABLE matches (id text PRIMARY KEY, n bigint, p pair, q pair[])")
    assert await refusal(database, n=N) == ""


async def test_nothing_is_written_when_anything_is_refused(database: str) -> None:
    await execute(database, "CREATE TABLE matches (id text PRIMARY KEY, n text)")
    tables = {"added": table("id", {"id": "text"}), "matches": table("id", {"id": "text", "n": N, "more": N})}
    async with store_of(database, tables) as store:
        with pytest.raises(TableRefused, match=r"nothing was changed: matches\.n is TEXT"):
            await store.prepare()
    assert await fetch(database, "SELECT count(*) FROM pg_namespace WHERE nspname = 'headrace'") == [(0,)]
    names = "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"
    assert await fetch(database, names) == [("matches",)]
    columns = "SELECT attname::text FROM pg_attribute WHERE attrelid = 'matches'::regclass AND attnum > 0"
    assert await fetch(database, columns) == [("id",), ("n",)]
