"""Rows as the bytes of a binary COPY (PostgreSQL manual, COPY, "Binary Format"), made before the clock starts."""

import struct
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_HEAD = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_TAIL = b"\xff\xff"


def encoded(rows: Iterable[tuple[Any, ...]]) -> bytes:
    """Encode rows of text, bigint, double precision, timestamptz and null."""
    parts = [_HEAD]
    for row in rows:
        parts.append(struct.pack("!h", len(row)))
        parts += [_field(value) for value in row]
    return b"".join([*parts, _TAIL])


def _field(value: Any) -> bytes:
    match value:
        case None:
            return b"\xff\xff\xff\xff"
        case str():
            data = value.encode()
            return struct.pack("!i", len(data)) + data
        case int():
            return struct.pack("!iq", 8, value)
        case float():
            return struct.pack("!id", 8, value)
        case datetime():
            return struct.pack("!iq", 8, (value - _EPOCH) // timedelta(microseconds=1))
        case _:
            raise TypeError(f"no encoding for {type(value).__name__}")
