"""The service's own tables: any release's are brought to this one's, once, and a newer release's are left alone."""

import asyncio
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from service.errors import TableRefused
from service.store import schema as own
from service.store.engine import open_engine
from service.store.migrate import ddl
from service.store.upgrade import REVISIONS, Upgrade
from tests.sql import execute, fetch
from tests.store_feed import Feed, store_of, table

TABLES = {"matches": table("id", {"id": "text", "n": "integer"})}
RELEASE_0_1_0 = Path(__file__).with_name("release_0_1_0.sql").read_text()
NEXT = """
from alembic.operations import Operations
import sqlalchemy as sa
revision = "9001"
down_revision = "{head}"
def upgrade(op: Operations) -> None:
    op.add_column("batches", sa.Column("host", sa.Text, server_default="h"), schema="headrace")
"""


async def prepare(url: str, mode: str = "create") -> None:
    async with store_of(url, TABLES, migrate=mode) as store:
        await store.prepare()


def differences(connection: sa.Connection) -> list[Any]:
    opts = {
        "include_schemas": True,
        "include_name": lambda name, kind, _: kind != "schema" or name == "headrace",
        "compare_server_default": True,
        "version_table": "schema_version",
        "version_table_schema": "headrace",
    }
    found: list[Any] = compare_metadata(MigrationContext.configure(connection, opts=opts), own.metadata)
    return found


async def differences_of(url: str) -> list[Any]:
    engine = open_engine(url, 1)
    async with engine.connect() as connection:
        found = await connection.run_sync(differences)
    await engine.dispose()
    return found


async def test_from_nothing_the_revisions_make_exactly_what_the_schema_says(database: str) -> None:
    await prepare(database)
    assert await differences_of(database) == []
    assert await fetch(database, "SELECT * FROM headrace.schema_version") == [(Upgrade().head,)]


async def test_the_comparison_sees_a_difference(database: str) -> None:
    await prepare(database)
    await execute(database, "ALTER TABLE headrace.positions ALTER lane DROP NOT NULL")
    assert await differences_of(database) != []


async def test_the_tables_of_0_1_0_are_upgraded_with_their_rows(database: str) -> None:
    await execute(database, RELEASE_0_1_0)
    queries = [
        "SELECT feed, lane, sequence, source::text, received, inserted FROM headrace.positions",
        "SELECT id, feed, reason, record FROM headrace.quarantine",
        "SELECT id, feed, last_sequence, committed_at FROM headrace.batches",
    ]
    before = [await fetch(database, query) for query in queries]
    assert all(before)
    await prepare(database)
    assert [await fetch(database, query) for query in queries] == before
    assert await differences_of(database) == []
    assert await fetch(database, "SELECT * FROM headrace.schema_version") == [(Upgrade().head,)]


@pytest.mark.parametrize("number", range(1, len(list(REVISIONS.glob("r*.py")))))
async def test_the_tables_of_every_revision_are_upgraded_with_their_rows(
    database: str, tmp_path: Path, number: int
) -> None:
    await execute(database, RELEASE_0_1_0)
    for path in sorted(REVISIONS.glob("r*.py"))[:number]:
        shutil.copy(path, tmp_path)
    older = Upgrade(tmp_path)
    engine = open_engine(database, 1)
    async with engine.begin() as connection:
        await connection.run_sync(older.run)
    await engine.dispose()
    assert await fetch(database, "SELECT * FROM headrace.schema_version") == [(older.head,)]
    assert older.head != Upgrade().head
    await prepare(database)
    assert await differences_of(database) == []
    async with store_of(database, TABLES) as store:
        at = await store.position("acme.scores")
    assert at is not None
    assert (at.sequence, at.source, at.counts.received) == (42, {"cursor": "x"}, 50)


