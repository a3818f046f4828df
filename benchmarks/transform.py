"""What decoding and mapping cost per record: 12 columns out of 1.4 KB of JSON, beside references.

Medians of interleaved runs. The control runs the same mapping twice under two names: what differs between those two is
noise, and no other difference that small means anything. The references are a mapping written by hand, without a check,
and an interpreter that walks the same configuration for each record. Then the worker runs at full load, and the lag of
the loop beside it is measured.

    python -m benchmarks.transform [RUNS]
"""

import asyncio
import gc
import json
import statistics
import sys
import time
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any

from service.buffer.memory import Memory
from service.config.feeds import FeedSettings
from service.config.paths import parse_path
from service.config.settings import Batch as Bounds
from service.config.tables import Column, Table
from service.daemon import COLLECT_EVERY
from service.lookup import lookup
from service.model import Message
from service.pipeline.batch import Batches
from service.pipeline.breaker import Breaker
from service.pipeline.ledger import Ledger
from service.pipeline.tap import Tap
from service.pipeline.worker import Worker
from service.transform.kinds import KINDS
from service.transform.transform import Piece, Transform

RECORDS = 100
REPEATS = 20
RUNS = 25
LOAD_SECONDS = 5.0
TICK = 0.001
PAGE = 190
"""Records in a piece of a longer body, as it is cut: 256 KiB."""
FEED = "acme.fixtures"
WHERE = "status == 'TIMED' && score.fullTime.home != null"

COLUMNS = {
    "provider": "text",
    "match_id": "text",
    "kickoff": "timestamp",
    "home": {"type": "text", "max_length": 120},
    "away": {"type": "text", "max_length": 120},
    "venue": {"type": "text", "null": True},
    "status": {"type": "text", "values": ["scheduled", "live", "finished"]},
    "home_score": {"type": "integer", "min": 0, "max": 200, "null": True},
    "away_score": {"type": "integer", "min": 0, "max": 200, "null": True},
    "odds_home": {"type": "decimal", "min": 1, "null": True},
    "odds_away": {"type": "decimal", "min": 1, "null": True},
    "neutral": "boolean",
}
MAP = {
    "provider": {"const": "acme"},
    "match_id": "id",
    "kickoff": "utcDate",
    "home": "homeTeam.name",
    "away": "awayTeam.name",
    "venue": "venue",
    "status": {"from": "status", "values": {"TIMED": "scheduled", "IN_PLAY": "live", "FINISHED": "finished"}},
    "home_score": "score.fullTime.home",
    "away_score": "score.fullTime.away",
    "odds_home": "odds.home",
    "odds_away": "odds.away",
    "neutral": "neutral",
}
RECORD = {
    "id": "m-1234567",
    "utcDate": "2026-01-01T15:00:00Z",
    "homeTeam": {
        "id": 57,
        "name": " Arsenal FC ",
        "shortName": "Arsenal",
        "tla": "ARS",
        "crest": "https://x.example/57",
    },
    "awayTeam": {"id": 61, "name": "Chelsea FC", "shortName": "Chelsea", "tla": "CHE", "crest": "https://x.example/61"},
    "venue": "Emirates Stadium",
    "status": "TIMED",
    "score": {
        "winner": "AWAY_TEAM",
        "duration": "REGULAR",
        "fullTime": {"home": 1, "away": 2},
        "halfTime": {"home": 0},
    },
    "odds": {"home": 1.85, "away": 4.2},
    "neutral": False,
    "referees": [{"id": number, "name": f"Referee {number}", "role": "ASSISTANT"} for number in range(6)],
    "statistics": {f"statistic_{number}": {"home": number, "away": number * 1.5} for number in range(11)},
}
WORDS = {"TIMED": "scheduled", "IN_PLAY": "live", "FINISHED": "finished"}


TABLE = Table.model_validate({"key": ["provider", "match_id"], "columns": COLUMNS})


def settings(**feed: Any) -> FeedSettings:
    return FeedSettings.model_validate({"into": "matches", "map": MAP, **feed})


def transform(**feed: Any) -> Transform:
    return Transform(FEED, settings(**feed), {"matches": TABLE})


def by_hand(records: list[Any]) -> list[Any]:
    """Map without any check: about the least that Python can do."""
    return [
        (
            "acme",
            record["id"].strip(),
            datetime.fromisoformat(record["utcDate"]),
            record["homeTeam"]["name"].strip(),
            record["awayTeam"]["name"].strip(),
            record["venue"].strip(),
            WORDS[record["status"]],
            int(record["score"]["fullTime"]["home"]),
            int(record["score"]["fullTime"]["away"]),
            Decimal(record["odds"]["home"]),
            Decimal(record["odds"]["away"]),
            bool(record["neutral"]),
        )
        for record in records
    ]


class Interpreter:
    """Walks the configuration for each record: the same conversions, and the checks that this table has."""

    def __init__(self) -> None:
        (branch,) = settings().branches
        self._steps = [
            (column, branch.map[name], KINDS[column.type].convert(column)) for name, column in TABLE.columns.items()
        ]
        self._paths = {path: parse_path(path) for _, source, _ in self._steps for path in source.from_}

    def __call__(self, records: list[Any]) -> list[Any]:
        """Map records."""
        return [tuple(self._value(record, *step) for step in self._steps) for record in records]

    def _value(self, record: Any, column: Column, source: Any, convert: Callable[[Any], Any]) -> Any:
        value = source.const
        for path in source.from_:
            value = lookup(record, self._paths[path])
            if value is not None:
                break
        if value is not None and source.values is not None:
            value = source.values[value]
        if value is not None:
            value = convert(value)
            if column.type == "text":
                value = value.strip() or None
        if value is not None:
            _check(column, value)
        elif column.default is None and not column.null:
            raise ValueError(column)
        return value if value is not None else column.default


