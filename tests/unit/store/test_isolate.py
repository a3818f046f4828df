"""Poison: each row that the database refuses is named, costs only itself, and the rest of its batch is loaded."""

from collections.abc import AsyncIterator
from decimal import Decimal

import asyncpg
import pytest

from service.errors import RowRefused, TableRefused
from service.model import Counts, Row
from service.store.isolate import MOST
from service.store.store import Store
from tests.store_feed import Feed, store_of, table

pytestmark = pytest.mark.usefixtures("either_way")

OWN = """
CREATE TABLE teams (name text PRIMARY KEY);
INSERT INTO teams VALUES ('reds'), ('blues');
CREATE TABLE matches (
    id text PRIMARY KEY,
    team text REFERENCES teams DEFERRABLE INITIALLY DEFERRED,
    home text REFERENCES teams,
    seat integer UNIQUE,
    score smallint CHECK (score <> 13),
    odds numeric(4, 1) NOT NULL,
    code varchar(3),
    extra jsonb
);
CREATE FUNCTION judge() RETURNS trigger LANGUAGE plpgsql AS
    $$BEGIN IF new.code = 'bad' THEN RAISE 'no %', new.code; END IF; RETURN new; END$$;
CREATE TRIGGER judge BEFORE INSERT OR UPDATE ON matches FOR EACH ROW EXECUTE FUNCTION judge();
"""
OPTIONAL = {"team": "text", "home": "text", "seat": "integer", "score": "integer", "odds": "decimal", "code": "text"}
MATCHES = table("id", {"id": "text"} | {name: {"type": kind, "null": True} for name, kind in OPTIONAL.items()} | {
    "extra": {"type": "json", "null": True}
})  # fmt: skip
GOOD: dict[str, object] = {
    "team": "reds", "home": "blues", "seat": None, "score": 1, "odds": Decimal("1.5"), "code": "ok", "extra": "{}"
}  # fmt: skip


def row(key: str, **values: object) -> Row:
    return (key, *(GOOD | values).values())


@pytest.fixture
async def store(database: str) -> AsyncIterator[Store]:
    connection = await asyncpg.connect(database)
    await connection.execute(OWN)
    await connection.close()
    async with store_of(database, {"matches": MATCHES}, migrate="off") as opened:
        await own_tables(database)
        yield opened


@pytest.fixture
async def sieving(database: str) -> AsyncIterator[Store]:
    """The same without the trigger, which keeps rows from being judged before it has seen them."""
    connection = await asyncpg.connect(database)
    await connection.execute(f"{OWN}; DROP TRIGGER judge ON matches")
    await connection.close()
    async with store_of(database, {"matches": MATCHES}, migrate="off") as opened:
        await own_tables(database)
        await opened.prepare()
        yield opened


async def own_tables(database: str) -> None:
    async with store_of(database, {"other": table("id", {"id": "text"})}) as other:
        await other.prepare()


async def load_all(feed: Feed, rows: list[Row]) -> tuple[Counts, dict[str, RowRefused]]:
    """Commit as the loader does: take refused rows out, by their index, until the rest is accepted."""
    left, refused = list(rows), dict[str, RowRefused]()
    while True:
        try:
            return await feed.load(left), refused
        except RowRefused as error:
            for each in (error, *error.also):
                refused[left.pop(each.row)[0]] = each


@pytest.mark.parametrize(
    ("value", "reason", "detail"),
    [
        ({"team": "greens"}, "matches_team_fkey: foreign_key_violation", "REFERENCES teams(name)"),
        ({"home": "greens"}, "matches_home_fkey: foreign_key_violation", "REFERENCES teams(name)"),
        ({"seat": 3}, "matches_seat_key: unique_violation", "seat"),
        ({"score": 13}, "matches_score_check: check_violation", "CHECK (score <> 13)"),
        ({"score": 70_000}, "score: overflow", "smallint"),
        ({"odds": None}, "odds: not_null_violation", "odds"),
        ({"odds": Decimal(1000)}, "odds: numeric_value_out_of_range", "precision 4"),
        ({"odds": "much"}, "odds: invalid_operation", "numeric(4,1)"),
        ({"code": "bad"}, "raise", "no bad"),
        ({"code": "four"}, "code: string_data_right_truncation", "too long"),
        ({"code": "\0"}, "code: character_not_in_repertoire", "0x00"),
        ({"code": "\ud800"}, "code: unicode_encode", "surrogates"),
        ({"extra": '{"a": "\\u0000"}'}, "extra: untranslatable_character", "u0000"),
    ],
)  # fmt: skip
async def test_a_row_that_the_database_refuses_costs_only_itself(
    store: Store, value: dict[str, object], reason: str, detail: str
) -> None:
    feed = Feed(store)
    await feed.load([row("seated", seat=3)])
    rows = [row(f"{number:03}") for number in range(60)]
    rows[41] = row("poison", **value)
    counts, refused = await load_all(feed, rows)
    assert counts.inserted == 59
    assert list(refused) == ["poison"]
    assert refused["poison"].reason == reason
    assert detail in refused["poison"].detail


