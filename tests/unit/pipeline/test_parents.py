"""The rows that a feed calls for, from a real database: read only, bounded, and of the other feed alone."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from service.config.foreach import ForEach
from service.config.load import loads
from service.errors import SourceLost, SourceRefused
from service.pipeline.parents import Parents
from service.store.store import Store
from tests.postgres import free_port
from tests.sql import execute, fetch

TEXT = """\
database: {{url: "{url}"}}
tables:
  matches:
    key: [provider, id]
    columns:
      provider: text
      id: text
      n: {{type: integer, null: true}}
      at: {{type: timestamp, null: true}}
      price: {{type: decimal, null: true}}
      live: {{type: boolean, null: true}}
      tags: {{type: text, list: true, null: true}}
  events: {{key: id, columns: {{id: text, league: {{type: text, null: true}}}}}}
providers:
  other:
    url: http://127.0.0.1:9
    feeds:
      fixtures: {{kind: rest, into: matches, map: {{provider: $provider, id: id}}}}
  acme:
    url: http://127.0.0.1:9
    feeds:
      fixtures: {{kind: rest, into: matches, map: {{provider: {{const: acme}}, id: id}}}}
      events:
        kind: rest
        path: "{path}"
        for_each: {each}
        into: events
        map: {{id: id, league: {league}}}
"""
ROWS = """
insert into matches values ('acme', 'a', 1, '2026-03-01 12:00Z', 1.50, true, '{x}'),
    ('acme', 'b', 2, null, null, false, null), ('other', 'a', 3, null, null, null, null),
    ('other', 'c', null, null, null, null, null)
