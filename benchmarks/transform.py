"""What decoding and mapping cost per record: 12 columns out of a JSON record, beside a reference written by hand.

Medians of interleaved runs. The control runs the same mapping twice under two names: what differs between those two is
noise, and no other difference that small means anything.

    python benchmarks/transform.py [RUNS]
"""

import json
import statistics
import sys
import time
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any

from service.config.feeds import FeedSettings
from service.config.tables import Table
from service.model import Message
from service.transform.transform import Piece, Transform

RECORDS = 100
REPEATS = 20
RUNS = 25

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
    "homeTeam": {"name": " Arsenal FC "},
    "awayTeam": {"name": "Chelsea FC"},
    "venue": "Emirates Stadium",
    "status": "TIMED",
    "score": {"fullTime": {"home": 1, "away": 2}},
    "odds": {"home": 1.85, "away": 4.2},
    "neutral": False,
}


def transform(**feed: Any) -> Transform:
    table = Table.model_validate({"key": ["provider", "match_id"], "columns": COLUMNS})
    settings = FeedSettings.model_validate({"into": "matches", "map": MAP, **feed})
    return Transform("acme.fixtures", settings, {"matches": table})


def by_hand(records: list[Any]) -> list[Any]:
    """Map without any check: about the least that Python can do."""
    words = {"TIMED": "scheduled", "IN_PLAY": "live", "FINISHED": "finished"}
    return [
        (
            "acme",
            record["id"].strip(),
            datetime.fromisoformat(record["utcDate"]),
            record["homeTeam"]["name"].strip(),
            record["awayTeam"]["name"].strip(),
            record["venue"].strip(),
            words[record["status"]],
            int(record["score"]["fullTime"]["home"]),
            int(record["score"]["fullTime"]["away"]),
            Decimal(record["odds"]["home"]),
            Decimal(record["odds"]["away"]),
            bool(record["neutral"]),
        )
        for record in records
    ]


def cases() -> dict[str, Callable[[], Any]]:
    plain, chosen = transform(), transform(where="status == 'TIMED'")
    message = Message(json.dumps([RECORD] * RECORDS).encode(), time.time())
    single = [Message(json.dumps(RECORD).encode(), time.time()) for _ in range(RECORDS)]
    records, whole = plain.read(message), plain.decode(message)
    bad = [{**RECORD, "neutral": "perhaps"}] * RECORDS
    broken = Message(json.dumps(bad).encode(), time.time())
    return {
        "decode whole": lambda: plain.decode(message),
        "decode what is mapped": lambda: plain.read(message),
        "map": lambda: plain.map([Piece(message, records)]),
        "map again (control)": lambda: plain.map([Piece(message, records)]),
        "both": lambda: plain.map([Piece(message, plain.read(message))]),
        "both, one record a message": lambda: plain.map([Piece(one, plain.read(one)) for one in single]),
        "map with where": lambda: chosen.map([Piece(message, whole)]),
        "refuse every record": lambda: plain.map([Piece(broken, bad)]),
        "map by hand, unchecked": lambda: by_hand(whole),
    }


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else RUNS
    measured: dict[str, list[float]] = {name: [] for name in cases()}
    work = cases()
    for _ in range(runs):
        for name, case in work.items():
            start = time.process_time()
            for _ in range(REPEATS):
                case()
            measured[name].append((time.process_time() - start) / REPEATS / RECORDS * 1e6)
    print(
        f"us of CPU per record of {len(json.dumps(RECORD))} bytes and {len(COLUMNS)} columns, {runs} interleaved runs"
    )
    for name, figures in measured.items():
        low, _, high = statistics.quantiles(figures, n=4)
        print(f"{name:28} {statistics.median(figures):6.2f}   (quartiles {low:.2f} .. {high:.2f})")


if __name__ == "__main__":
    main()
