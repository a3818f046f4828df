"""The mapping that peers share, as short as Python can say it: nothing is checked."""

from datetime import datetime
from typing import Any

COLUMNS = (
    "provider", "match_id", "kickoff", "home", "away", "status", "home_score", "away_score", "odds_home", "odds_away",
    "minute", "updated_at",
)  # fmt: skip
STATUS = {"TIMED": "scheduled", "IN_PLAY": "live", "FINISHED": "finished"}
STAGE = "create temp table stage (like matches) on commit drop"
UPSERT = (
    f"insert into matches select {', '.join(COLUMNS)} from stage order by provider, match_id"
    " on conflict (provider, match_id) do update set "
    + ", ".join(f"{name} = excluded.{name}" for name in COLUMNS[2:])
    + " where excluded.updated_at >= matches.updated_at"
)


def row(message: dict[str, Any]) -> tuple[Any, ...]:
    """Map one message to a row."""
    match = message["match"]
    return (
        "bench", match["id"], datetime.fromisoformat(match["utcDate"]), match["home"]["name"].strip(),
        match["away"]["name"].strip(), STATUS[match["status"]], match["score"]["home"], match["score"]["away"],
        match["odds"]["home"], match["odds"]["away"], match["minute"], datetime.fromisoformat(message["ts"]),
    )  # fmt: skip
