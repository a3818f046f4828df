"""JSON texts, decoded exactly, with faults told in words: numbers with a fraction or an exponent are decimals."""

import json
import re
from collections.abc import Callable
from decimal import Decimal, DecimalException
from difflib import get_close_matches
from functools import lru_cache
from typing import Any, NoReturn

import msgspec

from service.config.paths import Path, parse_path
from service.errors import FormatError
from service.masking import hidden_raw

BOM = b"\xef\xbb\xbf"
_SHOWN = 40
_LOOKED_AT = 10 * _SHOWN
"""Bytes in which secrets are looked for; more are never shown."""
_ESCAPE = re.compile(rb"\\(?:u[dD][89abAB]..\\u[dD][c-fC-F]|(u[dD][89a-fA-F])|.)", re.DOTALL)
"""An escape within a text; the group is one that begins half a surrogate pair."""
_MASKS = (b"\x7f", b"\xff")
"""Stand for the backslash of such a half, and for what is too deep: one that is not in the text is taken.

The first is a character that JSON allows as it is, and hardly any text has; the second is in no UTF-8.
"""
_RUN = re.compile(rb'[^"{}\[\]]*+(?:"[^"\\]*+(?:\\.[^"\\]*+)*+"[^"{}\[\]]*+)*+(?:([{\[]++)|([}\]]++))', re.DOTALL)
"""All up to the next brackets, and those; the group is the first or the second as they open or close."""
_DEEP = 64
"""Levels of a text that are looked at while it is cut: fewer than stop the decoder, more than any path has."""
_decode = msgspec.json.Decoder(float_hook=Decimal).decode
_decode_list = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
FAULTS = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, DecimalException)
"""What decoding raises, whatever the bytes."""


def parse(body: bytes) -> Any:
    """Decode a text in UTF-8 (RFC 8259), with or without a byte order mark.

    Raises:
        FormatError: it is not JSON.
    """
    try:
        return _decode(body.removeprefix(BOM))
    except FAULTS as error:
        if not body.removeprefix(BOM).strip():
            raise FormatError("the message is empty") from None
        raise FormatError(f"{_said(error, body)}; the message begins with {beginning(body)}") from None


def beginning(body: bytes) -> str:
    """Show the first characters of a message; what looks like a secret is three stars."""
    text = hidden_raw(body[:_LOOKED_AT].decode(errors="replace"))
    return repr(text) if len(text) <= _SHOWN else f"{text[:_SHOWN]!r}…"


def walk(document: Any, path: Path, text: str) -> Any:
    """Follow the path of `records` to a list or an object.

    Raises:
        FormatError: it leads to neither; the message says what is there.
    """
    for step in path:
        if isinstance(step, str):
            is_there = isinstance(document, dict) and step in document
        else:
            is_there = isinstance(document, list) and step < len(document)
        if not is_there:
            raise FormatError(f"`records: {text}` leads nowhere: there is no {step!r}; {_there(document, step)}")
        document = document[step]
    if not isinstance(document, list | dict):
        raise FormatError(f"`records: {text}` leads to {_kind(document)}, not to a list or an object")
    return document


@lru_cache(maxsize=1)
def pieces(body: bytes, records: str | None, single: bool) -> list[msgspec.Raw]:  # noqa: FBT001  a part of the key
    """Cut a text that decodes into the literal bytes of its records.

    They are kept for one text, so that a message of many bad records is not cut for each. Halves of surrogate pairs
    and what is nested deeply, which the decoder refuses even where it only looks for the end, are masked meanwhile.
    """
    text = body.removeprefix(BOM)
    mask = next((mask for mask in _MASKS if mask not in text), None)
    deep: list[bytes] = []
    if mask is not None:
        text = _ESCAPE.sub(lambda found: _masked(found, mask), text)
        text, deep = _shallow(text, lambda number: b'"%b%d"' % (mask, number))
    piece: msgspec.Raw = msgspec.Raw(text)
    for step in parse_path(records) if records is not None else ():
        piece = _decode_object(piece)[step] if isinstance(step, str) else _decode_list(piece)[step]
    inner = bytes(piece).strip()
    found = _decode_list(piece) if inner.startswith(b"[") and not single else [msgspec.Raw(inner)]
    if mask is None:
        return found
    stands = re.compile(rb'"%b(\d+)"' % mask)
    whole = (stands.sub(lambda stand: deep[int(stand[1])], bytes(each)) if deep else bytes(each) for each in found)
    return [msgspec.Raw(each.replace(mask, b"\\")) for each in whole]


def legible(body: bytes) -> Any:
    """Decode of a text what can be read; null, or another text, stands for what cannot, such as half a surrogate pair.

    Raises:
        FormatError: its brackets are not sound, so that nothing can be read.
    """
    text = _ESCAPE.sub(lambda found: _masked(found, rb"\ufffd"), body.removeprefix(BOM))
    text, _ = _shallow(text, lambda _: b"null")
    try:
        return json.loads(
            text.decode(errors="replace"), parse_float=_number, parse_int=_whole, parse_constant=_no_number
        )
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{error}; the message begins with {beginning(body)}") from None


def _shallow(text: bytes, stand: Callable[[int], bytes]) -> tuple[bytes, list[bytes]]:
    """Put something for each value that is nested deeply; give the text, and those values in their order."""
    kept: list[bytes] = []
    deep: list[bytes] = []
    at = depth = start = 0
    while (run := _RUN.match(text, at)) is not None:
        at = run.end()
        if run[1] is not None:
            if depth < _DEEP <= depth + len(run[1]):
                kept.append(text[start : (start := run.start(1) + _DEEP - depth - 1)])
            depth += len(run[1])
        else:
            if depth - len(run[2]) < _DEEP <= depth:
                kept.append(stand(len(deep)))
                deep.append(text[start : (start := run.start(2) + depth - _DEEP + 1)])
            depth -= len(run[2])
    return b"".join([*kept, text[start:]]), deep


def _masked(escape: re.Match[bytes], mask: bytes) -> bytes:
    return escape[0] if escape[1] is None else mask + escape[1]


def _number(text: str) -> Decimal | None:
    try:
        return Decimal(text)
    except DecimalException:
        return None


def _whole(text: str) -> int | None:
    try:
        return int(text)
    except ValueError:  # thousands of digits
        return None


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON")


def _said(error: Exception, body: bytes) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, DecimalException):
        return "it holds a number with too large an exponent"
    if isinstance(error, UnicodeDecodeError):  # the position is counted within one text, so it says nothing
        return "it holds a text that is not UTF-8"
    half = next((found for found in _ESCAPE.finditer(body) if found[1] is not None), None)
    if half is not None:  # of which the decoder says that the data was cut off
        return f"it holds half a surrogate pair, {body[half.start() : half.start() + 6].decode(errors='replace')}"
    return str(error).removeprefix("JSON is malformed: ")


def _there(found: Any, step: str | int) -> str:
    """Say what is there instead of a step."""
    if isinstance(found, dict):
        close = get_close_matches(str(step), found, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        return f"{hint}there are the keys {', '.join(map(repr, list(found)[:8]))}" if found else "the object is empty"
    return f"a list of {len(found)} items is there" if isinstance(found, list) else f"{_kind(found)} is there"


def _kind(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {None: "null", True: "true", False: "false"}[value]
    return {"str": "text", "list": "a list", "dict": "an object"}.get(type(value).__name__, "a number")
