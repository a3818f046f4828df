"""The store behind pgbouncer in transaction mode: each transaction may meet another session."""

import asyncio
import random
from collections.abc import AsyncIterator

import pytest

from service.errors import RowRefused, StoreLost
from service.model import Counts, Row
from service.store.store import Store
from tests.pgbouncer import Bouncer, needs_pgbouncer
from tests.sql import execute, fetch
from tests.store_feed import Feed, store_of, table

pytestmark = [needs_pgbouncer, pytest.mark.usefixtures("either_way")]

MATCHES = table("id", {"id": "text", "v": "integer", "state": {"type": "text", "null": True}}, "v")
KEYS = [f"{number:03}" for number in range(200)]
FEEDS, BATCHES = 8, 12


@pytest.fixture
async def url(database: str, bouncer: Bouncer) -> str:
    await execute(
        database,
        "CREATE TYPE state AS ENUM ('live', 'over')",
        "CREATE TABLE matches (id text PRIMARY KEY, v bigint NOT NULL, state state)",
    )
    return bouncer.url(database.rpartition("/")[2])


@pytest.fixture
async def store(url: str) -> AsyncIterator[Store]:
    async with store_of(url, {"matches": MATCHES}, pool=6) as opened:
        await opened.prepare()
        yield opened


def batches(seed: int) -> list[list[Row]]:
    """Give batches whose versions say which feed and batch they are of."""
    chance = random.Random(seed)
    return [
        [(key, step * FEEDS + seed, chance.choice(["live", "over", None])) for key in chance.choices(KEYS, k=80)]
        for step in range(BATCHES)
    ]


async def load(store: Store, seed: int) -> Counts:
    """Load the batches of one feed as the loader does: whatever is lost is written again."""
    feed, ledger = Feed(store, f"acme.f{seed}"), Counts()
    for rows in batches(seed):
        write = feed.write({"matches": rows})
        while True:
            try:
                ledger.add(await feed.commit(write))
            except StoreLost:
                await asyncio.sleep(0.02)
            else:
                break
    return ledger


async def load_all(store: Store) -> list[Counts]:
    async with asyncio.TaskGroup() as feeds:
        loads = [feeds.create_task(load(store, seed)) for seed in range(FEEDS)]
    return [done.result() for done in loads]


async def check(database: str, ledgers: list[Counts]) -> None:
    """Check that the newest version of each key stands there, and that each ledger was committed as it was told."""
    newest: dict[str, int] = {}
    for seed in range(FEEDS):
        for key, version, _ in (row for rows in batches(seed) for row in rows):
            newest[key] = max(newest.get(key, 0), version)
    assert await fetch(database, "SELECT id, v FROM matches ORDER BY id") == sorted(newest.items())
    assert all(ledger.settled == ledger.received == BATCHES * 80 for ledger in ledgers)
    query = "SELECT inserted, updated, unchanged, stale, duplicate FROM headrace.positions ORDER BY feed"
    assert await fetch(database, query) == [
        (each.inserted, each.updated, each.unchanged, each.stale, each.duplicate) for each in ledgers
    ]
    assert sum(each.inserted for each in ledgers) == len(newest)
    query = "SELECT count(*) FROM headrace.batches"
    assert await fetch(database, query) == [(FEEDS * BATCHES,)]


async def test_many_feeds_share_few_sessions(store: Store, database: str) -> None:
    await check(database, await load_all(store))


async def test_feeds_outlive_every_death_of_the_bouncer(store: Store, database: str, bouncer: Bouncer) -> None:
    async with asyncio.TaskGroup() as tasks:
        loads = tasks.create_task(load_all(store))
        deaths = 0
        while not loads.done() and deaths < 5:
            await asyncio.sleep(0.15)
            await asyncio.to_thread(bouncer.stop)
            await asyncio.to_thread(bouncer.start)
            deaths += 1
    assert deaths >= 2
    await check(database, loads.result())


async def test_a_refused_row_is_found_behind_it_too(store: Store) -> None:
    feed = Feed(store)
    rows: list[Row] = [(key, 1, "live") for key in KEYS]
    rows[77] = ("077", 1, "late")
    with pytest.raises(RowRefused) as refused:
        await feed.load(rows)
    assert refused.value.row == 77
    del rows[77]
    assert (await feed.load(rows)).inserted == 199


async def test_connections_that_are_opened_while_it_is_busy_find_their_way(url: str, store: Store) -> None:
    """What a new connection asks before its first transaction may be answered by two different sessions."""

    async def come_and_go() -> None:
        for _ in range(15):
            async with store_of(url, {"matches": MATCHES}) as other:
                await other.ping()
                await other.position("acme.scores")

    async with asyncio.TaskGroup() as tasks:
        loads = tasks.create_task(load_all(store))
        for _ in range(4):
            tasks.create_task(come_and_go())
    assert len(loads.result()) == FEEDS
