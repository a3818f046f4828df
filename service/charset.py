"""Encodings of text: what a byte order mark and a content type say, and which names there are."""

import codecs
import re
from collections.abc import Mapping
from typing import Any

from service.errors import FormatError

_MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32-le",  # before UTF-16, whose mark it begins with
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
_MARKED = {"utf-8-sig": "utf-8", "utf-16": "utf-16-le", "utf-32": "utf-32-le"}
"""Codecs that write a mark, and what they are without."""
_CHARSET = re.compile(r";\s*charset\s*=\s*\"?([^\s;\"]+)", re.IGNORECASE)
LONGEST_MARK = 4
"""Bytes of the longest byte order mark."""


def is_encoding(name: str) -> bool:
    """Whether there is an encoding of text of that name."""
    try:
        b"x".decode(name, "ignore")
    except (LookupError, ValueError):
        return False
    return True


def declared(meta: Mapping[str, Any]) -> str | None:
    """Give the charset of a message's content type.

    Raises:
        FormatError: it names an encoding that there is not.
    """
    charset = _CHARSET.search(str(meta.get("content_type", "")))
    if charset is not None and not is_encoding(charset[1]):
        said = f"its content type names an encoding that there is not, {charset[1][:40]!r}"
        raise FormatError(f"{said}; set `encoding` on the format")
    return charset[1] if charset is not None else None


def marked(start: bytes) -> tuple[str | None, int]:
    """Give the encoding that a byte order mark names, and the mark's length; it goes before all else (RFC 7303, 3)."""
    for mark, name in _MARKS.items():
        if start.startswith(mark):
            return name, len(mark)
    return None, 0


def unmarked(name: str) -> str:
    """Give the name of the codec that neither reads nor writes a mark."""
    plain = codecs.lookup(name).name
    return _MARKED.get(plain, plain)


def is_bytewise(codec: str) -> bool:
    """Whether line ends and quotes can be found in the bytes: in UTF-8, and where each byte is a character."""
    every = bytes(range(256))
    return codec == "utf-8" or (len(every.decode(codec, "replace")) == 256 and every[:128].decode(codec).isascii())


def decoded(body: bytes, codec: str) -> tuple[str, bool]:
    """Decode bytes; those that are no characters become lone surrogates, and then the answer's second part is False.

    Raises:
        FormatError: it cannot be told what is a character and what is not.
    """
    try:
        return body.decode(codec), True
    except UnicodeDecodeError:
        pass
    try:
        return body.decode(codec, "surrogateescape"), False
    except UnicodeDecodeError as error:
        raise FormatError(f"it is not {codec}: {error.reason} at byte {error.start}; set `encoding`") from None


def utf8(body: bytes, meta: Mapping[str, Any]) -> bytes:
    """Give a body that should be UTF-8 as such: where it is something else, a mark or the content type says what.

    Raises:
        FormatError: the content type names an encoding that there is not.
    """
    name, length = marked(body[:LONGEST_MARK])
    if name is None and b"\0" not in body[:LONGEST_MARK]:
        try:
            body.decode()
        except UnicodeDecodeError:
            pass
        else:
            return body  # many call UTF-8 something else
    name = name or declared(meta) or "utf-8"
    try:
        return body[length:].decode(name).encode() if unmarked(name) != "utf-8" else body
    except UnicodeDecodeError:
        return body
