"""Which format a sample is in, and whether it is one message or many."""

from typing import cast

from service.config.connectors import discover
from service.errors import FormatError
from service.formats import Format
from service.formats.auto import LOOK, choose
from service.model import Message


def format_of(body: bytes, name: str = "", content_type: str = "") -> str:
    """Give the kind of the format, as a feed with `format: auto` finds it.

    Args:
        body: the bytes, decompressed.
        name: of the file, or the path of the address.
        content_type: of the answer.
    """
    return choose({"content_type": content_type, "name": name.lower().removesuffix(".gz")}, body[:LOOK])


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
    """Give one message or, where it is no document, one for each line: recorded frames are kept so.

    Raises:
        FormatError: neither decodes.
    """
    try:
        decoder.document(message)  # which may have records that cannot be read
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
