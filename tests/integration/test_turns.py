"""Batches in flight: the next one is staged while one is committed, and never gets past it."""

import asyncio
import gc
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from service.buffer.memory import Memory
from service.config.settings import Batch as Bounds
from service.config.tables import Table
from service.model import Lane, Message
from service.pipeline.batch import Batches
from service.pipeline.breaker import Breaker
from service.pipeline.ledger import Ledger
from service.pipeline.loader import Loader
from service.pipeline.tap import Tap
from service.pipeline.turns import NotYet, Turn
from service.pipeline.worker import Worker
from service.sources.rest import Rest
from service.store.store import Store
from service.transform.transform import Transform
from tests.sql import execute, fetch
from tests.store_feed import store_of

TABLES = {
    "matches": Table.model_validate({"key": "id", "columns": {"id": "integer", "n": {"type": "integer", "min": 0}}})
}
FEED = Rest.model_validate({"path": "/", "into": "matches", "map": {"id": "id", "n": "n"}})
FORBID = """
CREATE FUNCTION forbid() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE insufficient_privilege USING MESSAGE = 'not today'; END $$;
CREATE TRIGGER forbid BEFORE INSERT ON matches FOR EACH STATEMENT EXECUTE FUNCTION forbid()"""
ROWS = 10
"""Rows of a full batch."""
OPEN = "SELECT FROM pg_stat_activity WHERE application_name = 'headrace' AND datname = current_database()"
BLOCKED, STAGED = f"{OPEN} AND wait_event_type = 'Lock'", f"{OPEN} AND state = 'idle in transaction'"


def message(number: int, n: int = 1) -> Message:
    return Message(json.dumps({"id": number, "n": n}).encode(), 1.0)


@asynccontextmanager
async def loading(store: Store, lane: Lane) -> AsyncIterator[Loader]:
    """Transform and load what the lane holds until it is closed."""
    transform = Transform("acme.things", FEED, TABLES)
    batches, ledger = Batches(transform, Bounds(max_rows=ROWS)), Ledger()
    breaker, tap = Breaker("acme.things", 0), Tap(transform, TABLES)
    loader = Loader("acme.things", store, lane, batches, ledger, breaker, tap)
    await loader.position()

    async def work() -> None:
        async with batches:
            await Worker(lane, transform, batches, ledger, breaker, tap).run(0)

    async with asyncio.TaskGroup() as group:
        group.create_task(loader.run())
        group.create_task(work())
        yield loader
        lane.close()


@pytest.fixture
async def lane() -> AsyncIterator[Lane]:
    async with Memory(1 << 20, ["acme.things"]) as buffer:
        yield await buffer.lane("acme.things")


async def until(condition: Callable[[], Awaitable[Any]]) -> None:
    async with asyncio.timeout(20):
        while not await condition():
            await asyncio.sleep(0.01)


async def seen(url: str, query: str) -> Any:
    ((found, *_), *_) = await fetch(url, query) or [(None,)]
    return found


async def test_the_next_full_batch_is_staged_while_one_waits_to_be_committed(database: str, lane: Lane) -> None:
    async with store_of(database, TABLES) as store:
        await store.prepare()
        await execute(database, "INSERT INTO matches VALUES (1, 0)")
        locker = await asyncpg.connect(database)
        async with asyncio.timeout(60), loading(store, lane):
            async with locker.transaction():
                await locker.execute("SELECT FROM matches FOR UPDATE")
                await lane.append([message(number) for number in range(1, 3 * ROWS + 1)])
                await until(lambda: seen(database, f"SELECT EXISTS ({BLOCKED}) AND EXISTS ({STAGED})"))
                assert await seen(database, "SELECT count(*) FROM matches") == 1  # what is staged nobody sees
            await until(lambda: seen(database, f"SELECT count(*) = {3 * ROWS} FROM matches"))
        await locker.close()
        batches = await fetch(database, "SELECT first_sequence, last_sequence FROM headrace.batches ORDER BY id")
    assert [batch[0] for batch in batches] == [1, *(batch[1] + 1 for batch in batches[:-1])]
    assert batches[-1][1] == 3 * ROWS