async def test_many_bad_rows_of_several_kinds_are_found_in_few_attempts(store: Store) -> None:
    kinds: list[dict[str, object]] = [{"score": 13}, {"home": "greens"}, {"code": "four"}, {"score": 70_000}]
    rows = [row(f"{number:03}", **(kinds[number % 4] if number % 7 == 0 else {})) for number in range(140)]
    with pytest.raises(RowRefused) as caught:
        await Feed(store).load(rows)
    indexes = [each.row for each in (caught.value, *caught.value.also)]
    assert indexes == [number for number in reversed(range(140)) if number % 7 == 0]


async def test_rows_that_break_a_constraint_by_themselves_are_all_named_at_once(sieving: Store) -> None:
    kinds: list[dict[str, object]] = [{"score": 13}, {"odds": None}, {"code": "four"}]
    rows = [row(f"{number:03}", **(kinds[number // 7 % 3] if number % 7 == 0 else {})) for number in range(140)]
    with pytest.raises(RowRefused) as caught:
        await Feed(sieving).load(rows)
    errors = [caught.value, *caught.value.also]
    assert [each.row for each in errors] == [number for number in reversed(range(140)) if number % 7 == 0]
    assert {each.reason for each in errors} == {
        "matches_score_check: check_violation",
        "odds: not_null_violation",
        "code: string_data_right_truncation",
    }


async def test_what_only_other_tables_tell_is_found_after_the_rest(sieving: Store) -> None:
    rows = [row("a", score=13), row("b", home="greens"), row("c", odds=Decimal("1.55")), row("d")]
    counts, refused = await load_all(Feed(sieving), rows)
    assert counts.inserted == 1
    assert {key: error.reason for key, error in refused.items()} == {
        "a": "matches_score_check: check_violation",
        "b": "matches_home_fkey: foreign_key_violation",
        "c": "odds: precision",
    }


async def test_a_row_that_a_trigger_mends_is_not_refused(sieving: Store, database: str) -> None:
    connection = await asyncpg.connect(database)
    await connection.execute(
        "CREATE FUNCTION mend() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN new.score = least(new.score, 12); "
        "RETURN new; END$$; CREATE TRIGGER mend BEFORE INSERT ON matches FOR EACH ROW EXECUTE FUNCTION mend()"
    )
    await connection.close()
    counts, refused = await load_all(Feed(sieving), [row("mended", score=13), row("bad", home="greens"), row("good")])
    assert (counts.inserted, list(refused)) == (2, ["bad"])


async def test_a_search_ends_though_every_row_is_bad(store: Store) -> None:
    rows = [row(f"{number:03}", score=13) for number in range(MOST + 20)]
    counts, refused = await load_all(Feed(store), rows)
    assert (counts.loaded, len(refused)) == (0, MOST + 20)


async def test_of_two_rows_that_exclude_each_other_one_is_loaded(store: Store) -> None:
    counts, refused = await load_all(Feed(store), [row("a", seat=1), row("b", seat=1), row("c", seat=2)])
    assert (counts.inserted, len(refused)) == (2, 1)


async def test_when_the_winner_of_a_key_is_refused_the_row_before_it_is_loaded(store: Store) -> None:
    counts, refused = await load_all(Feed(store), [row("a", score=1), row("b"), row("a", score=13)])
    assert (counts.inserted, counts.duplicate, counts.stale, list(refused)) == (2, 0, 0, ["a"])
    assert refused["a"].row == 2


async def test_nothing_of_a_refused_batch_is_written(store: Store) -> None:
    feed = Feed(store)
    with pytest.raises(RowRefused):
        await feed.load([row("a"), row("b", score=13)])
    assert await store.position("acme.scores") is None
    assert (await feed.load([row("a")])).inserted == 1


async def test_a_fault_that_no_single_row_causes_is_the_tables(store: Store, database: str) -> None:
    connection = await asyncpg.connect(database)
    await connection.execute(
        "CREATE FUNCTION few() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN IF (SELECT count(*) FROM fresh) > 2 "
        "THEN RAISE 'too many at once'; END IF; RETURN NULL; END$$;"
        "CREATE TRIGGER few AFTER INSERT ON matches REFERENCING NEW TABLE AS fresh "
        "FOR EACH STATEMENT EXECUTE FUNCTION few()"
    )
    await connection.close()
    with pytest.raises(TableRefused, match=r"too many at once.*no single row"):
        await Feed(store).load([row("a"), row("b"), row("c")])
