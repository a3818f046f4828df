from collections.abc import AsyncGenerator

import pytest

from service.cutting import WHOLE, cut
from service.errors import SourceRefused
from service.formats import Format, Piece
from service.formats.json import Json
from service.formats.ndjson import Ndjson

LINE = b'{"a": "' + b"x" * 90 + b'"}\n'


async def arriving(*chunks: bytes) -> AsyncGenerator[bytes, None]:
    for chunk in chunks:
        yield chunk


async def pieces(*chunks: bytes, form: Format | None = None, max_held: int = 64 << 20) -> list[tuple[Piece, bool]]:
    return [found async for found in cut(arriving(*chunks), form or Ndjson(), {}, None, max_held)]


async def test_a_small_body_is_one_piece_byte_for_byte() -> None:
    assert await pieces() == [(Piece(b""), True)]
    assert await pieces(b"1\n", b"\n 2") == [(Piece(b"1\n\n 2"), True)]


async def test_a_long_body_is_cut_and_its_last_piece_is_known() -> None:
    body = LINE * 1000
    count = 3 * WHOLE // len(body)
    found = await pieces(*[body] * count)
    assert [is_last for _piece, is_last in found] == [False] * (len(found) - 1) + [True]
    assert len(found) >= 10
    assert b"".join(piece.body for piece, _is_last in found) == body * count


async def test_what_cannot_be_cut_is_bounded() -> None:
    with pytest.raises(SourceRefused, match=r"larger than max_body \(1000 bytes\)"):
        await pieces(LINE * 8, LINE * 3000, b"x" * 300_000, b"x" * 300_000, max_held=1000)
    with pytest.raises(SourceRefused, match="max_body"):
        await pieces(b"[", *[b"[" * 1000] * 50, form=Json(), max_held=10_000)
