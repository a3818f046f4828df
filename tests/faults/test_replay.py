"""Replays: what was recorded goes through the present configuration as it went live, beside it or into its tables."""

import asyncio
import gzip
import json
import os
import re
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from service.model import Message
from service.recording.event import VERSION, Header, arrived
from service.recording.writing import Writer
from tests.daemon import ROOT, Daemon
from tests.exchange import Exchange
from tests.sql import execute, fetch
from tests.unit.cli.commands import command

CONFIG = """\
database: {url: "${DATABASE_URL}"}
buffer: {path: ./spool}
http: {host: 127.0.0.1, port: "${HEADRACE_PORT:-0}"}
tables:
  prices: {key: id, version: v, columns: {id: text, v: integer, p: {type: integer, max: 9000}, half: {type: decimal, null: true}}}
providers:
  exchange:
    url: ws://${ADDRESS:-127.0.0.1:9}
    feeds:
      live:
        kind: websocket
        into: prices
        where: type == 'price'
        subscribe: [{op: subscribe}]
        acknowledge: {match: {type: subscribed}}
        map: {id: id, v: v, p: p, half: half}
"""  # noqa: E501
PATIENCE = 60.0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "config.yaml").write_text(CONFIG)
    return tmp_path


async def headrace(folder: Path, database: str, *options: str, **environ: str) -> Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "service", *options,
        cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT), "DATABASE_URL": database, **environ},
        stdout=PIPE, stderr=PIPE,
    )  # fmt: skip


async def ended(process: Process) -> tuple[int, str, str]:
    async with asyncio.timeout(PATIENCE):
        out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


async def replay(folder: Path, database: str, *options: str) -> tuple[int, str, str]:
    return await ended(await headrace(folder, database, "replay", *options))


async def replayed(folder: Path, database: str, *options: str) -> dict[str, Any]:
    """Replay; give what is printed for machines."""
    code, out, err = await replay(folder, database, *options, "--json")
    assert code == 0, err
    found: dict[str, Any] = json.loads(out)
    ledger = dict(found.get("ledger", {"received": 0}))
    assert ledger.pop("received") == sum(ledger.values())
    return found


def write(path: Path, documents: Iterable[Any], feed: str = "exchange.live", first: float = 1.7e9) -> Path:
    """Record documents a second apart."""
    with Writer(path, Header(VERSION, "0.1.0", feed, first)) as writer:
        bodies = [document if isinstance(document, bytes) else json.dumps(document).encode() for document in documents]
        writer.write([arrived(Message(body, first + number), 0) for number, body in enumerate(bodies)])
    return path


def price(key: str, version: int, amount: int = 1, **more: Any) -> dict[str, Any]:
    return {"type": "price", "id": key, "v": version, "p": amount, **more}


PRICES = "select id, v, p from prices order by id"


async def test_a_replay_of_what_the_daemon_received_makes_the_same_table_and_leaves_its_position_alone(
    database: str, folder: Path
) -> None:
    async with Exchange().serving() as exchange:
        environ = {"DATABASE_URL": database, "ADDRESS": f"127.0.0.1:{exchange.port}"}
        options = ("record", "exchange.live", "live.rec", "--messages", "2000")
        async with Daemon(folder, environ, folder / "config.yaml") as daemon:
            recording = await headrace(folder, database, *options, ADDRESS=environ["ADDRESS"])
            async with asyncio.timeout(PATIENCE):
                while exchange.audience < 2:
                    await asyncio.sleep(0.01)
            await exchange.publish(2000)
            assert (await ended(recording))[0] == 0
            await daemon.until(lambda status: status["ledger"]["loaded"] > 0 and not status["ledger"]["in_flight"])
            await daemon.until(lambda status: status["ledger"]["received"] == 2000)
            live = await fetch(database, PRICES)
            position = await fetch(database, "select lane, sequence, received from headrace.positions")
            found = await replayed(folder, database, "live.rec")  # into the same tables, beside the daemon
            assert found["ledger"]["received"] == found["messages"] == 2000
            assert found["ledger"]["loaded"] == found["ledger"]["quarantined"] == 0  # nothing of it is newer
            assert await fetch(database, PRICES) == live
            names = "select feed from headrace.positions order by feed"
            assert await fetch(database, names) == [("exchange.live",), ("exchange.live@replay:live.rec",)]
            where = " where feed = 'exchange.live'"
            assert await fetch(database, f"select lane, sequence, received from headrace.positions{where}") == position
            assert await daemon.stop() == 0
    assert len(live) == 50
    found = await replayed(folder, database, "live.rec", "--diff")
    assert found["differences"] == [
        {"table": "prices", "same": 50, "only_replay": 0, "only_table": 0, "differing": 0, "columns": {},
         "rows_only_replay": [], "rows_only_table": [], "rows_differing": []}
    ]  # fmt: skip
    await execute(database, "truncate prices")
    found = await replayed(folder, database, "live.rec")
    assert found["ledger"]["loaded"] + found["ledger"]["stale"] == 2000
    assert await fetch(database, PRICES) == live


