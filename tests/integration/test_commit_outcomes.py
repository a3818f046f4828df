"""COMMIT and its answer on a bad line: whatever was lost, the batch takes effect exactly once."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import msgspec
import pytest

from service.errors import StoreLost
from service.model import Counts, Row
from service.store.store import Store
from service.store.write import Sweep
from tests.sql import execute, fetch
from tests.store_feed import Feed, store_of, table

pytestmark = pytest.mark.usefixtures("either_way")

TABLES = {"matches": table("id", {"id": "text", "n": "integer"})}
ROWS: list[Row] = [(f"{number:04}", number) for number in range(500)]
ASKED, ANSWERED = b"COMMIT;\0", b"COMMIT\0"
"""The end of the driver's Query, and of the server's CommandComplete (PostgreSQL, section 54.7)."""


@pytest.fixture
async def store(database: str) -> AsyncIterator[Store]:
    async with store_of(database, TABLES) as opened:
        await opened.prepare()
        yield opened


@asynccontextmanager
async def bad_line(url: str, word: bytes, held: asyncio.Event | None = None) -> AsyncIterator[str]:
    """Stand between the store and the database; at the word, cut the line before it, or hold it up until the event."""
    parts = urlsplit(url)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream, down = await asyncio.open_connection(parts.hostname, parts.port)
        async with asyncio.TaskGroup() as pumps:
            asked = pumps.create_task(pump(reader, down))
            answered = pumps.create_task(pump(upstream, writer))
            await asyncio.wait([asked, answered], return_when=asyncio.FIRST_COMPLETED)
            for end in (writer, down):
                end.close()

    async def pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(1 << 16):
                if word in data:
                    if held is None:
                        return
                    await held.wait()
                target.write(data)
                await target.drain()
        except ConnectionError:
            return

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        yield f"{parts._replace(netloc=f'postgres@127.0.0.1:{port}').geturl()}?sslmode=disable"


async def count(url: str) -> int:
    ((found,),) = await fetch(url, "SELECT count(*) FROM matches")
    return int(found)


async def until_alone(url: str) -> None:
    """Wait until no transaction of the store is open any more."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND xact_start IS NOT NULL"
    async with asyncio.timeout(10):
        while await fetch(url, query) != [(1,)]:
            await asyncio.sleep(0.01)


async def settle(store: Store, feed: Feed, database: str, *, committed: bool) -> None:
    """Repeat the batch that was lost and see that it is accounted for as if nothing had happened."""
    write = feed.write({"matches": ROWS})
    assert await count(database) == (500 if committed else 10)
    commit, counts, tables = await store.commit(write)
    assert counts == Counts(received=500, inserted=490, unchanged=10)
    assert tables == {"matches": Counts(inserted=490, unchanged=10)}
    assert commit.sequence == 510
    assert await store.position("acme.scores") == commit
    assert await count(database) == 500
    assert await fetch(database, "SELECT count(*) FROM headrace.batches") == [(2,)]


@pytest.mark.parametrize(("word", "committed"), [(ASKED, False), (ANSWERED, True)], ids=["asked", "answered"])
async def test_a_line_that_is_cut_at_commit_costs_nothing(
    store: Store, database: str, word: bytes, committed: bool
) -> None:
    feed = Feed(store)
    await feed.load(ROWS[:10])
    async with bad_line(database, word) as url, store_of(url, TABLES) as unlucky:
        with pytest.raises(StoreLost):
            await unlucky.commit(feed.write({"matches": ROWS}))
    await until_alone(database)
    await settle(store, feed, database, committed=committed)


@pytest.mark.parametrize(("word", "committed"), [(ASKED, False), (ANSWERED, True)], ids=["asked", "answered"])
async def test_an_answer_that_comes_too_late_is_not_waited_for(
    store: Store, database: str, monkeypatch: pytest.MonkeyPatch, word: bytes, committed: bool
) -> None:
    feed, held = Feed(store), asyncio.Event()
    await feed.load(ROWS[:10])
    async with bad_line(database, word, held) as url, store_of(url, TABLES) as unlucky:
        monkeypatch.setattr("service.store.store.COMMIT_SECONDS", 1.0)
        started = time.monotonic()
        with pytest.raises(StoreLost, match="does not answer in time"):
            await unlucky.commit(feed.write({"matches": ROWS}))
        assert time.monotonic() - started < 5
        if not committed:
            with pytest.raises(StoreLost):  # the first attempt still holds the position: the second does not pass it
                await store.commit(feed.write({"matches": ROWS}))
        monkeypatch.undo()
        held.set()
        await until_alone(database)
        await settle(store, feed, database, committed=await count(database) == 500)


async def test_the_same_store_goes_on_after_a_late_answer(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    held = asyncio.Event()
    async with bad_line(database, ANSWERED, held) as url, store_of(url, TABLES) as store:
        held.set()
        await store.prepare()
        feed = Feed(store)
        await feed.load(ROWS[:10])
        held.clear()
        monkeypatch.setattr("service.store.store.COMMIT_SECONDS", 1.0)
        with pytest.raises(StoreLost):
            await feed.load(ROWS)
        held.set()
        await settle(store, feed, database, committed=True)


AUDIT = """
CREATE TABLE audit (deed text, who text);
CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN INSERT INTO audit VALUES (tg_op, coalesce(old.id, new.id)); RETURN NULL; END $$;
CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON sets FOR EACH ROW EXECUTE FUNCTION audit();
"""
SETS = {
    "sets": table(
        ["source", "id"], {"source": "text", "id": "text", "absent_since": {"type": "timestamp", "null": True}}
    )
}


@pytest.mark.parametrize("mark", [True, False], ids=["mark", "delete"])
@pytest.mark.parametrize("word", [ASKED, ANSWERED], ids=["asked", "answered"])
async def test_a_full_set_whose_commit_is_lost_takes_effect_once_and_in_its_scope(
    database: str, word: bytes, mark: bool
) -> None:
    async with store_of(database, SETS) as store:
        await store.prepare()
        feed, other = Feed(store), Feed(store, "acme.other")
        await other.load([("other", "a", None), ("other", "b", None)], "sets")
        await feed.load([("ours", "a", None), ("ours", "b", None)], "sets")
        await execute(database, AUDIT)
        sweep = Sweep("sets", {"source": "ours"}, [("ours", "b"), ("ours", "c")], mark, time.time())
        rows: list[Row] = [("ours", "b", None), ("ours", "c", None)]
        write = msgspec.structs.replace(feed.write({"sets": rows}), sweep=sweep)
        async with bad_line(database, word) as url, store_of(url, SETS) as unlucky:
            with pytest.raises(StoreLost):
                await unlucky.commit(write)
        await until_alone(database)
        wanted = Counts(received=2, inserted=1, unchanged=1, absent=1)
        for _ in range(2):
            _, counts, tables = await store.commit(write)
            assert counts == wanted
            assert tables == {"sets": Counts(inserted=1, unchanged=1, absent=1)}
    gone = "UPDATE" if mark else "DELETE"
    assert await fetch(database, "SELECT deed, who FROM audit ORDER BY 1, 2") == sorted([("INSERT", "c"), (gone, "a")])
    left = "SELECT source, id FROM sets WHERE absent_since IS NULL ORDER BY 1, 2"
    assert await fetch(database, left) == [("other", "a"), ("other", "b"), ("ours", "b"), ("ours", "c")]
