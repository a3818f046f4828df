"""What many a script does: one message, one upsert, one transaction."""

import asyncio
import json
import sys
from datetime import datetime

import asyncpg
from websockets.asyncio.client import connect

STATUS = {"TIMED": "scheduled", "IN_PLAY": "live", "FINISHED": "finished"}
UPSERT = """
INSERT INTO matches VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
ON CONFLICT (provider, match_id) DO UPDATE SET kickoff = $3, home = $4, away = $5, status = $6, home_score = $7,
 away_score = $8, odds_home = $9, odds_away = $10, minute = $11, updated_at = $12
WHERE excluded.updated_at >= matches.updated_at
"""


async def main(url: str, port: str) -> None:
    """Receive and write until killed."""
    database = await asyncpg.connect(url)
    async with connect(f"ws://127.0.0.1:{port}/0", compression=None, ping_interval=None) as connection:
        await connection.send("go")
        async for frame in connection:
            message = json.loads(frame)
            match = message["match"]
            await database.execute(
                UPSERT, "bench", match["id"], datetime.fromisoformat(match["utcDate"]), match["home"]["name"],
                match["away"]["name"], STATUS[match["status"]], match["score"]["home"], match["score"]["away"],
                match["odds"]["home"], match["odds"]["away"], match["minute"], datetime.fromisoformat(message["ts"]),
            )  # fmt: skip


asyncio.run(main(*sys.argv[1:]))
