"""What the store takes from the depths of Postgres holds in every major version at hand."""

from collections.abc import AsyncIterator

import pytest

from service.errors import RowRefused, TableRefused
from service.model import Counts, Row
from tests.postgres import CHOSEN, Cluster
from tests.sql import execute, fetch
from tests.store_feed import Feed, store_of, table
from tests.unit.store.deltas import Deltas

pytestmark = pytest.mark.usefixtures("either_way")

MATCHES = table("id", {"id": "text", "v": "integer", "odds": {"type": "decimal", "null": True},
                       "tags": {"type": "text", "list": True, "null": True}}, "v", indexes=[["v"]])  # fmt: skip


@pytest.fixture
async def url(any_postgres: Cluster) -> AsyncIterator[str]:
    """The URL of a fresh database."""
    await any_postgres.execute("CREATE DATABASE fresh")
    yield any_postgres.url("fresh")
    await any_postgres.execute("DROP DATABASE fresh WITH (FORCE)")


def row(key: str, version: int, odds: object = None) -> Row:
    return (key, version, odds, [key])


async def test_each_row_is_counted_for_what_became_of_it(url: str) -> None:
    async with store_of(url, {"matches": MATCHES}) as store:
        await store.prepare()
        feed = Feed(store)
        await feed.load([row("a", 1), row("b", 1), row("c", 1)])
        counts = await feed.load([row("a", 0), row("b", 1), row("c", 2), row("d", 1), row("d", 1), row("d", 0)])
        assert counts == Counts(received=6, stale=2, unchanged=1, updated=1, inserted=1, duplicate=1)
        assert await store.position("acme.scores") == feed.at


async def test_a_partitioned_table_is_counted_as_exactly(url: str) -> None:
    await execute(
        url,
        "CREATE TABLE matches (id text PRIMARY KEY, v bigint NOT NULL, odds numeric, tags text[]) "
        "PARTITION BY HASH (id)",
        *(f"CREATE TABLE m{n} PARTITION OF matches FOR VALUES WITH (MODULUS 3, REMAINDER {n})" for n in range(3)),
    )
    async with store_of(url, {"matches": MATCHES}) as store:
        await store.prepare()
        feed = Feed(store)
        await feed.load([row(str(number), 1) for number in range(30)])
        counts = await feed.load([row(str(number), number % 3) for number in range(33)])
    assert counts == Counts(received=33, inserted=3, updated=10, unchanged=10, stale=10)


async def test_the_line_and_the_column_that_a_copy_refuses_are_found(url: str) -> None:
    await execute(
        url,
        "CREATE TABLE matches (id varchar(4) PRIMARY KEY, v smallint NOT NULL, "
        "odds numeric CHECK (odds > 0), tags text[])",
    )
    async with store_of(url, {"matches": MATCHES}) as store:
        await store.prepare()
        rows = [row(f"{number:04}", 1) for number in range(50)]
        rows[13] = row("longer", 1)
        rows[31] = row("0031", 1, -1)
        with pytest.raises(RowRefused) as refused:
            await Feed(store).load(rows)
    found = [(each.row, each.reason) for each in (refused.value, *refused.value.also)]
    assert found == [(31, "matches_odds_check: check_violation"), (13, "id: string_data_right_truncation")]


async def test_what_is_created_verifies_and_drift_is_named(url: str) -> None:
    for mode in ("create", "verify", "create"):
        async with store_of(url, {"matches": MATCHES}, migrate=mode) as store:
            await store.prepare()
            assert await store.missing() == ("", [])
    await execute(url, "ALTER TABLE matches ALTER odds TYPE text, ALTER v DROP NOT NULL")
    async with store_of(url, {"matches": MATCHES}, migrate="verify") as store:
        with pytest.raises(TableRefused, match=r"matches\.v may be null.*odds is TEXT, which cannot hold decimal"):
            await store.prepare()


async def test_a_row_that_a_policy_forbids_is_told_from_a_table_that_is_closed(url: str) -> None:
    async with store_of(url, {"matches": MATCHES}) as store:
        await store.prepare()
    await execute(
        url,
        "CREATE ROLE tenant LOGIN",
        "GRANT USAGE ON SCHEMA headrace TO tenant",
        "GRANT ALL ON ALL TABLES IN SCHEMA headrace, public TO tenant",
        "ALTER TABLE matches ENABLE ROW LEVEL SECURITY",
        "CREATE POLICY low ON matches USING (v < 10)",
    )
    async with store_of(url.replace("postgres@", "tenant@"), {"matches": MATCHES}) as store:
        with pytest.raises(RowRefused) as refused:
            await Feed(store).load([row("a", 1), row("b", 11)])
        assert refused.value.row == 1
        await execute(url, "REVOKE ALL ON matches FROM tenant")
        with pytest.raises(TableRefused, match="permission denied for table matches"):
            await Feed(store).load([row("a", 1)])
    await execute(url, "DROP OWNED BY tenant", "DROP ROLE tenant")


async def test_the_server_is_the_one_that_was_asked_for(url: str, request: pytest.FixtureRequest) -> None:
    ((version,),) = await fetch(url, "SHOW server_version")
    wanted = request.node.callspec.params["any_postgres"]
    assert version.startswith(wanted if wanted != "default" else "18" if CHOSEN is None else "")


async def test_deltas_are_merged_column_by_column_and_wait_for_their_rows(url: str) -> None:
    number = {"type": "integer", "null": True}
    tables = {"t": table("id", {"id": "text", "v": "integer", "a": number, "b": number, "c": "integer"}, "v")}
    async with store_of(url, tables, partial=tables) as store:
        await store.prepare()
        feed = Deltas(store)
        assert await feed.load([("x", 5, 5, None, None, 0b00111)], "t") == Counts()
        assert await feed.load([("x", 1, 1, 1, 1)], "t") == Counts(received=2, inserted=1, updated=1)
        late = [("x", 3, None, 3, None, 0b01011), ("x", 2, 2, 2, 2), ("x", 3, None, 3, None, 0b01011)]
        assert await feed.load(late, "t") == Counts(received=3, updated=2, duplicate=1)
        assert await fetch(url, "SELECT v, a, b, c FROM t") == [(5, 5, 3, 2)]
        known = await fetch(url, "SELECT key::text, versions::text FROM headrace.column_versions")
        assert known == [('["x"]', '{"b": "3", "c": "2"}')]
