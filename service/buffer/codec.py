"""The bytes of a stored message, and how they are told from bytes that were damaged.

An entry is ``length u32, crc32 u32`` and then ``length`` bytes: ``sequence u64, received_at f64, meta length u32, meta,
body``, all little-endian; the checksum covers those bytes. Meta is JSON, and absent for most messages.
"""

import re
from collections.abc import Mapping, Sequence
from struct import Struct
from typing import Any

import msgspec
from isal.isal_zlib import crc32

from service.model import Message, Position

_HEAD = Struct("<IIQdI")
_FRAME = Struct("<II")
_FIXED = Struct("<QdI")
OVERHEAD = _HEAD.size
"""Bytes of an entry besides its meta and body."""
_CHECK_BUDGET = 1 << 30
"""Bytes that ``resync`` checksums before it gives up: bodies made to look like entries must not hold up a start."""


class _Meta(msgspec.Struct, array_like=True):
    position: Position | None
    meta: Mapping[str, Any] | None


_encode_meta = msgspec.json.Encoder().encode
_decode_meta = msgspec.json.Decoder(_Meta).decode


def measure(messages: Sequence[Message]) -> tuple[list[bytes], int]:
    """Give each message's encoded meta, and the bytes that all messages take as entries."""
    metas = [
        _encode_meta(_Meta(message.position, message.meta))
        if message.position is not None or message.meta is not None
        else b""
        for message in messages
    ]
    size = sum(len(message.body) for message in messages) + sum(map(len, metas)) + OVERHEAD * len(messages)
    return metas, size


def encode(first: int, messages: Sequence[Message], metas: Sequence[bytes]) -> bytes:
    """Give the entries of messages that are numbered from ``first``."""
    parts: list[bytes] = []
    add = parts.append
    frame, fixed = _FRAME.pack, _FIXED.pack
    for sequence, (message, meta) in enumerate(zip(messages, metas, strict=True), first):
        body = message.body
        start = fixed(sequence, message.received_at, len(meta)) + meta
        # A body is copied once, by the join.
        add(frame(len(start) + len(body), crc32(body, crc32(start))) + start)
        add(body)
    return b"".join(parts)


def decode(chunk: bytes, expected: int, limit: int) -> tuple[list[Message], int]:
    """Read whole, sound, consecutive entries from the start of ``chunk``.

    Args:
        chunk: bytes that begin with an entry and may end within one.
        expected: sequence number of the first entry.
        limit: sequence number to stop before.

    Returns:
        The messages, and how many bytes of the chunk they took. It ends early, without an error, at the first entry
        that is cut, damaged or out of sequence: whether more bytes would help, the caller knows.
    """
    messages: list[Message] = []
    add = messages.append
    head = _HEAD.unpack_from
    offset, size = 0, len(chunk)
    while offset + OVERHEAD <= size and expected < limit:
        length, crc, sequence, received_at, meta_length = head(chunk, offset)
        stop = offset + 8 + length
        if stop > size or sequence != expected:
            break
        payload = chunk[offset + 8 : stop]
        if crc32(payload) != crc:
            break
        if meta_length:
            meta = _decode_meta(payload[20 : 20 + meta_length])
            add(Message(payload[20 + meta_length :], received_at, meta.position, meta.meta))
        else:
            add(Message(payload[20:], received_at))
        offset = stop
        expected += 1
    return messages, offset


def entry_size(chunk: bytes) -> int:
    """Give the bytes that the entry at the start of ``chunk`` claims to take; OVERHEAD when it is cut even there."""
    if len(chunk) < OVERHEAD:
        return OVERHEAD
    length: int = _FRAME.unpack_from(chunk)[0]
    return 8 + length


def resync(data: bytes, expected: int, limit: int) -> tuple[int, int] | None:
    """Find the next sound entry whose sequence number is in ``range(expected, limit)``.

    Returns:
        Its offset in ``data`` and its sequence number, or None.
    """
    # The upper five bytes of a sequence number are nearly constant, which lets a regular expression find candidates.
    limit = min(limit, expected + len(data) // OVERHEAD + 1)
    uppers = range(expected >> 24, (limit - 1 >> 24) + 1)
    upper = b"|".join(re.escape(number.to_bytes(5, "little")) for number in uppers)
    view = memoryview(data)
    budget = _CHECK_BUDGET
    for found in re.finditer(rb"(?s)(?=(?!\0{4}).{11}(?:" + upper + rb"))", data):
        offset = found.start()
        if offset + OVERHEAD > len(data):
            break
        length, crc, sequence, _, meta_length = _HEAD.unpack_from(data, offset)
        stop = offset + 8 + length
        if not (expected <= sequence < limit and stop <= len(data) and 20 + meta_length <= length):
            continue
        if crc32(view[offset + 8 : stop]) == crc:
            return offset, sequence
        budget -= length
        if budget < 0:
            break
    return None
