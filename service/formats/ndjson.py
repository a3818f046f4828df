"""NDJSON: one JSON document a line, so that a broken line harms no other."""

from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from functools import lru_cache
from typing import Any, ClassVar, Literal

import msgspec

from service.config.paths import Path, parse_path
from service.errors import FormatError
from service.formats import PIECE, Broken, Cutter, Format, Gatherer, Piece, refuse_rest
from service.jsontext import BOM, FAULTS, parse, pieces, walk
from service.model import Message

_decode_lines = msgspec.json.Decoder(float_hook=Decimal).decode_lines


class Ndjson(Format):
    """Lines of JSON in UTF-8, one record each. Blank lines are skipped; a line that is not JSON is refused alone."""

    types: ClassVar[tuple[str, ...]] = (
        "application/x-ndjson",
        "application/ndjson",
        "application/jsonl",
        "application/x-jsonlines",
        "application/jsonlines",
    )
    suffixes: ClassVar[tuple[str, ...]] = (".ndjson", ".jsonl")

    kind: Literal["ndjson"] = "ndjson"

    @classmethod
    def likeness(cls, start: bytes) -> int:
        """Look for a first line that is a document by itself, and a second one; see Format."""
        first, _, second = start.removeprefix(BOM).lstrip().partition(b"\n")
        if first[:1] not in {b"{", b"["} or second.lstrip()[:1] != first[:1]:
            return 0
        try:
            parse(first)
        except FormatError:
            return 0
        return 2

    def decode(self, message: Message, records: str | None) -> list[Any]:
        """Give the records, a Broken for each line that is not JSON; see Format."""
        refuse_rest(message)
        if records is None:
            try:
                return _decode_lines(message.body.removeprefix(BOM))
            except FAULTS:
                pass  # line by line, to find which
        before = int((message.meta or {}).get("line", 0))
        return [record for _line, record in _records(message.body, records, before)]

    def typed(self, records: str | None, shape: type[msgspec.Struct]) -> Callable[[Message], list[Any]] | None:
        """Give a decoder to a type; see Format."""
        if records is not None:
            return None
        read = msgspec.json.Decoder(shape, float_hook=Decimal).decode_lines

        def decode(message: Message) -> list[Any]:
            try:
                return read(message.body)
            except FAULTS:  # not such records, or no JSON
                return self.decode(message, None)

        return decode

    def raw(self, message: Message, records: str | None, index: int) -> bytes:
        """Give the record's literal bytes; of a line that is not readable all of it; see Format."""
        found = _listed(message.body, records)
        line, record = found[index]
        if records is None or isinstance(record, Broken):
            return line
        first = next(number for number, (other, _) in enumerate(found) if other is line)
        return bytes(pieces(line, records, False)[index - first])

    def cutter(self, meta: Mapping[str, Any], records: str | None, size: int = PIECE) -> Cutter:  # noqa: ARG002  lines
        """Cut between lines; see Format."""
        return _Lines(size)


class _Lines(Gatherer):
    """Cuts behind line feeds."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self._line = 0

    def boundary(self, block: bytes) -> int:
        """Give where the last whole line ends; see Gatherer."""
        return block.rfind(b"\n") + 1

    def piece(self, body: bytes) -> Piece:
        """Note how many lines came before; see Gatherer."""
        before, self._line = self._line, self._line + body.count(b"\n")
        return Piece(body, {"line": before})

    def last(self, body: bytes) -> Piece:
        """Note how many lines came before; see Gatherer."""
        return Piece(body, {"line": self._line})


@lru_cache(maxsize=1)
def _listed(body: bytes, records: str | None) -> list[tuple[bytes, Any]]:
    """Keep the records of one message, so that a message of many bad ones is not read for each."""
    return list(_records(body, records, 0))


def _records(body: bytes, records: str | None, before: int) -> Iterator[tuple[bytes, Any]]:
    """Give each record with its line."""
    path: Path = parse_path(records) if records is not None else ()
    for number, line in enumerate(body.removeprefix(BOM).split(b"\n"), before + 1):
        text = line.strip()
        if not text:
            continue
        try:
            document = parse(text)
            found = walk(document, path, records) if records is not None else document
        except FormatError as error:
            detail = f"line {number} is not readable: {error} [not decodable]; correct the provider, others are whole"
            yield text, Broken("ndjson: line not decodable", detail)
        else:
            for record in found if records is not None and isinstance(found, list) else (found,):
                yield text, record
