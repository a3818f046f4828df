"""JSON, exactly: numbers with a fraction or an exponent are decimals, integers of any size stay whole."""

from collections.abc import Callable
from decimal import Decimal, DecimalException
from difflib import get_close_matches
from functools import lru_cache
from typing import Any, Literal

import msgspec

from service.config.paths import Path, parse_path
from service.errors import FormatError
from service.formats import Format
from service.model import Message

_BOM = b"\xef\xbb\xbf"
_SHOWN = 40
_decode = msgspec.json.Decoder(float_hook=Decimal).decode
_decode_list = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_FAULTS = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, DecimalException)


class Json(Format):
    """A JSON document in UTF-8 (RFC 8259): a list of records, or one record."""

    kind: Literal["json"] = "json"
    single: bool = False
    """The document is one record even if it is a list, such as the frame `[42, "te", [1, 2.5]]`."""

    def decode(self, message: Message, records: str | None) -> list[Any]:
        """Give the records; see Format."""
        document = _parse(message.body)
        if records is not None:
            document = _walk(document, parse_path(records), records)
        return document if type(document) is list and not self.single else [document]

    def typed(self, records: str | None, shape: type[msgspec.Struct]) -> Callable[[Message], list[Any]] | None:
        """Give a decoder to a type; see Format. It does not look into fields that are not wanted."""
        steps = parse_path(records) if records is not None else ()
        document: Any = shape if self.single else list[shape] | shape  # type: ignore[valid-type]
        for step in reversed(steps):
            if isinstance(step, int):
                return None
            document = msgspec.defstruct("Document", [("inner", document)], rename={"inner": step})
        read = msgspec.json.Decoder(document, float_hook=Decimal).decode

        def decode(message: Message) -> list[Any]:
            try:
                found = read(message.body)
            except _FAULTS:  # not such records, or no JSON
                return self.decode(message, records)
            for _ in steps:
                found = found.inner
            return found if type(found) is list else [found]

        return decode

    def raw(self, message: Message, records: str | None, index: int) -> bytes:
        """Give the record's literal bytes; see Format."""
        return bytes(_pieces(message.body, records, self.single)[index])

    def reread(self, message: Message) -> Any:
        """Give the one record, which may be a list; see Format."""
        return _parse(message.body)


@lru_cache(maxsize=1)
def _pieces(body: bytes, records: str | None, single: bool) -> list[msgspec.Raw]:  # noqa: FBT001  a part of the key
    """Cut a document into its records; kept for one, so that a message of many bad records is not cut for each."""
    piece: msgspec.Raw = msgspec.Raw(body.removeprefix(_BOM))
    for step in parse_path(records) if records is not None else ():
        piece = _decode_object(piece)[step] if isinstance(step, str) else _decode_list(piece)[step]
    text = bytes(piece).strip()
    return _decode_list(piece) if text.startswith(b"[") and not single else [msgspec.Raw(text)]


def _parse(body: bytes) -> Any:
    try:
        return _decode(body.removeprefix(_BOM))
    except _FAULTS as error:
        if not body.removeprefix(_BOM).strip():
            raise FormatError("the message is empty") from None
        raise FormatError(f"{_said(error)}; the message begins with {_start(body)}") from None


def _said(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, DecimalException):
        return "it holds a number with too large an exponent"
    if isinstance(error, UnicodeDecodeError):  # the position is counted within one text, so it says nothing
        return "it holds a text that is not UTF-8"
    return str(error).removeprefix("JSON is malformed: ")


def _start(body: bytes) -> str:
    text = repr(body[:_SHOWN].decode(errors="replace"))
    return text if len(body) <= _SHOWN else f"{text}…"


def _walk(document: Any, path: Path, text: str) -> Any:
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
