"""What a user reads of a row that the database refused: column, value, rule and remedy, and no secret."""

from decimal import Decimal
from typing import Any

import pytest

from service.errors import RowRefused
from tests.sql import execute
from tests.store_feed import Feed, store_of, table
from tests.unit.transform.making import make

pytestmark = pytest.mark.usefixtures("either_way")

OWN = """
CREATE TABLE teams (name text PRIMARY KEY);
CREATE TYPE mood AS ENUM ('good', 'bad');
CREATE DOMAIN goals AS integer CHECK (value >= 0);
CREATE TABLE matches (
    id text PRIMARY KEY, home text REFERENCES teams, seat integer UNIQUE, score smallint CHECK (score <> 13),
    odds numeric(4, 1), code varchar(3), mood mood, g goals, ints integer[], a bigint, b bigint, room integer, u text,
    password text CHECK (password <> 'hunter2'), CONSTRAINT in_order CHECK (a < b),
    EXCLUDE USING btree (room WITH =), CONSTRAINT one_password UNIQUE (password));
CREATE UNIQUE INDEX lowered ON matches (lower(u));
"""
TRIGGER = """
CREATE FUNCTION judge() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN
    IF new.a = 7 THEN RAISE 'not % with %', new.a, new.password USING HINT = 'send another'; END IF; RETURN new;
END$$;
CREATE TRIGGER judge BEFORE INSERT OR UPDATE ON matches FOR EACH ROW EXECUTE FUNCTION judge();
"""
COLUMNS: dict[str, Any] = {"id": "text"} | {
    name: {"type": kind, "null": True}
    for name, kind in {
        "home": "text", "seat": "integer", "score": "integer", "odds": "decimal", "code": "text", "mood": "text",
        "g": "integer", "ints": "integer", "a": "integer", "b": "integer", "room": "integer", "u": "text",
        "password": "text",
    }.items()
}  # fmt: skip
COLUMNS["ints"]["list"] = True
GOOD = {name: None for name in COLUMNS if name != "id"} | {"odds": Decimal(1), "a": 1, "b": 2}
ALL = (1 << len(COLUMNS)) - 1
REMEDY = "; put the rule into the configuration, change it in the database, or correct the provider"
CASES: list[tuple[dict[str, Any], str, str]] = [
    ({"home": "greens"}, 'home ("home"): "greens" is', "FOREIGN KEY (home) REFERENCES teams(name)"),
    ({"seat": 3}, 'seat ("seat"): 3 is', "[unique_violation]: duplicate key value violates unique constraint"),
    ({"score": 13}, 'score ("score"): 13 is', '"matches" violates check constraint "matches_score_check", CHECK ('),
    ({"score": 70_000}, 'score ("score"): 70000 is', "value out of int16 range; the type of the column is smallint"),
    ({"odds": None}, 'odds ("odds"): null is', 'null value in column "odds" of relation "matches"'),
    ({"odds": Decimal(1000)}, 'odds ("odds"): 1000 is', "A field with precision 4, scale 1"),
    ({"odds": Decimal("1.55")}, 'odds ("odds"): 1.55 is', "the type of the column, numeric(4,1), would round it"),
    ({"code": "four"}, 'code ("code"): "four" is', "too long for type character varying(3)"),
    ({"mood": "sad"}, 'mood ("mood"): "sad" is', "invalid input value for enum mood"),
    ({"g": -1}, 'g ("g"): -1 is', "CHECK (VALUE >= 0); the type of the column is goals"),
    ({"g": 1 << 40}, 'g ("g"): 1099511627776 is', "[overflow]: value out of int32 range"),
    ({"ints": [1, 1 << 40]}, 'ints ("ints"): [1,1099511627776] is', "the type of the column is integer[]"),
    ({"a": 5, "b": 4}, 'a ("a"): 5, b ("b"): 4 are', "CHECK (a < b)"),
    ({"room": 1}, 'room ("room"): 1 is', "EXCLUDE USING btree (room WITH =)"),
    ({"u": "SEATED"}, 'u ("u"): "SEATED" is', "(lower(u))"),
    ({"password": "hunter2"}, 'password ("password"): "***" is', "CHECK (password <> '***'::text)"),
    ({"password": "s3cret"}, 'password ("password"): "***" is', "UNIQUE (password)"),
]  # fmt: skip


def row(key: str, values: dict[str, Any]) -> tuple[Any, ...]:
    return (key, *(GOOD | values).values())


async def told_of(url: str, bad: dict[str, Any], *, partial: bool) -> str:
    """Load a bad row amid good ones, and give what a user is told of it."""
    flags = (ALL,) if partial else ()
    mine = table("id", COLUMNS)
    async with store_of(url, {"matches": mine}, partial=["matches"] if partial else []) as store:
        await store.prepare()
        await execute(url, "ALTER TABLE matches ALTER odds SET NOT NULL")  # while the daemon runs
        feed = Feed(store)
        await feed.load([(*row("seated", {"seat": 3, "room": 1, "u": "seated", "password": "s3cret"}), *flags)])
        rows = [(*row("good", {}), *flags), (*row("bad", {"password": "qwerty"} | bad), *flags)]
        with pytest.raises(RowRefused) as caught:
            await feed.load(rows)
    assert (caught.value.row, caught.value.also) == (1, ())
    return make(COLUMNS).refused("t", rows[1], caught.value)


@pytest.mark.parametrize("partial", [False, True])
@pytest.mark.parametrize(("bad", "begins", "says"), CASES)
async def test_a_refusal_names_column_value_rule_and_remedy(
    database: str, bad: dict[str, Any], begins: str, says: str, partial: bool
) -> None:
    await execute(database, OWN)
    told = await told_of(database, bad, partial=partial)
    assert told.startswith(f"{begins} refused by the database [")
    assert says in told
    assert told.endswith(REMEDY)
    for hidden in ("qwerty", "hunter2", "s3cret", "headrace_", "Failing row"):
        assert hidden not in told


async def test_what_a_trigger_says_is_told_without_the_secret_in_it(database: str) -> None:
    await execute(database, OWN, TRIGGER)
    told = await told_of(database, {"a": 7, "b": 8}, partial=False)
    assert told == f"refused by the database [raise]: not 7 with ***. send another{REMEDY}"


async def test_a_rule_of_a_partition_is_found(database: str) -> None:
    await execute(
        database,
        "CREATE TABLE matches (id text, n bigint, PRIMARY KEY (id)) PARTITION BY LIST (id)",
        "CREATE TABLE part PARTITION OF matches (CONSTRAINT small CHECK (n < 10)) DEFAULT",
    )
    columns = {"id": "text", "n": "integer"}
    async with store_of(database, {"matches": table("id", columns)}, migrate="create") as store:
        await store.prepare()
        with pytest.raises(RowRefused) as caught:
            await Feed(store).load([("a", 1), ("b", 10)])
    told = make(columns).refused("t", ("b", 10), caught.value)
    assert told.startswith('n ("n"): 10 is refused by the database [check_violation]: new row for relation "matches" ')
    assert "CHECK (n < 10)" in told