def _check(column: Column, value: Any) -> None:
    is_low = column.min is not None and not value >= column.min
    is_high = column.max is not None and not value <= column.max
    is_long = column.max_length is not None and len(value) > column.max_length
    if is_low or is_high or is_long or (column.values is not None and value not in column.values):
        raise ValueError(column)


def cases() -> dict[str, Callable[[], Any]]:
    plain, chosen, interpreter = transform(), transform(where=WHERE), Interpreter()
    library = transform(where=f"({WHERE}) == true")  # says the same, but not as simply
    message = Message(json.dumps([RECORD] * RECORDS).encode(), time.time())
    single = [Message(json.dumps(RECORD).encode(), time.time()) for _ in range(RECORDS)]
    looked_up = library.read(message)
    records, wanted, whole = plain.read(message), chosen.read(message), plain.decode(message)
    bad = [{**RECORD, "neutral": "perhaps"}] * RECORDS
    broken = Message(json.dumps(bad).encode(), time.time())
    assert interpreter(whole) == plain.map([Piece(message, records)]).rows
    assert chosen.map([Piece(message, wanted)]).rows == library.map([Piece(message, library.read(message))]).rows
    return {
        "decode whole": lambda: plain.decode(message),
        "decode what is mapped": lambda: plain.read(message),
        "map": lambda: plain.map([Piece(message, records)]),
        "map again (control)": lambda: plain.map([Piece(message, records)]),
        "map with where": lambda: chosen.map([Piece(message, wanted)]),
        "map with where, by the library": lambda: library.map([Piece(message, looked_up)]),
        "map what was decoded whole": lambda: transform_whole(plain, message, whole),
        "interpreter, decoded whole": lambda: interpreter(whole),
        "by hand, unchecked": lambda: by_hand(whole),
        "decode and map": lambda: plain.map([Piece(message, plain.read(message))]),
        "one record a message": lambda: plain.map([Piece(one, plain.read(one)) for one in single]),
        "one record a message, where": lambda: chosen.map([Piece(one, chosen.read(one)) for one in single]),
        "refuse every record": lambda: plain.map([Piece(broken, bad)]),
    }


def transform_whole(plain: Transform, message: Message, whole: list[Any]) -> None:
    """Run the function for records that were decoded whole, as formats other than JSON have it."""
    plain._run([Piece(message, whole)], [], [].append, print)  # noqa: SLF001  no feed chooses between the two


def costs(runs: int) -> None:
    work = cases()
    measured: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(runs):
        for name, case in work.items():
            start = time.process_time()
            for _ in range(REPEATS):
                case()
            measured[name].append((time.process_time() - start) / REPEATS / RECORDS * 1e6)
    print(f"us of CPU per record of {len(json.dumps(RECORD))} B and {len(COLUMNS)} columns, {runs} interleaved runs")
    for name, figures in measured.items():
        low, _, high = statistics.quantiles(figures, n=4)
        print(f"{name:32} {statistics.median(figures):6.2f}   (quartiles {low:.2f} .. {high:.2f})")


async def lag(per_message: int, **feed: Any) -> None:
    """Print how late the loop is beside a worker that always has more to do, and its own CPU in that time.

    On a machine that others use as well the first is theirs as much as ours.
    """
    mapping, late, busy = transform(**feed), list[float](), list[float]()
    lane = await Memory(1 << 30, [FEED]).lane(FEED)
    document: Any = RECORD if per_message == 1 else [RECORD] * per_message
    body = json.dumps(document).encode()
    await lane.append([Message(body, time.time()) for _ in range(max(1, 40_000 // per_message))])
    batches = Batches(mapping, Bounds())
    tap = Tap(mapping, {"matches": TABLE})
    worker = Worker(lane, mapping, batches, Ledger(), Breaker(FEED, 1000), tap)
    rows = 0

    async def work() -> None:
        while True:
            await worker.run(0)

    async def take() -> None:
        nonlocal rows
        while (batch := await batches.take(0)) is not None:
            rows += len(batch.rows)

    async def tick() -> None:
        end = time.monotonic() + LOAD_SECONDS
        while (now := time.monotonic()) < end:
            used = time.process_time()
            await asyncio.sleep(TICK)
            late.append(time.monotonic() - now - TICK)
            busy.append(time.process_time() - used)

    lane.close()
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_EVERY, 20, 20)
    async with asyncio.TaskGroup() as group:
        others = [group.create_task(work()), group.create_task(take())]
        await tick()
        for other in others:
            other.cancel()
    p50, p99, own = (
        statistics.median(late),
        statistics.quantiles(late, n=100)[-1],
        statistics.quantiles(busy, n=100)[-1],
    )
    kind = ", ".join(f"{name}: {value}" for name, value in feed.items()) or "plain"
    print(
        f"loop lag, {per_message} records a message, {kind}: p50 {p50 * 1e3:.1f} ms, p99 {p99 * 1e3:.1f} ms "
        f"({own * 1e3:.1f} ms of CPU), at {rows / LOAD_SECONDS:,.0f} records/s"
    )


def main() -> None:
    costs(int(sys.argv[1]) if len(sys.argv) > 1 else RUNS)
    for per_message, feed in ((1, {}), (1, {"where": WHERE}), (PAGE, {}), (PAGE, {"where": "has(record.id)"})):
        asyncio.run(lag(per_message, **feed))


if __name__ == "__main__":
    main()
