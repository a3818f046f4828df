"""What can be read of a sample: the records that nobody can read are counted and left out."""

from collections.abc import Sequence
from typing import Any

import msgspec

from service.config.paths import Path, dotted
from service.errors import FormatError
from service.formats import Broken, Format
from service.infer.records import Found, find
from service.lookup import lookup
from service.model import Message


def read(messages: Sequence[Message], decoder: Format) -> Found:
    """Find the records of messages; of those that cannot be read a note says how many there are.

    Raises:
        FormatError: no message decodes.
    """
    documents: list[Any] = []
    doubtful: list[tuple[Message, Any]] = []
    faults: list[FormatError] = []
    lost, by_line = 0, False
    for message in messages:
        try:
            records = decoder.decode(message, None)
        except FormatError as error:
            faults.append(error)
            if isinstance(document := _legible(message, decoder), dict):
                doubtful.append((message, document))
            continue
        whole = [record for record in records if not isinstance(record, Broken)]
        lost += len(records) - len(whole)
        has_lists = any(isinstance(record, list) for record in whole)
        if has_lists and decoder.kind_of(message) == "ndjson":  # a line is a record, be it a list
            by_line, documents = True, [*documents, *whole]
        else:
            documents.append(whole if len(records) != 1 or message.body.lstrip()[:1] == b"[" else records[0])
    path = find([*documents, *(document for _, document in doubtful)]).path if doubtful else None
    if path is not None:
        lost += sum(_clear(document, message, decoder, path) for message, document in doubtful)
        documents += [document for _, document in doubtful]
    if not documents:
        raise faults[0] if faults else FormatError("there is no message")
    found = find(documents)
    if by_line:
        found = msgspec.structs.replace(found, single=False)
    note = f"{lost} {'record' if lost == 1 else 'records'} cannot be read and will be refused"
    return msgspec.structs.replace(found, notes=(*found.notes, note)) if lost else found


def _legible(message: Message, decoder: Format) -> Any:
    """Give a document less what cannot be read; None where nothing can."""
    try:
        return decoder.document(message)
    except FormatError:
        return None


def _clear(document: Any, message: Message, decoder: Format, path: Path) -> int:
    """Leave in a document's list only the records that can be read; give how many could not."""
    records = decoder.decode(message, dotted(path))
    whole = [record for record in records if not isinstance(record, Broken)]
    lookup(document, path)[:] = whole
    return len(records) - len(whole)
