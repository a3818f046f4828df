"""The history of a table: whatever the order of arrival, it is that of the sorted versions."""

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import zip_longest
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.errors import RowRefused
from service.model import Row
from service.store.migrate import ddl
from service.store.store import Store
from tests.store_feed import Feed, rows_of, store_of, table

COLUMNS = {"id": "text", "at": "timestamp", "score": {"type": "integer", "null": True}}
TABLES = {"scores": table("id", COLUMNS, "at", history=True)}
START = datetime(2026, 1, 1, tzinfo=UTC)
ALL = "SELECT * FROM scores_history ORDER BY id, valid_from"
NOW = "SELECT id, at, score FROM scores_history WHERE valid_to IS NULL ORDER BY id"


def moment(day: int) -> datetime:
    return START + timedelta(days=day)


ROW = st.tuples(st.sampled_from("ab"), st.integers(0, 5), st.integers(0, 2) | st.none())
DELETION = st.tuples(st.sampled_from("ab"), st.integers(0, 5), st.just("delete"))
BATCHES = st.lists(st.lists(st.one_of(ROW, ROW, DELETION), min_size=1, max_size=6), max_size=5)


@pytest.fixture
async def store(database: str) -> AsyncIterator[Store]:
    async with store_of(database, TABLES, deletable=["scores"]) as opened:
        await opened.prepare()
        yield opened


def row(key: str, day: int, score: int | str | None) -> Row:
    """Give what the transform makes of a record; a score of ``delete`` is a deletion."""
    return (key, moment(day), None if score == "delete" else score, score == "delete")


def expected(events: Sequence[tuple[str, int, Any]]) -> tuple[list[Row], list[Row]]:
    """Give the history and the table of events in order of arrival: of equal versions the last holds."""
    held = {(key, day): score for key, day, score in events}
    history: list[Row] = []
    current: list[Row] = []
    places = sorted(held)
    for place, following in zip_longest(places, places[1:]):
        (key, day), score = place, held[place]
        end = following[1] if following is not None and following[0] == key else None
        if score == "delete":
            history.append((key, moment(day), None, moment(day), moment(day)))
        else:
            history.append((key, moment(day), score, moment(day), None if end is None else moment(end)))
            if end is None:
                current.append((key, moment(day), score))
    return history, current


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(BATCHES)
async def test_whatever_the_order_of_arrival_the_history_is_that_of_the_sorted_versions(
    store: Store, database: str, batches: list[list[tuple[str, int, Any]]]
) -> None:
    await rows_of(database, "TRUNCATE scores, scores_history, headrace.positions, headrace.deleted")
    feed = Feed(store)
    for batch in batches:
        counts = await feed.load([row(*event) for event in batch], "scores")
        assert counts.settled == counts.received
    history, current = expected([event for batch in batches for event in batch])
    assert await rows_of(database, ALL) == history
    assert await rows_of(database, "SELECT * FROM scores ORDER BY id") == current
    assert await rows_of(database, NOW) == current


async def test_the_same_versions_again_change_nothing(store: Store, database: str) -> None:
    feed = Feed(store)
    rows = [row("a", 1, 1), row("a", 2, 2), row("a", 3, "delete")]
    await feed.load(rows, "scores")
    before = await rows_of(database, "SELECT *, xmin::text FROM scores_history ORDER BY valid_from")
    await feed.load(rows, "scores")
    assert await rows_of(database, "SELECT *, xmin::text FROM scores_history ORDER BY valid_from") == before


async def test_rows_that_are_there_when_a_history_begins_begin_it(database: str) -> None:
    async with store_of(database, {"scores": table("id", COLUMNS, "at")}) as opened:
        await opened.prepare()
        await Feed(opened).load([("a", moment(1), 1)], "scores")
    async with store_of(database, TABLES) as opened:
        await opened.prepare()
        await opened.prepare()
        feed = Feed(opened, "acme.other")
        await feed.load([("a", moment(2), 2)], "scores")
    assert await rows_of(database, ALL) == [
        ("a", moment(1), 1, moment(1), moment(2)),
        ("a", moment(2), 2, moment(2), None),
    ]


async def test_a_row_of_which_only_the_history_is_refused_is_named(store: Store, database: str) -> None:
    await rows_of(database, "ALTER TABLE scores_history ADD CONSTRAINT low CHECK (score < 10)")
    with pytest.raises(RowRefused, match="low") as refused:
        await Feed(store).load([row("a", 1, 1), row("b", 1, 11), row("b", 2, 2)], "scores")
    assert (refused.value.row, refused.value.also) == (1, ())


async def test_a_table_of_the_users_with_narrower_types_has_a_history_too(database: str) -> None:
    await rows_of(database, "CREATE TYPE side AS ENUM ('home', 'away')")
    own = "CREATE TABLE goals (side side, n smallint, at timestamptz NOT NULL, extra json, PRIMARY KEY (side, n))"
    await rows_of(database, own)
    columns = {"side": "text", "n": "integer", "at": "timestamp", "extra": {"type": "json", "null": True}}
    async with store_of(database, {"goals": table(["side", "n"], columns, "at", history=True)}) as opened:
        await opened.prepare()
        feed = Feed(opened)
        await feed.load([("home", 1, moment(2), '{"by": 9}')], "goals")
        await feed.load([("home", 1, moment(1), None), ("away", 1, moment(1), "{}")], "goals")
    query = "SELECT side, n, valid_from, valid_to, extra::text FROM goals_history ORDER BY side, valid_from"
    assert await rows_of(database, query) == [
        ("away", 1, moment(1), None, "{}"),
        ("home", 1, moment(1), moment(2), None),
        ("home", 1, moment(2), None, '{"by": 9}'),
    ]


async def test_the_sql_of_a_history_is_printed_and_its_drift_is_seen(database: str) -> None:
    assert "CREATE TABLE public.scores_history" in ddl(TABLES, "public")
    assert "PRIMARY KEY (id, valid_from)" in ddl(TABLES, "public")
    async with store_of(database, TABLES) as opened:
        await opened.prepare()
    await rows_of(database, "ALTER TABLE scores_history DROP COLUMN valid_to")
    async with store_of(database, TABLES, migrate="verify") as opened:
        with pytest.raises(Exception, match=r"scores_history\.valid_to does not exist"):
            await opened.prepare()
