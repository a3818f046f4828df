"""Gaps in the database: noted with the rows, filled once, and one question tells whether a time is complete."""

import re
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID, uuid4

import msgspec
import pytest

from service.errors import RowRefused
from service.store.store import Store
from service.store.write import Gap, Heard, Number
from tests.sql import execute, fetch
from tests.store_feed import Feed, store_of, table

TABLES = {"t": table("id", {"id": "text", "n": {"type": "integer", "max": 9}})}
OPERATIONS = Path(__file__).parents[3] / "docs" / "operations.md"
NOON = 1_767_268_800.0  # 2026-01-01 12:00 UTC


@pytest.fixture
async def store(database: str) -> AsyncIterator[Store]:
    async with store_of(database, TABLES) as opened:
        await opened.prepare()
        yield opened


def gap(since: float, until: float | None, number: int | None = None, **more: object) -> Gap:
    places = {"from_position": number, "to_position": number + 9} if number is not None else {}
    return msgspec.structs.replace(Gap(uuid4(), "sequence", since, until), **places, **more)


async def note(feed: Feed, *gaps: Gap, at: float = 0.0, **numbers: int) -> None:
    stand = {key.strip("_"): Number(number, at) for key, number in numbers.items()}
    heard = Heard({each.id: each for each in gaps}, stand)
    await feed.commit(msgspec.structs.replace(feed.write({"t": []}), heard=heard, received_at=at))


async def test_what_was_heard_is_what_is_recalled(store: Store) -> None:
    feed = Feed(store)
    first, second = gap(1.5, 2.5, 7, key="a"), gap(3.0, None)
    await note(feed, first, second, at=4.0, a=17, b=5)
    await note(feed, at=5.0, a=18)
    known = await store.heard("acme.scores")
    assert known.gaps == {first.id: first, second.id: second}
    assert known.numbers == {"b": Number(5, 4.0), "a": Number(18, 5.0)}
    assert await store.heard("acme.other") == Heard()
    position = await store.position("acme.scores")
    assert position is not None
    assert position.received_at == 5.0


async def test_a_gap_is_noted_with_its_rows_or_not_at_all(store: Store, database: str) -> None:
    await execute(database, "ALTER TABLE t ADD CHECK (n < 5)")
    feed = Feed(store)
    found = gap(1.0, 2.0, 7)
    write = msgspec.structs.replace(feed.write({"t": [("a", 7)]}), heard=Heard({found.id: found}, {"": Number(9, 1.0)}))
    with pytest.raises(RowRefused):
        await feed.commit(write)
    assert await store.heard("acme.scores") == Heard()
    await feed.commit(msgspec.structs.replace(write, rows={"t": [("a", 1)]}))
    assert list((await store.heard("acme.scores")).gaps) == [found.id]


async def test_only_gaps_that_ended_are_filled_and_only_once(store: Store) -> None:
    feed = Feed(store)
    early, late, lasting = gap(1.0, 2.0), gap(3.0, 9.0), gap(4.0, None)
    await note(feed, early, late, lasting)
    await note(Feed(store, "acme.other"), gap(1.0, 2.0))
    assert await store.fill("acme.scores", "acme.fixtures", until=5.0) == [early.id]
    assert await store.fill("acme.scores", "acme.fixtures", until=5.0) == []
    assert await store.fill("acme.scores", "acme.fixtures", ids=[lasting.id], until=50.0) == []
    assert list((await store.heard("acme.scores")).gaps) == [late.id, lasting.id]
    assert len((await store.heard("acme.other")).gaps) == 1


async def filled(database: str, which: UUID) -> bool:
    ((by,),) = await fetch(database, "SELECT filled_by FROM headrace.gaps WHERE id = $1", which)
    return by is not None


async def test_what_was_filled_stays_so_unless_it_goes_on(store: Store, database: str) -> None:
    feed = Feed(store)
    found = gap(1.0, 2.0, 7)
    await note(feed, found)
    await store.fill("acme.scores", "acme.fixtures", until=5.0)
    await note(feed, msgspec.structs.replace(found, from_position=9))  # found out before, noted after
    assert await filled(database, found.id)
    await note(feed, msgspec.structs.replace(found, to_time=4e9))
    assert not await filled(database, found.id)


def question() -> str:
    """Give the question as the documentation has it."""
    (found,) = re.findall(r"```sql\n(-- Is 15:00 to 16:00 complete\?.*?)```", OPERATIONS.read_text(), re.DOTALL)
    return (
        str(found).replace("2026-03-01 15:00Z", "2026-01-01 12:00Z").replace("2026-03-01 16:00Z", "2026-01-01 13:00Z")
    )


@pytest.mark.parametrize(
    ("gaps", "heard", "complete"),
    [
        ([], 3600, True),
        ([], 3599, False),  # what came later than that is not loaded, or nothing came
        ([gap(NOON - 60, NOON - 1)], 3700, True),
        ([gap(NOON - 60, NOON + 1)], 3700, False),
        ([gap(NOON + 60, NOON + 60)], 3700, False),
        ([gap(NOON + 60, NOON + 61, filled_by="acme.fixtures", filled_at=NOON + 99)], 3700, True),
        ([gap(NOON - 60, None)], 3700, False),
        ([gap(NOON + 3600, NOON + 3700)], 3700, True),
    ],
)
async def test_one_question_tells_whether_an_hour_is_complete(
    store: Store, database: str, gaps: list[Gap], heard: float, complete: bool
) -> None:
    await note(Feed(store, "acme.other"), gap(NOON - 60, None), at=NOON)
    await note(Feed(store), *gaps, at=NOON + heard)
    assert await fetch(database, question()) == [(complete,)]
