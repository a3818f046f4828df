"""JSON texts, decoded exactly, with faults told in words: numbers with a fraction or an exponent are decimals."""

import re
from decimal import Decimal, DecimalException
from difflib import get_close_matches
from functools import lru_cache
from typing import Any

import msgspec

from service.config.paths import Path, parse_path
from service.errors import FormatError

BOM = b"\xef\xbb\xbf"
_SHOWN = 40
_ESCAPE = re.compile(rb"\\(?:u[dD][89abAB]..\\u[dD][c-fC-F]|(u[dD][89a-fA-F])|.)", re.DOTALL)
"""An escape within a text; the group is one that begins half a surrogate pair."""
_MASK = b"\x7f"
"""Stands for the backslash of such a half: a character that JSON allows as it is, and hardly any text has."""
_HALF = re.compile(rb"\x7fu[dD][89a-fA-F]..", re.DOTALL)
_BRACKET = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|([\[{])|[\]}]', re.DOTALL)
"""A text, or a bracket outside of texts; the group is one that opens."""
_HIDDEN = re.compile(rb'"\x7f(\d+)"')
_DEEPEST = 64
"""Levels of brackets that are left where the decoder finds too many of them."""
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
        said = _said(error)
        if isinstance(error, msgspec.MsgspecError) and (half := _halved(body)) is not None:
            said = f"it holds half a surrogate pair, {half}"  # the decoder says that the data was cut off
        raise FormatError(f"{said}; the message begins with {beginning(body)}") from None


def beginning(body: bytes) -> str:
    """Show the first characters of a message."""
    text = repr(body[:_SHOWN].decode(errors="replace"))
    return text if len(body) <= _SHOWN else f"{text}…"


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

    They are kept for one text, so that a message of many bad records is not cut for each. Halves of surrogate pairs and
    values within too many brackets, which the decoder refuses even where it only looks for the end, are masked while
    it cuts.
    """
    text = body.removeprefix(BOM)
    if _MASK in text:
        return _cut(text, records, single=single)
    masked = _ESCAPE.sub(_masked, text)
    hidden: list[bytes] = []
    try:
        found = _cut(masked, records, single=single)
    except RecursionError:
        found = _cut(_shallow(masked, hidden), records, single=single)
    whole = (_HIDDEN.sub(lambda mark: hidden[int(mark[1])], bytes(each)) if hidden else bytes(each) for each in found)
    return [msgspec.Raw(each.replace(_MASK, b"\\")) for each in whole]


def _cut(text: bytes, records: str | None, *, single: bool) -> list[msgspec.Raw]:
    piece = msgspec.Raw(text)
    for step in parse_path(records) if records is not None else ():
        piece = _decode_object(piece)[step] if isinstance(step, str) else _decode_list(piece)[step]
    inner = bytes(piece).strip()
    return _decode_list(piece) if inner.startswith(b"[") and not single else [msgspec.Raw(inner)]


def _masked(escape: re.Match[bytes]) -> bytes:
    return escape[0] if escape[1] is None else _MASK + escape[1]


def _shallow(text: bytes, hidden: list[bytes]) -> bytes:
    """Put a mark in place of each value that lies within too many brackets; ``hidden`` takes the values."""
    kept: list[bytes] = []
    depth = end = start = 0
    for found in _BRACKET.finditer(text):
        if found[1] is not None:
            depth += 1
            if depth == _DEEPEST + 1:
                start = found.start()
        elif found[0] in {b"]", b"}"}:
            depth -= 1
            if depth == _DEEPEST:
                kept += text[end:start], b'"%b%d"' % (_MASK, len(hidden))
                end = found.end()
                hidden.append(text[start:end])
    return b"".join([*kept, text[end:]])


def _halved(body: bytes) -> str | None:
    """Give the first half of a surrogate pair, as it is written."""
    half = _HALF.search(_ESCAPE.sub(_masked, body)) if _MASK not in body else None
    return None if half is None else "\\" + half[0][1:].decode(errors="replace")


def _said(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, DecimalException):
        return "it holds a number with too large an exponent"
    if isinstance(error, UnicodeDecodeError):  # the position is counted within one text, so it says nothing
        return "it holds a text that is not UTF-8"
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
