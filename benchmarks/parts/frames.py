"""Messages as bytes: WebSocket frames, pages of JSON, a CSV file."""

import csv
import io
import json

from benchmarks.parts.work import Work

PAGE = 500
"""Records of a page of JSON: 700 KB."""
_HEAD = 4
_BEFORE = len('{"ts":"')
STAMP = slice(_HEAD + _BEFORE, _HEAD + _BEFORE + len("2026-01-01T00:00:00.000001+00:00"))
"""Where a frame has the message's version."""


def body(work: Work, number: int) -> bytes:
    """Give a message as JSON."""
    return json.dumps(work.document(number), separators=(",", ":")).encode()


def frames(work: Work) -> list[list[bytes]]:
    """Give all messages as unmasked text frames (RFC 6455, section 5.2) of 126 to 65,535 bytes, by feed."""
    made: list[list[bytes]] = [[] for _ in range(work.feeds)]
    for number in range(work.messages):
        data = body(work, number)
        made[number % work.feeds].append(b"\x81\x7e" + len(data).to_bytes(2, "big") + data)
    return made


def json_pages(work: Work) -> dict[str, tuple[str, bytes, str | None]]:
    """Give all messages as pages ``/json/1`` and so on, and one of them as ``/sample``."""
    pages = -(-work.messages // PAGE)
    made: dict[str, tuple[str, bytes, str | None]] = {"/sample": ("application/json", _page(work, range(1)), None)}
    for page in range(pages):
        numbers = range(page * PAGE, min(work.messages, (page + 1) * PAGE))
        following = f"/json/{page + 2}" if page + 1 < pages else None
        made[f"/json/{page + 1}"] = ("application/json", _page(work, numbers), following)
    return made


def _page(work: Work, numbers: range) -> bytes:
    return b'{"matches":[' + b",".join(body(work, number) for number in numbers) + b"]}"


def csv_file(work: Work) -> dict[str, tuple[str, bytes, str | None]]:
    """Give all rows as ``/matches.csv``, and one of them as ``/sample.csv``."""
    return {
        "/matches.csv": ("text/csv", _csv(work, work.messages), None),
        "/sample.csv": ("text/csv", _csv(work, 1), None),
    }


def _csv(work: Work, rows: int) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(work.names)
    for number in range(rows):
        row = work.row(number)
        writer.writerow([value.isoformat() if hasattr(value, "isoformat") else value for value in row])
    return text.getvalue().encode()