async def test_a_difference_is_told_row_by_row_and_column_by_column_and_changes_nothing(
    database: str, folder: Path
) -> None:
    first = write(folder / "first.rec", [price("a", 1), price("b", 1, half=0.50), price("c", 1), price("d", 1)])
    await replayed(folder, database, str(first))
    second = write(folder / "second.rec", [price("a", 1), price("b", 2, 7, half=0.50), price("c", 2, 8), price("e", 1)])
    tables = "select table_schema, table_name from information_schema.tables order by 1, 2"
    before = [
        await fetch(database, PRICES),
        await fetch(database, tables),
        await fetch(database, "table headrace.positions"),
    ]
    code, out, _ = await replay(folder, database, str(second), "--diff", "--limit", "1")
    assert code == 0
    assert out.splitlines() == [
        f"exchange.live: played 4 messages of {second}",
        "4 records = 4 loaded + 0 unchanged + 0 stale + 0 duplicate + 0 filtered + 0 refused",
        "prices: 1 rows are the same, 2 differ, 1 only in the replay, 1 only in the table",
        "  columns that differ: v in 2, p in 2",
        '~ id "b"',
        "    v: 2 in the replay, 1 in the table",
        "    p: 7 in the replay, 1 in the table",
        "  … 1 more differ; --limit shows more",
        '+ id "e"',
        '- id "d"',
    ]
    after = [
        await fetch(database, PRICES),
        await fetch(database, tables),
        await fetch(database, "table headrace.positions"),
    ]
    assert after == before
    assert (await replay(folder, database, str(second), "--diff", "--strict"))[0] == 1


async def test_a_scratch_schema_holds_all_that_a_replay_writes_until_it_is_dropped(database: str, folder: Path) -> None:
    await replayed(folder, database, str(write(folder / "real.rec", [price("a", 5)])))
    await execute(database, "alter table prices add check (p <> 13)")
    play = write(folder / "play.rec", [price("a", 1), price("b", 1, 13), b"{", price("c", 1, 9999), {"type": "pong"}])
    positions = await fetch(database, "table headrace.positions")
    found = await replayed(folder, database, str(play), "--schema", "Odd name")
    assert found["ledger"] == {
        "received": 5, "loaded": 1, "unchanged": 0, "stale": 0, "duplicate": 0, "filtered": 1, "quarantined": 3
    }  # fmt: skip
    assert await fetch(database, 'select id, v from "Odd name".prices') == [("a", 1)]
    reasons = await fetch(database, 'select reason from "Odd name_headrace".quarantine order by id')
    assert sorted(reasons) == [("json: not decodable",), ("p: max",), ("prices_p_check: check_violation",)]
    assert await fetch(database, "select id, v from prices") == [("a", 5)]
    assert await fetch(database, "table headrace.positions") == positions
    assert await fetch(database, "select * from headrace.quarantine") == []
    assert (await replay(folder, database, str(play), "--schema", "Odd name", "--drop", "--strict"))[0] == 1
    schemas = "select nspname from pg_namespace where nspname like 'Odd%'"
    assert await fetch(database, schemas) == []


GOALS = """\
database: {url: "${DATABASE_URL}"}
tables:
  goals: {key: id, version: v, history: true, columns: {id: text, v: timestamp, n: integer}}
providers:
  acme:
    url: http://127.0.0.1:9
    feeds:
      all: {kind: rest, records: goals, absent: delete, delete_when: gone == true, into: goals,
        map: {id: id, v: v, n: n}}
"""


