"""JSON, exactly: numbers with a fraction are decimals, integers of any size stay whole."""

from decimal import Decimal, InvalidOperation
from difflib import get_close_matches
from typing import Any, Literal

import msgspec

from service.config.paths import Path, parse_path
from service.errors import FormatError
from service.formats import Format
from service.model import Message

_BOM = b"\xef\xbb\xbf"
_decode = msgspec.json.Decoder(float_hook=Decimal).decode
_decode_raw_list = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_raw_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class Json(Format):
    """A JSON document (RFC 8259): a list of records, one record, or an object with the list inside."""

    kind: Literal["json"] = "json"

    def decode(self, message: Message, records: str | None) -> list[Any]:
        """Give the records; see Format."""
        document = _parse(message.body)
        if records is not None:
            document = _walk(document, parse_path(records), records)
        return document if type(document) is list else [document]

    def raw(self, message: Message, records: str | None, index: int) -> bytes:
        """Give the record's literal bytes; see Format."""
        raw: Any = msgspec.Raw(message.body.removeprefix(_BOM))
        for part in parse_path(records) if records is not None else ():
            raw = _decode_raw_object(raw)[part] if isinstance(part, str) else _decode_raw_list(raw)[part]
        if bytes(raw).lstrip()[:1] == b"[":
            raw = _decode_raw_list(raw)[index]
        return bytes(raw)


def _parse(body: bytes) -> Any:
    try:
        return _decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, InvalidOperation) as error:
        if body.startswith(_BOM):
            return _parse(body[len(_BOM) :])
        if not body.strip():
            raise FormatError("the message is empty") from error
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        start = body[:40].decode(errors="replace")
        raise FormatError(f"not JSON: {reason}; it begins with {start!r}") from error


def _walk(document: Any, path: Path, text: str) -> Any:
    for part in path:
        try:
            document = document[part]
        except (KeyError, IndexError, TypeError):
            raise FormatError(
                f"records: {text!r} leads nowhere at {part!r}; {_there(document, part)}"
            ) from None
    if not isinstance(document, list | dict):
        kind = "null" if document is None else type(document).__name__
        raise FormatError(f"records: {text!r} leads to {kind}, not to a list or an object")
    return document


def _there(document: Any, part: str | int) -> str:
    if not isinstance(document, dict):
        return "there is no object" if isinstance(part, str) else "there is no such item"
    close = get_close_matches(str(part), document, n=1)
    return (
        f"did you mean {close[0]!r}?" if close else f"there are {', '.join(list(document)[:8]) or 'no keys'}"
    )
