"""Many writers on the same rows: Headrace's own never deadlock, and a stranger's deadlock costs neither side a row."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack

import asyncpg
import pytest

from service.errors import StoreLost
from service.model import Counts, Row
from service.store.store import Store
from tests.sql import execute, fetch
from tests.store_feed import Feed, store_of, table

pytestmark = pytest.mark.usefixtures("either_way")

COLUMNS = {"part": "integer", "id": "text", "v": "integer", "note": {"type": "text", "null": True}}
TABLES = {name: table(["part", "id"], COLUMNS, "v") for name in ("matches", "odds")}
KEYS = [(number % 7, f"{number:03}") for number in range(300)]
WRITERS, BATCHES, ROWS = 4, 12, 200


async def deadlocks(url: str) -> int:
    """Count the deadlocks of a database, once all that other sessions counted is told."""
    others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    async with asyncio.timeout(10):
        while await fetch(url, f"{others} AND backend_type = 'client backend'") != [(0,)]:
            await asyncio.sleep(0.02)
    ((found,),) = await fetch(url, "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
    return int(found)


@pytest.fixture
async def stores(database: str) -> AsyncIterator[list[Store]]:
    await execute(database, f"ALTER DATABASE {database.rpartition('/')[2]} SET deadlock_timeout = '10ms'")
    async with AsyncExitStack() as stack:
        opened = [await stack.enter_async_context(store_of(database, TABLES)) for _ in range(WRITERS)]
        await opened[0].prepare()
        yield opened


def batch(chance: random.Random, writer: int, step: int) -> dict[str, Sequence[Row]]:
    """Give rows of both tables in an order of their own; no two writers ever give one version."""
    version = step * WRITERS + writer
    return {
        name: [(*key, version, f"{writer}.{step}") for key in chance.sample(KEYS, ROWS)]
        for name in chance.sample(list(TABLES), 2)
    }


async def write(store: Store, writer: int, newest: dict[tuple[str, object, object], int]) -> tuple[Counts, int]:
    """Commit a writer's batches, each again when it is lost; note the newest versions and count what was lost."""
    chance, feed, ledger, lost = random.Random(writer), Feed(store, f"acme.w{writer}"), Counts(), 0
    for step in range(BATCHES):
        rows = batch(chance, writer, step)
        for name, part, key, version in ((name, *row[:3]) for name, each in rows.items() for row in each):
            newest[name, part, key] = max(newest.get((name, part, key), 0), version)
        while True:
            try:
                ledger.add(await feed.commit(feed.write(rows)))
            except StoreLost:
                lost += 1
            else:
                break
    return ledger, lost


async def check(database: str, newest: dict[tuple[str, object, object], int], ledgers: list[Counts]) -> None:
    """Check that the newest version stands everywhere, and that every row is accounted for once."""
    for name in TABLES:
        wanted = sorted((part, key, version) for (at, part, key), version in newest.items() if at == name)
        assert await fetch(database, f"SELECT part, id, v FROM {name} ORDER BY 1, 2") == wanted
    assert all(ledger.settled == ledger.received == BATCHES * ROWS * 2 for ledger in ledgers)
    assert sum(ledger.inserted for ledger in ledgers) == len(newest)


async def test_four_writers_with_overlapping_keys_never_deadlock(stores: list[Store], database: str) -> None:
    newest: dict[tuple[str, object, object], int] = {}
    async with asyncio.TaskGroup() as writers:
        tasks = [writers.create_task(write(store, number, newest)) for number, store in enumerate(stores)]
    ledgers, lost = zip(*(task.result() for task in tasks), strict=True)
    await check(database, newest, list(ledgers))
    assert sum(lost) == 0
    for store in stores:
        await store.__aexit__(None, None, None)
    assert await deadlocks(database) == 0


@pytest.mark.parametrize("ordered", [True, False])
async def test_a_stranger_deadlocks_only_if_it_writes_in_another_order_and_that_costs_neither_side_a_row(
    stores: list[Store], database: str, *, ordered: bool
) -> None:
    await execute(database, *(f"ALTER TABLE {name} ADD hits integer NOT NULL DEFAULT 0" for name in TABLES))
    newest: dict[tuple[str, object, object], int] = {}
    done, hits, deaths = asyncio.Event(), 0, 0

    async def stranger(seed: int) -> None:
        nonlocal hits, deaths
        chance = random.Random(seed)
        connection = await asyncpg.connect(database)
        while not done.is_set():
            try:
                touched = 0
                rows = [(chance.choice(list(TABLES)), *key) for key in chance.sample(KEYS, 20)]
                async with connection.transaction():
                    for name, part, key in sorted(rows) if ordered else rows:
                        query = f"UPDATE {name} SET hits = hits + 1 WHERE part = $1 AND id = $2"
                        touched += int((await connection.execute(query, part, key)).removeprefix("UPDATE "))
            except asyncpg.DeadlockDetectedError:
                deaths += 1
            else:
                hits += touched
        await connection.close()

    async with asyncio.TaskGroup() as everybody:
        for seed in range(2):
            everybody.create_task(stranger(seed))
        async with asyncio.TaskGroup() as writers:
            tasks = [writers.create_task(write(store, number, newest)) for number, store in enumerate(stores)]
        done.set()
    ledgers, lost = zip(*(task.result() for task in tasks), strict=True)
    await check(database, newest, list(ledgers))
    query = "SELECT (SELECT sum(hits) FROM matches)::bigint, (SELECT sum(hits) FROM odds)::bigint"
    ((first, second),) = await fetch(database, query)
    assert first + second == hits > 0
    for store in stores:
        await store.__aexit__(None, None, None)
    found = await deadlocks(database)
    assert found == sum(lost) + deaths == 0 if ordered else found >= sum(lost) + deaths > 0


async def test_a_batch_that_postgres_sacrifices_to_a_deadlock_is_written_again(
    stores: list[Store], database: str
) -> None:
    low, high = KEYS[:2]
    rows: list[Row] = [(*key, 2, "ours") for key in (low, high)]
    await Feed(stores[0], "acme.first").load([(*key, 1, None) for key in (low, high)])
    await execute(database, f"ALTER DATABASE {database.rpartition('/')[2]} SET deadlock_timeout = '1s'")
    store = stores[1]  # it has no connection yet, so that the setting is its own
    stranger, watch = await asyncpg.connect(database), await asyncpg.connect(database)
    await stranger.execute("SET deadlock_timeout = '1min'")  # who looks first is who gives way
    feed = Feed(store)
    update = "UPDATE matches SET note = 'theirs' WHERE part = $1 AND id = $2"
    async with asyncio.TaskGroup() as tasks:
        async with stranger.transaction():
            await stranger.execute(update, *high)
            attempt = tasks.create_task(outcome(feed, rows))
            async with asyncio.timeout(10):
                while not await watch.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
                    await asyncio.sleep(0.01)
            await stranger.execute(update, *low)
        assert "deadlock detected" in str(await attempt)
    assert (await feed.load(rows)).updated == 2
    await stranger.close()
    await watch.close()
    assert await fetch(database, "SELECT v, note FROM matches") == [(2, "ours"), (2, "ours")]


async def outcome(feed: Feed, rows: list[Row]) -> StoreLost | Counts:
    try:
        return await feed.load(rows)
    except StoreLost as lost:
        return lost
