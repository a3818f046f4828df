"""A body as it streams: handed on whole while it is small, and cut into pieces that decode by themselves when long."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import Any

from service.errors import SourceRefused
from service.formats import Cutter, Format, Piece

WHOLE = 1 << 20
"""Bytes up to which a body stays one message, with its exact bytes."""


async def cut(
    chunks: AsyncIterator[bytes], form: Format, meta: Mapping[str, Any], records: str | None, max_held: int
) -> AsyncGenerator[tuple[Piece, bool], None]:
    """Give the pieces of a body as they become whole, each with whether it is the last; there is always a last one.

    Args:
        chunks: the body, in chunks of at most about 256 KiB.
        form: its format.
        meta: that of its messages; it is looked at when the first chunk is there.
        records: the path to its records.
        max_held: the most bytes in which no record may end.

    Raises:
        SourceRefused: there are more.
    """
    start: list[bytes] = []
    size = 0
    cutter: Cutter | None = None
    async for chunk in chunks:
        if cutter is None:
            start.append(chunk)
            size += len(chunk)
            if size <= min(WHOLE, max_held):
                continue
            cutter = form.cutter(meta, records)
        fresh, start = start or [chunk], []
        for data in fresh:
            piece = cutter.feed(data)
            if piece is not None:
                yield piece, False
        if cutter.held > max_held:
            raise SourceRefused(
                f"what cannot be cut is larger than max_body ({max_held} bytes): one record, or what is not `records`"
            )
    yield (cutter.end() if cutter is not None else Piece(b"".join(start))), True
