"""Every type of a column, on a real database: what is written is what stands there afterwards, to the last digit."""

import json
import math
from collections.abc import AsyncIterator, Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from service.config.tables import Table
from service.store.store import Store
from tests.sql import execute, fetch
from tests.store_feed import Feed, store_of, table

pytestmark = pytest.mark.usefixtures("either_way")

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
JSON = st.recursive(st.none() | st.booleans() | st.integers() | TEXT, lambda inner: st.lists(inner, max_size=3)
                    | st.dictionaries(TEXT, inner, max_size=3), max_leaves=5)  # fmt: skip
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "text": TEXT,
    "integer": st.integers(-(2**63), 2**63 - 1),
    "float": st.floats(),
    "decimal": st.decimals(allow_nan=False, allow_infinity=False, places=None),
    "boolean": st.booleans(),
    "timestamp": st.datetimes(timezones=st.just(UTC)),
    "date": st.dates(),
    "time": st.times(),
    "uuid": st.uuids(),
    "json": JSON.map(json.dumps),
    "bytes": st.binary(max_size=20),
}
OPTIONAL = {kind: {"type": kind, "null": True} for kind in VALUES}
LISTS = {f"{kind}_list": {"type": kind, "list": True, "null": True} for kind in VALUES}
ALL = table("k", {"k": "text"} | OPTIONAL | LISTS)
ROW = st.tuples(
    *(st.none() | values for values in VALUES.values()),
    *(st.none() | st.lists(st.none() | values, max_size=4) for values in VALUES.values()),
)
LARGEST = (
    "\U0001f3df\ufffd\u202e", 2**63 - 1, math.inf, Decimal("1E+300"), True, datetime.max.replace(tzinfo=UTC), date.max,
    time.max, UUID(int=2**128 - 1), "{}", b"\xff" * 20,
)  # fmt: skip
SMALLEST = (
    "", -(2**63), -math.inf, Decimal("-1E-300"), False, datetime.min.replace(tzinfo=UTC), date.min,
    time.min, UUID(int=0), "[]", b"",
)  # fmt: skip


@pytest.fixture
async def store(database: str) -> AsyncIterator[Store]:
    async with store_of(database, {"matches": ALL}) as opened:
        await opened.prepare()
        yield opened


def shown(kind: str, value: Any) -> Any:
    """Give a value in a form that two equal ones share and that two different ones do not."""
    if isinstance(value, list):
        return [shown(kind, item) for item in value]
    if value is None:
        return None
    if kind == "json":
        return json.loads(value)
    if kind == "float":
        return repr(value)
    if kind == "timestamp":
        return str(value.astimezone(UTC))
    return value


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ROW)
@example((*LARGEST, *([value, None] for value in LARGEST)))
@example((*SMALLEST, *([None, value] for value in SMALLEST)))
@example((None,) * 22)
@example((*(None,) * 11, *([],) * 11))
async def test_what_is_written_is_what_is_read(store: Store, database: str, row: tuple[Any, ...]) -> None:
    await execute(database, "TRUNCATE matches, headrace.positions")
    assert (await Feed(store).load([("k", *row)])).inserted == 1
    (found,) = await fetch(database, "SELECT * FROM matches")
    for name, written, read in zip(ALL.columns, ("k", *row), found, strict=True):
        kind = ALL.columns[name].type
        assert shown(kind, read) == shown(kind, written), name
    endless = "SELECT count(*) FROM matches WHERE NOT isfinite(date) OR NOT isfinite(timestamp)"
    assert await fetch(database, endless) == [(0,)]


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ROW)
async def test_what_is_written_twice_is_unchanged(store: Store, database: str, row: tuple[Any, ...]) -> None:
    await execute(database, "TRUNCATE matches, headrace.positions")
    feed = Feed(store)
    await feed.load([("k", *row)])
    assert (await feed.load([("k", *row)])).unchanged == 1


KEYS = {kind: values for kind, values in VALUES.items() if kind != "json"}


@pytest.mark.parametrize("kind", KEYS)
async def test_any_single_value_may_be_a_key(database: str, kind: str) -> None:
    mine: Table = table(["k"], {"k": kind, "n": "integer"})
    largest, smallest = (values[list(VALUES).index(kind)] for values in (LARGEST, SMALLEST))
    async with store_of(database, {"matches": mine}) as store:
        await store.prepare()
        feed = Feed(store)
        await feed.load([(largest, 1), (smallest, 1)])
        counts = await feed.load([(smallest, 2), (largest, 1)])
    assert (counts.updated, counts.unchanged) == (1, 1)


@pytest.mark.parametrize(("kind", "version"), [
    ("integer", lambda n: n), ("float", float), ("decimal", Decimal),
    ("timestamp", lambda n: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(microseconds=n)),
    ("date", lambda n: date(2026, 1, 1 + n)), ("time", lambda n: time(microsecond=n)),
    ("text", lambda n: "Zaä"[n]), ("uuid", lambda n: UUID(int=n)),
])  # fmt: skip
async def test_any_ordered_type_may_be_a_version(database: str, kind: str, version: Callable[[int], Any]) -> None:
    mine = table("k", {"k": "text", "v": kind}, "v")
    async with store_of(database, {"matches": mine}) as store:
        await store.prepare()
        feed = Feed(store)
        await feed.load([("k", version(1))])
        assert (await feed.load([("k", version(0))])).stale == 1
        assert (await feed.load([("k", version(2))])).updated == 1


@pytest.mark.parametrize(("column", "default", "stored"), [
    ("text", "it's \\ :x 5% \U0001f600", "it's \\ :x 5% \U0001f600"), ("integer", -3, -3),
    ("decimal", "1.10", Decimal("1.10")),
    ("boolean", False, False), ("timestamp", "2026-01-01T00:00:00Z", datetime(2026, 1, 1, tzinfo=UTC)),
    ("json", {"a\\": ["'", None]}, '{"a\\\\": ["\'", null]}'), ("bytes", "aGk=", b"hi"),
    ("date", "2026-01-31", date(2026, 1, 31)),
])  # fmt: skip
async def test_a_default_is_stored_as_it_is_written(database: str, column: str, default: Any, stored: Any) -> None:
    mine = table("k", {"k": "text", "d": {"type": column, "default": default}})
    async with store_of(database, {"matches": mine}) as store:
        await store.prepare()
    await execute(database, "INSERT INTO matches (k) VALUES ('a')")
    assert await fetch(database, "SELECT d FROM matches") == [(stored,)]
