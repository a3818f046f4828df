from datetime import UTC, datetime, time
from decimal import Decimal
from typing import Any

import pytest

from service.errors import RowRefused
from tests.sql import execute, fetch
from tests.store_feed import Feed, store_of, table

MOMENT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("stored", "wanted", "fits", "rounded"),
    [
        ("numeric(6, 2)", "decimal", Decimal("1234.50"), Decimal("1.005")),
        ("numeric(6)", "decimal", Decimal(12), Decimal("12.5")),
        ("numeric(6, 2)[]", {"type": "decimal", "list": True}, [Decimal("1.5"), None], [Decimal("1.005")]),
        ("price", "decimal", Decimal("1.50"), Decimal("1.005")),
        ("price[]", {"type": "decimal", "list": True}, [Decimal("1.5")], [Decimal("1.005")]),
        ("timestamptz(0)", "timestamp", MOMENT, MOMENT.replace(microsecond=500_000)),
        ("timestamptz(3)", "timestamp", MOMENT.replace(microsecond=1000), MOMENT.replace(microsecond=1)),
        ("time(0)", "time", time(1, 2, 3), time(1, 2, 3, 4)),
    ],
)
async def test_a_value_that_a_column_would_round_is_refused_alone(
    database: str, stored: str, wanted: Any, fits: Any, rounded: Any
) -> None:
    await execute(database, "CREATE DOMAIN price AS numeric(6, 2)")
    await execute(database, f'CREATE TABLE matches (id text PRIMARY KEY, "odd N" {stored})')
    column = {"type": wanted} if isinstance(wanted, str) else wanted
    tables = {"matches": table("id", {"id": "text", "odd N": {**column, "null": True}})}
    rows = [("a", fits), ("b", rounded), ("c", None), ("d", fits)]
    async with store_of(database, tables) as store:
        await store.prepare()
        feed = Feed(store)
        with pytest.raises(RowRefused) as refused:
            await feed.load(rows)
        assert [each.row for each in (refused.value, *refused.value.also)] == [1]
        assert refused.value.reason == "odd N: precision"
        assert "would round it" in refused.value.detail
        counts = await feed.load([row for row in rows if row[1] != rounded])
        assert counts.inserted == 3
    found = await fetch(database, 'SELECT id, "odd N" FROM matches ORDER BY id')
    assert found == [("a", fits), ("c", None), ("d", fits)]


async def test_a_number_too_large_for_its_column_is_refused_alone(database: str) -> None:
    await execute(database, "CREATE TABLE matches (id text PRIMARY KEY, n numeric(6, 2))")
    async with store_of(database, {"matches": table("id", {"id": "text", "n": "decimal"})}) as store:
        await store.prepare()
        with pytest.raises(RowRefused, match="numeric field overflow") as refused:
            await Feed(store).load([("a", Decimal(1)), ("b", Decimal(123_456))])
        assert refused.value.row == 1