async def test_what_a_scratch_replay_deletes_is_deleted_there_only(database: str, folder: Path) -> None:
    (folder / "config.yaml").write_text(GOALS)

    def polls(*sets: list[dict[str, Any]]) -> list[Message]:
        metas = [{"set": str(number), "page": 0, "last": True} for number in range(len(sets))]
        bodies = [json.dumps({"goals": each}).encode() for each in sets]
        return [Message(body, 1.7e9, None, meta) for body, meta in zip(bodies, metas, strict=True)]

    def goal(key: str, second: int, **more: Any) -> dict[str, Any]:
        return {"id": key, "v": f"2026-01-01T00:00:{second:02}Z", "n": second, **more}

    def play(name: str, messages: list[Message]) -> str:
        with Writer(folder / name, Header(VERSION, "0.1.0", "acme.all", 1.7e9)) as writer:
            writer.write([arrived(message, 0) for message in messages])
        return str(folder / name)

    real = play("real", polls([goal("a", 1), goal("b", 1), goal("c", 1)]))
    await replayed(folder, database, real)
    later = play("later", polls([goal("a", 2), goal("b", 1), goal("c", 1)], [goal("a", 3), goal("c", 4, gone=True)]))
    found = await replayed(folder, database, later, "--diff", "--schema", "beside")
    assert found["ledger"]["loaded"] == 5
    assert found["differences"][0]["columns"] == {"v": 1, "n": 1}
    assert [row["id"] for row in found["differences"][0]["rows_only_table"]] == ["b", "c"]
    assert await fetch(database, "select id, n from beside.goals") == [("a", 3)]
    assert len(await fetch(database, "select * from beside.goals_history where id = 'a'")) == 2
    assert len(await fetch(database, "table beside_headrace.deleted")) == 1
    assert await fetch(database, "select id, n from goals order by id") == [("a", 1), ("b", 1), ("c", 1)]
    assert await fetch(database, "table headrace.deleted") == []
    # Into the real tables a record that deletes does so, but rows are not absent from what was a full set then.
    await replayed(folder, database, later)
    assert await fetch(database, "select id, n from goals order by id") == [("a", 3), ("b", 1)]


async def test_a_schema_of_somebody_else_is_neither_filled_nor_dropped(database: str, folder: Path) -> None:
    await execute(database, "create schema mine", "create table mine.prices (a int)")
    play = str(write(folder / "play.rec", [price("a", 1)]))
    code, _, err = await replay(folder, database, play, "--schema", "mine", "--drop")
    assert code == 1
    assert "the schema mine exists and was not made by a replay" in err
    assert "Traceback" not in err
    assert await fetch(database, "select count(*) from mine.prices") == [(0,)]


async def test_a_dry_run_counts_what_would_become_of_the_records_and_asks_no_database(folder: Path) -> None:
    play = str(write(folder / "play.rec", [price("a", 1), price("b", 1, 9999), {"type": "pong"}, b"{"]))
    code, out, _ = await replay(folder, "postgresql://127.0.0.1:9/none", play, "--dry-run")
    assert code == 0
    assert out.splitlines() == [
        f"exchange.live: 4 messages of {play}",
        "4 records = 1 load + 0 delete + 1 left out + 2 refused",
        "  1 into prices",
        "  1 refused: p: max",
        "  1 refused: json: not decodable",
    ]
    assert (await replay(folder, "postgresql://127.0.0.1:9/none", play, "--dry-run", "--strict"))[0] == 1


async def test_at_a_speed_messages_come_in_the_time_of_the_recording(database: str, folder: Path) -> None:
    # 41 messages over 40 s. At a hundred times the speed they take 0.4 s: each is loaded by itself.
    play = str(write(folder / "play.rec", (price("a", number) for number in range(41))))
    await replayed(folder, database, play, "--speed", "100")
    batches = await fetch(
        database, "select count(*), extract(epoch from max(committed_at) - min(committed_at)) from headrace.batches"
    )
    assert batches[0][0] > 1
    assert batches[0][1] > 0.2
    await replayed(folder, database, play, "--schema", "quick")
    assert (await fetch(database, "select count(*) from quick_headrace.batches"))[0][0] <= 3


async def test_interrupted_it_begins_anew_and_does_no_harm(database: str, folder: Path) -> None:
    play = str(write(folder / "play.rec", (price(f"k{number}", number) for number in range(100))))
    process = await headrace(folder, database, "replay", play, "--speed", "10")
    async with asyncio.timeout(PATIENCE):
        while not await _count(database):
            await asyncio.sleep(0.02)
    process.send_signal(signal.SIGINT)
    code, _, err = await ended(process)
    assert code == 1
    assert "a replay always begins with the first message" in err
    found = await replayed(folder, database, play)
    assert found["ledger"]["received"] == 100
    assert found["ledger"]["unchanged"] > 0
    assert await _count(database) == 100


async def _count(database: str) -> int:
    there = await fetch(database, "select 1 from pg_tables where tablename = 'prices'")
    return int((await fetch(database, "select count(*) from prices"))[0][0]) if there else 0


