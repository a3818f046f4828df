"""The store and a database that fails: nothing is half written, nothing twice, and it goes on by itself."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import asyncpg
import pytest

from service.errors import PositionTaken, StoreLost, TableRefused
from service.model import Counts, Row
from service.store import writer as writer_module
from service.store.store import Store
from tests.postgres import Cluster
from tests.proxy import Proxy
from tests.sql import execute
from tests.store_feed import Feed, store_of, table

TABLES = {"matches": table("id", {"id": "text", "n": "integer"})}
ROWS: list[Row] = [(f"{number:04}", number) for number in range(500)]


@pytest.fixture
async def store(database: str) -> AsyncIterator[Store]:
    async with store_of(database, TABLES) as opened:
        await opened.prepare()
        yield opened


@asynccontextmanager
async def session(url: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


async def count(url: str) -> int:
    async with session(url) as connection:
        found: int = await connection.fetchval("SELECT count(*) FROM matches")
        return found


async def until_blocked(connection: "asyncpg.Connection[asyncpg.Record]") -> int:
    """Wait until a session of the store waits for a lock; return its process id."""
    query = "SELECT pid FROM pg_stat_activity WHERE application_name = 'headrace' AND wait_event_type = 'Lock'"
    async with asyncio.timeout(10):
        while True:
            await connection.execute("SELECT pg_stat_clear_snapshot()")  # else a transaction sees what it saw first
            if (pid := await connection.fetchval(query)) is not None:
                return int(pid)


async def test_a_session_that_is_ended_in_mid_batch_leaves_nothing_and_the_batch_may_be_repeated(
    store: Store, database: str
) -> None:
    feed = Feed(store)
    async with session(database) as other, asyncio.TaskGroup() as tasks, other.transaction():
        await other.execute("INSERT INTO matches VALUES ('0300', 0)")
        attempt = tasks.create_task(_outcome(feed))
        await other.execute("SELECT pg_terminate_backend($1)", await until_blocked(other))
        outcome = await attempt
        await other.execute("DELETE FROM matches")
    assert isinstance(outcome, StoreLost)
    assert await count(database) == 0
    assert await store.position("acme.scores") is None
    assert (await feed.load(ROWS)).inserted == 500


async def _outcome(feed: Feed) -> Counts | Exception:
    try:
        return await feed.load(ROWS)
    except (StoreLost, TableRefused) as error:
        return error


async def test_a_restart_of_the_server_is_survived_by_every_connection_of_the_pool(cluster: Cluster) -> None:
    async with store_of(cluster.url(), TABLES) as store:
        await store.prepare()
        async with asyncio.TaskGroup() as pings:
            for _ in range(2):
                pings.create_task(store.ping())
        feed = Feed(store)
        await feed.load(ROWS[:250])
        await asyncio.to_thread(cluster.stop_immediate)
        with pytest.raises(StoreLost):
            await store.ping()  # it may still meet a session in the middle of dying, which says so in other words
        with pytest.raises(StoreLost, match="no connection to the database"):
            await store.ping()
        with pytest.raises(StoreLost):
            await feed.load(ROWS)
        await asyncio.to_thread(cluster.start)
        assert await feed.load(ROWS) == Counts(received=500, inserted=250, unchanged=250)


async def test_a_restart_while_nothing_is_written_is_not_even_noticed(cluster: Cluster) -> None:
    async with store_of(cluster.url(), TABLES) as store:
        await store.prepare()
        async with asyncio.TaskGroup() as pings:
            for _ in range(2):
                pings.create_task(store.ping())
        await asyncio.to_thread(cluster.restart)
        assert (await Feed(store).load(ROWS)).inserted == 500
        await store.ping()


async def test_two_daemons_that_begin_one_feed_at_once_do_not_both_write(store: Store, database: str) -> None:
    feed = Feed(store)
    async with session(database) as other, asyncio.TaskGroup() as tasks:
        async with other.transaction():
            await other.execute("INSERT INTO headrace.positions VALUES ('acme.scores', 'another lane', 7)")
            attempt = tasks.create_task(_outcome(feed))
            await until_blocked(other)
        assert isinstance(await attempt, StoreLost)
    assert await count(database) == 0
    with pytest.raises(PositionTaken):
        await feed.load(ROWS)


async def test_a_dropped_table_is_refused_and_heals_when_it_is_back(store: Store, database: str) -> None:
    feed = Feed(store)
    await execute(database, "ALTER TABLE matches RENAME TO away")
    with pytest.raises(
        TableRefused, match=r'relation "public\.matches" does not exist.*`headrace ddl --connect` prints'
    ):
        await feed.load(ROWS)
    await execute(database, "ALTER TABLE away RENAME TO matches")
    assert (await feed.load(ROWS)).inserted == 500


async def test_a_column_that_went_is_refused_and_heals(store: Store, database: str) -> None:
    feed = Feed(store)
    await feed.load(ROWS[:1])
    await execute(database, "ALTER TABLE matches DROP COLUMN n")
    with pytest.raises(TableRefused, match="does not exist"):
        await feed.load(ROWS)
    await execute(database, "ALTER TABLE matches ADD COLUMN n numeric")
    assert (await feed.load(ROWS)).updated == 1


async def test_a_right_that_is_missing_is_the_tables_fault(store: Store, database: str) -> None:
    role = f"reader_{database.rpartition('/')[2]}"
    await execute(
        database,
        f"CREATE ROLE {role} LOGIN",
        f"GRANT USAGE ON SCHEMA headrace TO {role}",
        f"GRANT ALL ON ALL TABLES IN SCHEMA headrace TO {role}",
        f"GRANT SELECT ON matches TO {role}",
    )
    async with store_of(database.replace("postgres@", f"{role}@"), TABLES) as reader:
        with pytest.raises(TableRefused, match="permission denied for table matches"):
            await Feed(reader).load(ROWS)
    await execute(database, f"DROP OWNED BY {role}", f"DROP ROLE {role}")


async def test_a_database_that_turns_read_only_is_waited_for(database: str) -> None:
    async with store_of(database, TABLES) as store:
        await store.prepare()
    await execute(database, f"ALTER DATABASE {database.rpartition('/')[2]} SET default_transaction_read_only = on")
    async with store_of(database, TABLES) as store:
        with pytest.raises(StoreLost, match="read-only"):
            await Feed(store).load(ROWS)


async def test_a_database_that_does_not_exist_is_named(postgres: Cluster) -> None:
    async with store_of(postgres.url("nowhere"), TABLES) as store:
        with pytest.raises(TableRefused, match='database "nowhere" does not exist'):
            await store.prepare()


async def test_a_locked_table_is_not_waited_for_for_ever(
    store: Store, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.store.writer._TERMS", "SET LOCAL lock_timeout = '100ms'")
    async with session(database) as other, other.transaction():
        await other.execute("LOCK TABLE matches")
        with pytest.raises(StoreLost, match="lock timeout"):
            await Feed(store).load(ROWS)


async def test_a_transaction_whose_line_went_dead_is_ended_by_the_server(
    store: Store, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.store.writer._TERMS", writer_module._TERMS.replace("'120s'", "'1s'"))
    parts = urlsplit(database)
    async with Proxy("127.0.0.1", parts.port or 0) as proxy:
        url = parts._replace(netloc=f"postgres@{proxy.address}").geturl()
        async with store_of(url, TABLES) as unlucky, session(database) as other, asyncio.TaskGroup() as tasks:
            async with other.transaction():
                await other.execute("INSERT INTO matches VALUES ('0300', 0)")
                attempt = tasks.create_task(_outcome(Feed(unlucky)))
                await until_blocked(other)
                proxy.stall()
            assert (await Feed(store).load(ROWS)).loaded == 500  # the dead one gave the position back
            proxy.resume()
            assert isinstance(await attempt, StoreLost | PositionTaken)


async def test_concurrent_batches_with_the_same_keys_do_not_deadlock(store: Store, database: str) -> None:
    first, second = Feed(store, "acme.one"), Feed(store, "acme.two")

    async def load(feed: Feed, rows: list[Row]) -> None:
        for step in range(10):
            await feed.load([(key, step * 1000 + number) for key, number in rows])

    started = time.monotonic()
    async with asyncio.TaskGroup() as feeds:
        feeds.create_task(load(first, ROWS))
        feeds.create_task(load(second, ROWS[::-1]))
    assert time.monotonic() - started < 10
    assert await count(database) == 500


async def test_more_feeds_than_connections_take_turns(store: Store, database: str) -> None:
    feeds = [Feed(store, f"acme.f{number}") for number in range(10)]
    async with asyncio.TaskGroup() as tasks:
        for number, feed in enumerate(feeds):
            tasks.create_task(feed.load([(f"{number}", number)]))
    assert await count(database) == 10


async def test_a_commit_that_is_cancelled_leaves_nothing_and_the_store_usable(store: Store, database: str) -> None:
    feed = Feed(store)
    async with session(database) as other, other.transaction():
        await other.execute("INSERT INTO matches VALUES ('0300', 0)")
        attempt = asyncio.ensure_future(feed.load(ROWS))
        await until_blocked(other)
        attempt.cancel()
        with pytest.raises(asyncio.CancelledError):
            await attempt
        await other.execute("DELETE FROM matches")
    assert await store.position("acme.scores") is None
    assert (await feed.load(ROWS)).inserted == 500
