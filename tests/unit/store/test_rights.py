"""Rights: what the database's role may not do is named before anything is tried, with SQL that mends it."""

import re
from collections.abc import AsyncIterator, Sequence

import pytest
import yaml

from service.config.settings import Config
from service.errors import TableRefused
from service.store.rights import needs
from tests.sql import execute, fetch
from tests.store_feed import Feed, store_of

CONFIG = Config.model_validate(
    yaml.safe_load("""
tables:
  matches: {key: id, columns: {id: text, n: integer}}
  log: {mode: append, columns: {id: text}}
  told: {key: id, columns: {id: text}}
providers:
  acme:
    url: http://127.0.0.1:1
    feeds:
      all: {kind: rest, path: /, every: 1h, into: matches, map: {id: id, n: n}, absent: delete}
      log: {kind: rest, path: /, every: 1h, into: log, map: {id: id}}
""")
)
BY_HAND = re.compile(r"; by hand(?:, as its owner)?: (.*?)(?:, or .*)?$")


class Role:
    """A role that may log in and connect, and nothing else."""

    def __init__(self, owner: str) -> None:
        self.database = owner.rpartition("/")[2]
        self.name = f"App {self.database}"
        self.url = owner.replace("postgres@", f"App%20{self.database}@")

    async def refused(self, mode: str = "create") -> list[str]:
        """Give what ``check --connect`` and ``ddl --connect`` say."""
        async with store_of(self.url, CONFIG.tables, migrate=mode) as store:
            return (await store.missing(needs(CONFIG)))[1]

    async def prepare(self, mode: str = "create") -> None:
        """Do what ``run`` does first."""
        async with store_of(self.url, CONFIG.tables, migrate=mode) as store:
            await store.prepare()


@pytest.fixture
async def role(database: str) -> AsyncIterator[Role]:
    made = Role(database)
    await execute(
        database,
        f'CREATE ROLE "{made.name}" LOGIN',
        f"REVOKE ALL ON DATABASE {made.database} FROM PUBLIC",
        f'GRANT CONNECT ON DATABASE {made.database} TO "{made.name}"',
        "REVOKE ALL ON SCHEMA public FROM PUBLIC",
    )
    yield made
    await execute(database, f'DROP OWNED BY "{made.name}" CASCADE', f'DROP ROLE "{made.name}"')


async def follow(database: str, told: Sequence[str]) -> None:
    """Run by hand what is said to be run by hand."""
    found = [BY_HAND.search(each) for each in told]
    assert all(found), told
    await execute(database, *(each[1] for each in found if each))


async def test_a_role_that_may_nothing_is_led_by_the_messages_to_one_that_may_all(database: str, role: Role) -> None:
    steps = [
        (
            ["make temporary tables", "use the schema public"],
            f'GRANT TEMPORARY ON DATABASE {role.database} TO "{role.name}".*GRANT USAGE',
        ),
        (
            [
                "create the schema headrace, which does not exist",
                "create tables and indexes in the schema public",
            ],
            r"create the schema headrace.*GRANT CREATE ON DATABASE.*GRANT CREATE ON SCH",
        ),
    ]
    for lacking, sql in steps:
        told = await role.refused()
        assert [re.sub(r".* may not (.*?);.*", r"\1", each) for each in told] == lacking
        with pytest.raises(TableRefused, match=sql):
            await role.prepare()
        await follow(database, told)
    assert await role.refused() == []
    await role.prepare()


async def test_the_schema_may_be_made_for_the_role_instead(database: str, role: Role) -> None:
    await execute(database, f'GRANT ALL ON SCHEMA public TO "{role.name}"')
    await execute(database, f'GRANT TEMPORARY ON DATABASE {role.database} TO "{role.name}"')
    (told,) = await role.refused()
    await execute(database, told.rpartition(", or ")[2])
    await role.prepare()


async def test_rights_to_tables_of_others_are_named_for_what_feeds_do_with_them(database: str, role: Role) -> None:
    async with store_of(database, CONFIG.tables) as store:
        await store.prepare()
    await execute(
        database,
        f'GRANT TEMPORARY ON DATABASE {role.database} TO "{role.name}"',
        f'GRANT USAGE ON SCHEMA public, headrace TO "{role.name}"',
        f'GRANT SELECT, INSERT ON public.matches TO "{role.name}"',
        f'GRANT INSERT ON headrace.positions TO "{role.name}"',
    )
    own, *others = told = await role.refused("verify")
    assert "may not read and write headrace.batches" in own
    assert [each.partition("; by hand: ")[2] for each in others] == [
        f'GRANT SELECT, INSERT ON public.log TO "{role.name}"',
        f'GRANT UPDATE, DELETE ON public.matches TO "{role.name}"',
    ]
    with pytest.raises(
        TableRefused, match=r"headrace\.schema_version, .*; by hand: GRANT SELECT, INSERT, UPDATE, DELETE"
    ):
        await role.prepare("verify")
    await follow(database, told)
    for mode in ("verify", "create", "off"):
        assert await role.refused(mode) == []
        await role.prepare(mode)
    async with store_of(role.url, CONFIG.tables) as store:
        assert (await Feed(store).load([("a", 1)])).inserted == 1


async def test_columns_may_be_granted_one_by_one(database: str, role: Role) -> None:
    async with store_of(database, CONFIG.tables) as store:
        await store.prepare()
    await execute(
        database,
        "ALTER TABLE matches ADD COLUMN theirs text",
        f'GRANT TEMPORARY ON DATABASE {role.database} TO "{role.name}"',
        f'GRANT USAGE ON SCHEMA public, headrace TO "{role.name}"',
        f'GRANT ALL ON ALL TABLES IN SCHEMA headrace TO "{role.name}"',
        f'GRANT SELECT, INSERT ON log TO "{role.name}"',
        f'GRANT SELECT, DELETE, INSERT (id, n), UPDATE (n) ON matches TO "{role.name}"',
    )
    assert await role.refused() == []


async def test_a_table_of_somebody_else_is_altered_by_its_owner(database: str, role: Role) -> None:
    await execute(
        database,
        "CREATE TABLE matches (id text PRIMARY KEY)",
        f'GRANT ALL ON matches TO "{role.name}"',
        f'GRANT ALL ON SCHEMA public TO "{role.name}"',
        f'GRANT CREATE, TEMPORARY ON DATABASE {role.database} TO "{role.name}"',
    )
    told = await role.refused()
    assert [each.partition("; by hand, ")[2] for each in told] == [
        "as its owner: ALTER TABLE public.matches ADD COLUMN n BIGINT NOT NULL"
    ]
    with pytest.raises(TableRefused, match="does not own matches; by hand, as its owner: ALTER TABLE"):
        await role.prepare()
    assert await fetch(database, "SELECT 1 FROM pg_namespace WHERE nspname = 'headrace'") == []
    await follow(database, told)
    await role.prepare()


async def test_a_right_that_goes_while_it_runs_is_told_with_where_to_look(database: str, role: Role) -> None:
    async with store_of(database, CONFIG.tables) as store:
        await store.prepare()
    await execute(database, f'GRANT TEMPORARY ON DATABASE {role.database} TO "{role.name}"')
    await execute(database, f'GRANT USAGE ON SCHEMA public, headrace TO "{role.name}"')
    await execute(database, f'GRANT ALL ON ALL TABLES IN SCHEMA headrace TO "{role.name}"')
    async with store_of(role.url, CONFIG.tables) as store:
        with pytest.raises(
            TableRefused, match=r"permission denied for table matches.*`headrace check --connect` names"
        ):
            await Feed(store).load([("a", 1)])