async def test_a_feed_of_0_1_0_goes_on_where_it_stood(database: str) -> None:
    await execute(database, RELEASE_0_1_0)
    async with store_of(database, TABLES) as store:
        await store.prepare()
        feed = Feed(store, lane="a1b2")
        feed.at = await store.position("acme.scores")
        assert feed.at is not None
        assert (feed.at.sequence, feed.at.source, feed.at.counts.received) == (42, {"cursor": "x"}, 50)
        await feed.load([("a", 1)])
        stored = await store.position("acme.scores")
    assert stored is not None
    assert (stored.sequence, stored.counts.received, stored.counts.inserted) == (43, 51, 41)


async def test_the_printed_sql_is_of_this_revision(database: str) -> None:
    await execute(database, ddl(TABLES, "public"))
    await prepare(database, "verify")
    assert await differences_of(database) == []


@pytest.mark.parametrize("mode", ["create", "verify", "off"])
async def test_a_daemon_older_than_the_database_refuses_to_write(database: str, mode: str) -> None:
    await prepare(database)
    await execute(database, "UPDATE headrace.schema_version SET version_num = '9999'")
    with pytest.raises(TableRefused, match=r"have revision 9999.* knows none after \d+: a newer release made them"):
        await prepare(database, mode)


async def test_verify_refuses_an_older_revision_and_names_the_command(database: str) -> None:
    await execute(database, RELEASE_0_1_0, "CREATE TABLE matches (id text PRIMARY KEY, n bigint NOT NULL)")
    with pytest.raises(
        TableRefused, match=r"headrace note no revision, and this release needs \d+; `headrace ddl --connect` "
    ):
        await prepare(database, "verify")
    assert await fetch(database, "SELECT to_regclass('headrace.schema_version')::text") == [(None,)]


async def test_what_somebody_took_away_by_hand_is_named(database: str) -> None:
    await prepare(database)
    await execute(database, "ALTER TABLE headrace.batches DROP COLUMN seconds")
    for mode in ("create", "verify"):
        with pytest.raises(TableRefused, match=r"headrace\.batches\.seconds does not exist"):
            await prepare(database, mode)


async def test_the_next_release_adds_its_revision_in_place_and_once(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await prepare(database)
    async with store_of(database, TABLES) as old:
        feed = Feed(old)
        await feed.load([("a", 1)])
        head = Upgrade().head
        shutil.copytree(REVISIONS, tmp_path / "revisions", ignore=shutil.ignore_patterns("__pycache__"))
        (tmp_path / "revisions" / "r9001_next.py").write_text(NEXT.format(head=head))
        monkeypatch.setattr("service.store.migrate.Upgrade", lambda: Upgrade(tmp_path / "revisions"))
        with pytest.raises(TableRefused, match=f"have revision {head}, and this release needs 9001"):
            await prepare(database, "verify")
        async with store_of(database, TABLES) as store:
            text, refused = await store.missing()
        assert refused == []
        assert re.search(r"ALTER TABLE headrace\.batches ADD COLUMN host TEXT .*version_num='9001'", text, re.DOTALL)
        async with asyncio.TaskGroup() as starts:
            for _ in range(4):
                starts.create_task(prepare(database))
        await feed.load([("a", 2)])
    assert await fetch(database, "SELECT host FROM headrace.batches") == [("h",), ("h",)]
    assert await fetch(database, "SELECT * FROM headrace.schema_version") == [("9001",)]


async def test_the_sql_that_an_older_database_lacks_is_what_brings_it_up(database: str) -> None:
    await execute(database, RELEASE_0_1_0)
    async with store_of(database, TABLES) as store:
        text, _ = await store.missing()
        await execute(database, text)
        assert await store.missing() == ("", [])
    await prepare(database, "verify")


async def test_a_role_that_may_only_write_rows_starts_on_tables_that_are_there(database: str) -> None:
    await prepare(database)
    role = f"writer_{database.rpartition('/')[2]}"
    await execute(
        database,
        f"CREATE ROLE {role} LOGIN",
        f"GRANT USAGE ON SCHEMA headrace TO {role}",
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA headrace, public TO {role}",
    )
    await prepare(database.replace("postgres@", f"{role}@"))
    await execute(database, f"DROP OWNED BY {role}", f"DROP ROLE {role}")
