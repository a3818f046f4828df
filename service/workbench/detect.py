"""Which format bytes are in: by the name or the content type that came with them, else by a look at them."""

from typing import cast

from service.config.connectors import discover
from service.errors import FormatError
from service.formats import Format
from service.model import Message

_BY_ENDING = {".csv": "csv", ".tsv": "csv", ".ndjson": "ndjson", ".jsonl": "ndjson", ".xml": "xml", ".json": "json"}
_BY_TYPE = {"csv": "csv", "ndjson": "ndjson", "jsonl": "ndjson", "json-seq": "ndjson", "xml": "xml", "json": "json"}


def format_of(body: bytes, name: str = "", content_type: str = "") -> str:
    """Give the kind of the format.

    Args:
        body: the bytes, decompressed.
        name: of the file, or the path of the address.
        content_type: of the answer.
    """
    plain = name.lower().removesuffix(".gz")
    for ending, kind in _BY_ENDING.items():
        if plain.endswith(ending):
            return kind
    for word, kind in _BY_TYPE.items():
        if word in content_type.lower():
            return kind
    return "xml" if body.lstrip()[:1] == b"<" else "json"


def decoder_of(kind: str) -> Format:
    """Give the format of a kind, with its defaults.

    Raises:
        FormatError: there is no such format.
    """
    known = discover("service.formats")
    if kind not in known:
        raise FormatError(f"there is no format {kind!r}; there are {', '.join(known)}")
    return cast("Format", known[kind]())


def split(message: Message, decoder: Format) -> list[Message]:
    """Give one message or, where it does not decode, one for each line: recorded frames are kept so.

    Raises:
        FormatError: neither decodes.
    """
    try:
        decoder.decode(message, None)
    except FormatError:
        lines = [Message(line, message.received_at) for line in message.body.splitlines() if line.strip()]
        decoded = sum(_decodes(line, decoder) for line in lines)
        if len(lines) < 2 or decoded < len(lines) / 2:
            raise
        return lines
    return [message]


def _decodes(message: Message, decoder: Format) -> bool:
    try:
        decoder.decode(message, None)
    except FormatError:
        return False
    return True