"""


@asynccontextmanager
async def parents(
    url: str, each: str, path: str = "/{id}", league: str = "x", rows: str = ROWS
) -> AsyncIterator[tuple[Parents, ForEach]]:
    config = loads(TEXT.format(url=url, each=each, path=path, league=league), "config.yaml", {})
    prepared = asyncio.Event()
    async with Store(config.database, config.tables, url) as store:
        await store.prepare()
        if rows:
            await execute(url, rows)
        prepared.set()
        feed: Any = config.feeds()["acme.events"][1]
        yield Parents("acme.events", config, store, prepared), feed.for_each


async def found(url: str, each: str, **options: Any) -> list[dict[str, Any]]:
    async with parents(url, each, **options) as (rows, settings):
        return [dict(row) for row in await rows.rows(settings)]


async def test_a_table_gives_the_values_that_are_used_once_each(database: str) -> None:
    assert await found(database, "{table: matches}") == [{"id": "a"}, {"id": "b"}, {"id": "c"}]


async def test_another_feed_gives_its_own_rows_alone(database: str) -> None:
    assert await found(database, "{feed: fixtures}") == [{"id": "a"}, {"id": "b"}]
    assert await found(database, "{feed: other.fixtures}", rows="") == [{"id": "a"}, {"id": "c"}]


async def test_a_condition_narrows_them_whatever_it_is_made_of(database: str) -> None:
    where = '{feed: fixtures, where: "n > 1 or false -- all of that"}'
    assert await found(database, where) == [{"id": "b"}]
    where = """{table: matches, where: "at > '2026-03-01 11:59:59Z'::timestamptz and id like '%a'"}"""
    assert await found(database, where, rows="") == [{"id": "a"}]


async def test_values_are_written_as_requests_want_them(database: str) -> None:
    path = "/{id}/{n}/{at}/{price}/{live}"
    assert await found(database, "{table: matches}", path=path) == [
        {"id": "a", "n": 1, "at": "2026-03-01T12:00:00Z", "price": "1.50", "live": True}
    ]


async def test_names_stand_for_columns_and_the_map_may_ask_for_more(database: str) -> None:
    each = "{table: matches, columns: {match: id, number: n}}"
    assert await found(database, each, path="/{match}", league="$params.number") == [
        {"match": "a", "number": 1},
        {"match": "a", "number": 3},
        {"match": "b", "number": 2},
    ]
    assert await found(database, "{table: matches}", league="$params.provider", rows="") == [
        {"id": "a", "provider": "acme"},
        {"id": "a", "provider": "other"},
        {"id": "b", "provider": "acme"},
        {"id": "c", "provider": "other"},
    ]


@pytest.mark.parametrize(
    "sql",
    [
        "select id, n, tags from matches where n < 3;",
        "select * from matches where n < 3 -- the first ones\\n",
        "with few as (select id, tags from matches where n < 3) select * from few",
    ],
)
async def test_a_query_gives_the_columns_that_are_used(database: str, sql: str) -> None:
    assert await found(database, f'{{sql: "{sql}"}}') == [{"id": "a"}, {"id": "b"}]


async def test_a_query_can_give_names_of_its_own(database: str) -> None:
    each = """{sql: "select unnest(array[1, 2]) as \\"Day\\"", columns: {day: Day}}"""
    assert await found(database, each, path="/{day}") == [{"day": 1}, {"day": 2}]


async def test_nothing_can_be_changed_by_a_query(database: str) -> None:
    writes = "create function spoil() returns text language sql as $$ delete from matches returning 'gone' $$"
    async with parents(database, '{sql: "select spoil() as id"}') as (rows, each):
        await execute(database, writes)
        with pytest.raises(SourceLost, match="25006"):  # read-only, as a standby is: it may not last
            await rows.rows(each)
    assert await fetch(database, "select count(*) from matches") == [(4,)]
    for sql in ("select id from matches) as x; delete from matches; --", "delete from matches returning id"):
        async with parents(database, f'{{sql: "{sql}", columns: [id]}}', rows="") as (rows, each):
            with pytest.raises(SourceRefused, match="42601"):
                await rows.rows(each)
    async with parents(database, '{table: matches, where: "true); delete from matches; --"}', rows="") as (rows, each):
        with pytest.raises(SourceRefused, match="42601"):
            await rows.rows(each)
    assert await fetch(database, "select count(*) from matches") == [(4,)]


@pytest.mark.parametrize(
    ("each", "reason"),
    [
        ('{table: matches, where: "nothing = 1"}', "nothing"),
        ('{table: matches, where: "1 / (n - 1) = 0"}', "division by zero"),
        ("{table: matches, max_rows: 2}", "more than 2 rows"),
        ('{sql: "select 1 as id from nowhere"}', "nowhere"),
        ('{sql: "select tags as id from matches"}', "list"),
        ('{sql: "select 1 as idd, 2 /* id */"}', "no column 'id'; it gives idd"),
    ],
)
async def test_rows_that_cannot_be_had_are_a_refusal_that_says_why(database: str, each: str, reason: str) -> None:
    async with parents(database, each) as (rows, settings):
        with pytest.raises(SourceRefused, match=reason):
            await rows.rows(settings)


async def test_a_database_that_is_away_is_asked_again_later(database: str) -> None:
    config = loads(TEXT.format(url=database, each="{table: matches}", path="/{id}", league="x"), "config.yaml", {})
    prepared = asyncio.Event()
    prepared.set()
    feed: Any = config.feeds()["acme.events"][1]
    url = f"postgresql://postgres@127.0.0.1:{free_port()}/postgres"
    async with Store(config.database, config.tables, url) as store:
        with pytest.raises(SourceLost, match="cannot be read now"):
            await Parents("acme.events", config, store, prepared).rows(feed.for_each)


async def test_rows_are_not_asked_for_before_the_tables_are_there(database: str) -> None:
    config = loads(TEXT.format(url=database, each="{table: matches}", path="/{id}", league="x"), "config.yaml", {})
    prepared = asyncio.Event()
    feed: Any = config.feeds()["acme.events"][1]
    async with Store(config.database, config.tables, database) as store, asyncio.TaskGroup() as group:
        asked = group.create_task(Parents("acme.events", config, store, prepared).rows(feed.for_each))
        await store.prepare()
        prepared.set()
    assert asked.result() == []