async def test_what_is_torn_or_damaged_costs_no_message_before_it_and_is_told(database: str, folder: Path) -> None:
    torn, damaged = write(folder / "torn.rec", [price("a", 1)]), write(folder / "damaged.rec", [price("b", 1)])
    data = damaged.read_bytes()
    torn.write_bytes(torn.read_bytes() + data[:20])
    code, out, err = await replay(folder, database, str(torn))
    assert (code, out.startswith("exchange.live: played 1 messages ")) == (0, True)
    assert "the last 20 bytes of" in err
    damaged.write_bytes(data + data[:-1] + bytes([data[-1] ^ 1]) + data)  # recordings may be put one behind another
    code, out, err = await replay(folder, database, str(damaged))
    assert code == 1
    assert f"damaged.rec: damaged from byte {len(data) + data.rindex(bytes.fromhex('28b52ffd'))} on" in err
    assert await fetch(database, "select id from prices order by id") == [("a",), ("b",)]


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("none.rec",), 1, "none.rec: No such file or directory"),
        (("config.yaml",), 1, "config.yaml is no recording"),
        (("play.rec", "--feed", "exchange.lives"), 2, "did you mean exchange.live?"),
        (("capture",), 2, "name it with --feed PROVIDER.FEED"),
        (("play.rec", "--speed", "fast"), 2, "a number such as 1 or 10, or max"),
        (("play.rec", "--drop"), 2, "--drop drops what --schema names"),
        (("play.rec", "--schema", "public"), 2, "a schema apart from the configured one"),
    ],
)
def test_a_wrong_command_line_is_told_before_anything_starts(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: tuple[str, ...],
    code: int,
    said: str,
) -> None:
    write(folder / "play.rec", [])
    (folder / "capture").write_text("1618678132.368463: {}\n")
    assert command(monkeypatch, folder, "replay", *options) == code
    assert said in capsys.readouterr().err


async def test_other_commands_take_a_recording_for_a_sample_or_say_what_plays_it(folder: Path) -> None:
    write(folder / "play.rec", [price("a", 1), {"type": "pong"}, price("b", 2)])
    preview, infer, backfill = [
        await ended(await headrace(folder, "postgresql://127.0.0.1:9/none", *options, COLUMNS="300"))
        for options in (
            ("preview", "exchange.live", "--from", "play.rec"),
            ("infer", "play.rec"),
            ("backfill", "exchange.live", "--from", "play.rec"),
        )
    ]
    assert preview[0] == 0
    assert "3 records: 2 load, 1 left out, 0 refused" in preview[1]
    assert infer[0] == 0
    assert infer[1].startswith("# 3 records of play.rec; ")
    assert "p: p" in infer[1]
    assert backfill[0] == 2
    assert "`headrace replay play.rec` plays it" in backfill[2]


# Captures of real exchanges, with tables computed here by plain Python.

LIVE = Path("/work/shared/feeds/live")
CAPTURES = """\
database: {url: "${DATABASE_URL}"}
tables:
  tickers: {key: pair, version: at, columns: {pair: text, bid: decimal, ask: decimal, trades: integer, at: timestamp}}
  trades: {key: [pair, at], columns: {pair: text, at: text, price: decimal, amount: decimal, all: json}}
  channels: {key: id, columns: {id: integer, channel: text, pair: text}}
  books: {key: [channel, price], version: seq,
    columns: {channel: integer, price: decimal, orders: integer, amount: decimal, seq: integer}}
  snapshots: {key: [channel, seq], columns: {channel: integer, seq: integer, entries: json}}
  diffs: {key: channel, version: micros, columns: {channel: text, micros: integer, bids: json, asks: json}}
  deals: {key: id, columns: {id: integer, channel: text, price: decimal, amount: text, sold: boolean}}
providers:
  kraken:
    feeds:
      all:
        kind: websocket
        url: wss://ws.kraken.com
        format: {kind: json, single: true}
        on_drift: ignore
        routes:
          - where: type(record) == list && record[2] == 'ticker'
            into: tickers
            map: {pair: "[3]", bid: "[1].b[0]", ask: "[1].a[0]", trades: "[1].t[1]", at: $received_at}
          - where: type(record) == list && record[2] == 'trade'
            into: trades
            map: {pair: "[3]", at: "[1][0][2]", price: "[1][0][0]", amount: "[1][0][1]", all: "[1]"}
  bitfinex:
    feeds:
      all:
        kind: websocket
        url: wss://api.bitfinex.com/ws/2
        format: {kind: json, single: true}
        on_drift: ignore
        routes:
          - where: type(record) == map && record.event == 'subscribed'
            into: channels
            map: {id: chanId, channel: channel, pair: symbol}
          - where: type(record) == list && type(record[1]) == list && size(record[1]) == 3 && type(record[1][0]) != list
            into: books
            map: {channel: "[0]", price: "[1][0]", orders: "[1][1]", amount: "[1][2]", seq: "[2]"}
          - where: type(record) == list && type(record[1]) == list && type(record[1][0]) == list
            into: snapshots
            map: {channel: "[0]", seq: "[2]", entries: "[1]"}
  bitstamp:
    feeds:
      all:
        kind: websocket
        url: wss://ws.bitstamp.net
        on_drift: ignore
        routes:
          - where: event == 'data'
            into: diffs
            map: {channel: channel, micros: data.microtimestamp, bids: data.bids, asks: data.asks}
          - where: event == 'trade'
            into: deals
            map: {id: data.id, channel: channel, price: data.price, amount: data.amount_str, sold: {from: data.type, values: {0: false, 1: true}}}
"""  # noqa: E501


