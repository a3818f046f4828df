"""Snapshots and deltas of order books meet in one table: it ends as the books do, whatever was lost on the way."""

import asyncio
import random
import time
from pathlib import Path
from typing import Any

import pytest

from service.config.load import loads
from service.daemon import Daemon
from tests.book import SYMBOLS, Books
from tests.daemon import balanced
from tests.sql import fetch

CONFIG = """
database: {url: "%(database)s"}
buffer: {path: "%(folder)s"}
http: {host: 127.0.0.1, port: 0}
tables:
  levels:
    key: [symbol, side, price]
    version: u
    columns: {symbol: text, side: text, price: integer, q: integer, u: integer}
providers:
  exchange:
    url: %(site)s
    feeds:
      deltas:
        kind: websocket
        url: ws://127.0.0.1:%(port)s
        heartbeat: {expect: {hello: "*"}}
        sequence:
          first: U
          last: u
          key: s
          on_gap: {refetch: depth, params: {symbol: "{gap.key}"}, number: u}
        transform: tests.book:levels
        delete_when: q == 0
        into: levels
        map: &levels {symbol: s, side: side, price: price, q: q, u: u}
      depth:
        kind: rest
        path: /depth
        params: {symbol: A}
        every: 1h
        snapshot: symbol
        delete_when: q == 0
        transform: tests.book:levels
        into: levels
        map: *levels
"""
LEVELS = "select symbol, side, price, q from levels order by symbol, side, price"
PATIENCE = 40.0


async def play(books: Books, luck: random.Random) -> None:
    """Change books, and lose, double, swap and delay some of what is told of it."""
    for _ in range(luck.randint(20, 40)):
        messages = [books.delta(luck.choice(SYMBOLS)) for _ in range(luck.randint(1, 30))]
        match luck.choice(("whole", "whole", "drop", "double", "swap", "cut")):
            case "drop":
                messages = [message for message in messages if luck.random() < 0.8]
            case "double":
                messages += messages
            case "swap":
                luck.shuffle(messages)
            case "cut":
                books.cut()
        books.lag = luck.choice((0, 0, 5, 15))
        await books.send(messages)
        await asyncio.sleep(luck.choice((0.0, 0.05, 0.2)))


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_a_book_that_loses_messages_ends_as_the_exchange_has_it(database: str, tmp_path: Path, seed: int) -> None:
    luck = random.Random(seed)
    async with Books(seed).serving() as books:
        values = {"database": database, "folder": tmp_path / "spool", "site": books.site.url, "port": books.port}
        daemon = Daemon(loads(CONFIG % values, "test", {}))
        async with asyncio.TaskGroup() as group:
            task = group.create_task(daemon.run())
            try:
                await books.heard()
                await play(books, luck)
                books.lag = 0
                await ends_well(books, daemon, database)
            finally:
                daemon.stop()
        assert task.result() == 0
        assert balanced(daemon.overview.status())
        assert daemon.overview.status()["ledger"]["quarantined"] == 0


async def test_a_book_that_a_snapshot_shows_empty_is_empty_in_the_table(database: str, tmp_path: Path) -> None:
    async with Books(4).serving() as books:
        values = {"database": database, "folder": tmp_path / "spool", "site": books.site.url, "port": books.port}
        daemon = Daemon(loads(CONFIG % values, "test", {}))
        async with asyncio.TaskGroup() as group:
            group.create_task(daemon.run())
            try:
                await books.heard()
                await ends_well(books, daemon, database)
                await books.send([books.empty("A")])
                limit = time.monotonic() + PATIENCE
                while (found := await fetch(database, LEVELS)) != books.rows():
                    assert time.monotonic() < limit, found
                    await asyncio.sleep(0.05)
            finally:
                daemon.stop()
        assert {symbol for symbol, *_ in found} == {"B", "C"}


async def ends_well(books: Books, daemon: Daemon, database: str) -> None:
    """Let each book change once more, unharmed, and wait until the table is what the books are, and no gap is open."""
    await books.heard()
    limit = time.monotonic() + PATIENCE
    found: list[tuple[Any, ...]] = []
    expected: list[tuple[Any, ...]] = []
    while time.monotonic() < limit:
        await books.send([books.delta(symbol) for symbol in SYMBOLS])
        await asyncio.sleep(0.5)
        expected = books.rows()
        found = sorted(await fetch(database, "select symbol, side, price, q from levels")) if is_ready(daemon) else []
        if found == expected and daemon.overview.status()["feeds"]["exchange.deltas"]["open_gaps"] == 0:
            break
    refused = await fetch(database, "select reason, detail from headrace.quarantine limit 1")
    assert (refused, found) == ([], expected)
    ((gaps, filled),) = await fetch(database, "select count(*), count(filled_at) from headrace.gaps")
    assert gaps == filled
    assert gaps >= len(SYMBOLS)  # each book began in the middle


def is_ready(daemon: Daemon) -> bool:
    return daemon.overview.ready() and "ledger" in daemon.overview.status()["feeds"]["exchange.deltas"]
