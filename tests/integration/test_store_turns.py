"""Many feeds and few connections: they take turns, and the probe of the database never waits for them."""

import asyncio
from collections.abc import Awaitable, Callable

import asyncpg

from service.store.store import Store
from tests.store_feed import Feed, store_of, table

TABLES = {"matches": table("id", {"id": "text", "n": "integer"})}


async def load(store: Store, name: str, rows: int, order: list[str], enough: Callable[[], bool]) -> None:
    feed = Feed(store, name)
    while not enough():
        await feed.load([(f"{name}-{number}", len(order)) for number in range(rows)])
        order.append(name)


async def test_a_huge_feed_does_not_starve_a_small_one(database: str) -> None:
    async with store_of(database, TABLES, pool=1) as store, asyncio.TaskGroup() as group:
        await store.prepare()
        order: list[str] = []
        for name in ("a.huge", "b.huge", "c.small"):
            rows = 1 if name == "c.small" else 2000
            group.create_task(load(store, name, rows, order, lambda: order.count("c.small") >= 5))
    rounds = "".join(name[0] for name in order).split("c")
    assert all(len(between) <= 2 for between in rounds[1:-1])  # each of the others had one turn in between


async def test_the_database_is_seen_alive_while_every_connection_works(database: str) -> None:
    async with store_of(database, TABLES, pool=1) as store:
        await store.prepare()
        locker = await asyncpg.connect(database)
        async with asyncio.TaskGroup() as group, locker.transaction():
            await locker.execute("LOCK TABLE matches")
            group.create_task(Feed(store).load([("1", 1)]))
            await until(lambda: locker.fetchval("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)"))
            await store.ping()
        await locker.close()


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(20):
        while not await condition():
            await asyncio.sleep(0.01)