async def test_a_pool_of_one_stages_nothing_ahead(database: str, lane: Lane) -> None:
    async with store_of(database, TABLES, pool=1) as store:
        await store.prepare()
        async with asyncio.timeout(60), loading(store, lane):
            await lane.append([message(number) for number in range(1, 5 * ROWS + 1)])
        assert await seen(database, "SELECT count(*) FROM matches") == 5 * ROWS


async def test_no_transaction_stays_open_behind_a_batch_that_is_held_up(database: str, lane: Lane) -> None:
    async with store_of(database, TABLES) as store:
        await store.prepare()
        await execute(database, FORBID)
        async with asyncio.timeout(60), loading(store, lane) as loader:
            await lane.append([message(number) for number in range(1, 3 * ROWS + 1)])
            async with asyncio.timeout(20):
                while loader.trouble is None:
                    await asyncio.sleep(0.01)
            await until(lambda: seen(database, f"SELECT NOT EXISTS ({STAGED})"))
            await execute(database, "DROP TRIGGER forbid ON matches")
        assert await seen(database, "SELECT count(*) FROM matches") == 3 * ROWS
        assert await seen(database, "SELECT received FROM headrace.positions") == 3 * ROWS


async def test_a_row_that_is_refused_in_a_staged_batch_costs_only_itself(database: str, lane: Lane) -> None:
    async with store_of(database, TABLES) as store:
        await store.prepare()
        await execute(database, "ALTER TABLE matches ADD CHECK (n < 100)")
        async with asyncio.timeout(60), loading(store, lane):
            rows = [message(number, 100 if number % ROWS == 3 else 1) for number in range(1, 6 * ROWS + 1)]
            await lane.append(rows)
        assert await seen(database, "SELECT count(*) FROM matches") == 6 * (ROWS - 1)
        assert await seen(database, "SELECT count(*) FROM headrace.quarantine") == 6
        ((received, inserted, quarantined),) = await fetch(
            database, "SELECT received, inserted, quarantined FROM headrace.positions"
        )
        assert (received, inserted, quarantined) == (6 * ROWS, 6 * (ROWS - 1), 6)


async def test_both_hands_give_up_when_nobody_wants_to_wait(database: str, lane: Lane) -> None:
    async with store_of(database, TABLES) as store:
        await store.prepare()
        await execute(database, FORBID)
        async with asyncio.timeout(60), loading(store, lane) as loader:
            await lane.append([message(number) for number in range(1, 5 * ROWS + 1)])
            async with asyncio.timeout(20):
                while loader.trouble is None:
                    await asyncio.sleep(0.01)
            loader.give_up()
        assert await fetch(database, "SELECT FROM headrace.positions") == []


async def test_full_batches_say_nothing_of_how_long_few_rows_wait_for_company(database: str, lane: Lane) -> None:
    async with store_of(database, TABLES) as store:
        await store.prepare()
        async with asyncio.timeout(60), loading(store, lane) as loader:
            await lane.append([message(number) for number in range(1, 3 * ROWS + 1)])
            await loader.reached(3 * ROWS)
            assert loader.linger == 0
            await lane.append([message(3 * ROWS + 1)])
            await loader.reached(3 * ROWS + 1)
            assert loader.linger > 0


async def test_turns_that_are_over_are_not_kept(database: str, lane: Lane) -> None:
    async with store_of(database, TABLES) as store:
        await store.prepare()
        async with asyncio.timeout(60), loading(store, lane) as loader:
            for number in range(1, 20):
                await lane.append([message(number)])
                await loader.reached(number)
            gc.collect()
            assert sum(isinstance(each, Turn) for each in gc.get_objects()) <= 3


async def test_a_turn_comes_once_the_one_before_is_done_and_is_not_awaited_behind_trouble() -> None:
    first = Turn()
    await first.comes()
    second = Turn(first)
    assert second.is_ahead
    first.held_up.set()
    with pytest.raises(NotYet):
        await second.comes()
    first.done.set()
    await second.comes()
    assert (second.is_ahead, second.before) == (False, None)  # a long row of turns is not kept alive
