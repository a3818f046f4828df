"""What the providers write: a match as REST shows it, the score message of the WebSocket, and its spoilt forms."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec
from websockets.frames import Frame, Opcode

from service.demo.clubs import CLUBS
from service.demo.season import Match

encode = msgspec.json.Encoder(decimal_format="number").encode
"""Write JSON; decimals keep their digits (2.10 stays 2.10)."""

_REST_STATUS = {"scheduled": "TIMED", "live": "IN_PLAY", "finished": "FINISHED", "postponed": "POSTPONED"}
_LIVE_STATUS = {"scheduled": "pre", "live": "live", "finished": "ft", "postponed": "ppd"}


def rest_match(match: Match, updated_at: datetime) -> dict[str, Any]:
    """Give a match as an item of the REST answer."""
    return {
        "id": match.id,
        "utcDate": match.kickoff,
        "matchday": match.matchday,
        "status": _REST_STATUS[match.status],
        "homeTeam": {"name": CLUBS[match.home].rest},
        "awayTeam": {"name": CLUBS[match.away].rest},
        "score": {"fullTime": {"home": match.home_score, "away": match.away_score}},
        "odds": None if match.odds_home is None else {"home": match.odds_home},
        "lastUpdated": updated_at,
    }


def score(sequence: int, match: Match, updated_at: datetime) -> dict[str, Any]:
    """Give a match as a score message of the WebSocket: the same facts under other names."""
    data = {
        "id": match.id,
        "utc": match.kickoff,
        "home": CLUBS[match.home].live,
        "away": CLUBS[match.away].live,
        "st": _LIVE_STATUS[match.status],
        "h": match.home_score,
        "a": match.away_score,
        "o": match.odds_home,
        "ts": updated_at,
    }
    return {"type": "score", "seq": sequence, "ts": updated_at, "data": data}


def text_frame(body: bytes) -> bytes:
    """Give the bytes of an unmasked, uncompressed text frame, as a server sends it (RFC 6455, 5.2)."""
    return Frame(Opcode.TEXT, body).serialize(mask=False)


def _with_data(**data: Any) -> Callable[[dict[str, Any]], bytes]:
    return lambda message: encode({**message, "data": {**message["data"], **data}})


def _without_id(message: dict[str, Any]) -> bytes:
    return encode({**message, "data": {key: value for key, value in message["data"].items() if key != "id"}})


def _truncated(message: dict[str, Any]) -> bytes:
    # Cut as text: half a character would be a fault of the WebSocket protocol, not of the record.
    body = encode(message).decode()
    return body[: len(body) * 2 // 3].encode()


POISON: dict[str, Callable[[dict[str, Any]], bytes]] = {
    "home_score: max": _with_data(h=999),
    "home_score: number": _with_data(h="three"),
    "match_id: required": _without_id,
    "json: not decodable": _truncated,
}
"""Ways to spoil a score message, by the reason under which Headrace's quarantine groups them."""