def frames(name: str) -> list[tuple[float, Any]]:
    """Read what was received, with plain means: one line each in these captures."""
    lines = (
        re.fullmatch(r"([\d.]+): (.*)", line)
        for line in gzip.decompress((LIVE / name).read_bytes()).decode().split("\n")
    )
    return [(float(line[1]), json.loads(line[2], parse_float=Decimal)) for line in lines if line is not None]


def tickers(name: str) -> list[tuple[Any, ...]]:
    rows = {}
    for at, frame in frames(name):
        if isinstance(frame, list) and frame[2] == "ticker":
            _, data, _, pair = frame
            moment = datetime.fromtimestamp(at, UTC)
            rows[pair] = (pair, Decimal(data["b"][0]), Decimal(data["a"][0]), data["t"][1], moment)
    return sorted(rows.values())


def trades(name: str) -> list[tuple[Any, ...]]:
    found = [frame for _, frame in frames(name) if isinstance(frame, list) and frame[2] == "trade"]
    return sorted({(pair, data[0][2], Decimal(data[0][0]), Decimal(data[0][1])) for _, data, _, pair in found})


def books(name: str) -> list[tuple[Any, ...]]:
    rows: dict[Any, Any] = {}
    for _, frame in frames(name):
        if isinstance(frame, list) and len(frame[1]) == 3 and not isinstance(frame[1][0], list):
            channel, (price, orders, amount), seq = frame
            if seq >= rows.get((channel, price), (0,) * 5)[4]:
                rows[channel, Decimal(price)] = (channel, Decimal(price), orders, Decimal(amount), seq)
    return sorted(rows.values())


def diffs(name: str) -> list[tuple[Any, ...]]:
    rows: dict[Any, Any] = {}
    for _, frame in frames(name):
        if frame["event"] == "data":
            micros = int(frame["data"]["microtimestamp"])
            if micros >= rows.get(frame["channel"], (0, 0))[1]:
                rows[frame["channel"]] = (frame["channel"], micros, len(frame["data"]["bids"]))
    return sorted(rows.values())


def deals(name: str) -> list[tuple[Any, ...]]:
    found = [frame for _, frame in frames(name) if frame["event"] == "trade"]
    return sorted(
        (deal["id"], frame["channel"], Decimal(deal["price"]), deal["amount_str"], deal["type"] == 1)
        for frame in found for deal in [frame["data"]]
    )  # fmt: skip


@pytest.mark.skipif(not LIVE.is_dir(), reason="the recorded payloads are not here")
@pytest.mark.parametrize(
    ("name", "feed", "computed"),
    [
        ("KRAKEN.ws.49.0.gz", "kraken.all", {"select * from tickers": tickers}),
        ("KRAKEN.ws.48.0.gz", "kraken.all", {"select pair, at, price, amount from trades": trades}),
        ("BITFINEX.ws.11.0.gz", "bitfinex.all", {"select * from books": books}),
        (
            "BITSTAMP.ws.1.0.gz",
            "bitstamp.all",
            {"select channel, micros, jsonb_array_length(bids) from diffs": diffs, "select * from deals": deals},
        ),
    ],
)
async def test_a_capture_of_an_exchange_makes_the_tables_that_are_computed_from_it(
    database: str, folder: Path, name: str, feed: str, computed: dict[str, Callable[[str], list[tuple[Any, ...]]]]
) -> None:
    (folder / "config.yaml").write_text(CAPTURES)
    found = await replayed(folder, database, str(LIVE / name), "--feed", feed)
    assert found["messages"] == found["ledger"]["received"] == len(frames(name))
    assert found["ledger"]["quarantined"] == 0
    for query, rows in computed.items():
        expected = rows(name)
        assert sorted(await fetch(database, query)) == expected
        assert expected
