"""JSON, exactly: numbers with a fraction or an exponent are decimals, integers of any size stay whole."""

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, ClassVar, Literal

import msgspec

from service.charset import utf8
from service.config.paths import Path, parse_path
from service.errors import FormatError
from service.formats import PIECE, Broken, Cutter, Format, Gatherer, Piece, refuse_rest
from service.jsontext import BOM, FAULTS, legible, parse, pieces, walk
from service.lookup import narrowed
from service.model import Message

_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_TOKEN = re.compile(rb"[ \t\r\n]*+(?:(" + _STRING + rb')|([{}\[\],:])|[^ \t\r\n"{}\[\],:]++)', re.DOTALL)
_INSIDE = re.compile(rb'[^"{}\[\]]*+(?:' + _STRING + rb'[^"{}\[\]]*+)*+', re.DOTALL)
"""All up to the next bracket, within a record."""
_BETWEEN = re.compile(rb'[^"{}\[\],]*+(?:' + _STRING + rb'[^"{}\[\],]*+)*+', re.DOTALL)
"""All up to the next bracket or comma, between records."""


class Json(Format):
    """A JSON document: a list of records, or one record.

    It is in UTF-8 (RFC 8259); where it is not, a byte order mark or the content type says in what else.
    """

    types: ClassVar[tuple[str, ...]] = ("application/json", "text/json", "+json")
    suffixes: ClassVar[tuple[str, ...]] = (".json", ".geojson")

    kind: Literal["json"] = "json"
    single: bool = False
    """The document is one record even if it is a list, such as the frame `[42, "te", [1, 2.5]]`."""

    @classmethod
    def likeness(cls, start: bytes) -> int:
        """Look for a list or an object; see Format."""
        return int(start.removeprefix(BOM).lstrip()[:1] in {b"{", b"["})

    def decode(self, message: Message, records: str | None) -> list[Any]:
        """Give the records, a Broken for each that alone is not readable; see Format."""
        refuse_rest(message)
        try:
            document = _parsed(message)
        except FormatError as error:
            return _apart(utf8(message.body, message.meta or {}), records, self.single, error)
        if records is not None:
            document = walk(document, parse_path(records), records)
        return document if type(document) is list and not self.single else [document]

    def typed(self, records: str | None, shape: Any) -> Callable[[Message], list[Any]] | None:
        """Give a decoder to a type; see Format. It does not look into fields that are not wanted."""
        steps = parse_path(records) if records is not None else ()
        document = shape if self.single else list[shape] | shape
        for step in reversed(steps):
            if isinstance(step, int):
                return None
            document = msgspec.defstruct("Document", [("inner", document)], rename={"inner": step})
        read = msgspec.json.Decoder(document, float_hook=Decimal).decode

        def decode(message: Message) -> list[Any]:
            try:
                found = read(message.body)
            except FAULTS:  # not such records, or no JSON
                return self.decode(message, records)
            for _ in steps:
                found = found.inner
            return found if type(found) is list else [found]

        return decode

    def raw(self, message: Message, records: str | None, index: int) -> bytes:
        """Give the record's literal bytes; all of the message's where what is around the record is not readable."""
        try:
            return bytes(pieces(utf8(message.body, message.meta or {}), records, self.single)[index])
        except (*FAULTS, FormatError, LookupError):
            return message.body

    def document(self, message: Message) -> Any:
        """Give the document itself, less what nobody can read of single records; see Format."""
        refuse_rest(message)
        try:
            return _parsed(message)
        except FormatError as error:
            try:
                return legible(utf8(message.body, message.meta or {}))
            except FormatError:
                raise error from None

    def glance(self, path: Path | None) -> Callable[[Message], Any]:
        """Give what lies at a path of an object, or that it is one, or a list of some; see Format."""
        if path and isinstance(path[0], int):
            return self.document
        inner, nothing = narrowed(path), narrowed(None)
        read = msgspec.json.Decoder(inner | list[nothing]).decode  # type: ignore[valid-type]

        def glance(message: Message) -> Any:
            refuse_rest(message)
            try:
                return read(message.body)
            except FAULTS:  # another document, or no JSON
                return self.document(message)

        return glance

    def reread(self, message: Message) -> Any:
        """Give the one record, which may be a list; see Format."""
        return _parsed(message)

    def cutter(self, meta: Mapping[str, Any], records: str | None, size: int = PIECE) -> Cutter:  # noqa: ARG002  bytewise
        """Cut the array at ``records``; see Format."""
        return Gatherer(size) if self.single else _Elements(parse_path(records) if records is not None else (), size)


class _Elements(Gatherer):
    """Cuts an array between its elements, each piece wrapped so that ``records`` leads to its list again.

    It only tells texts from brackets. Whether all is JSON is found when the pieces are decoded: those before the last
    as they are, the last within what really stands around the array.
    """

    def __init__(self, path: Path, size: int) -> None:
        super().__init__(size)
        self._path = path
        self._steps: list[str | int | None] = []
        self._at = 0
        self._depth = 0
        self._before: bytes | None = None
        self._over = False
        self._is_cut = False
        self._opening = b"".join(
            b"{" + msgspec.json.encode(step) + b":" if isinstance(step, str) else b"[" + b"null," * step
            for step in path
        )
        self._closing = b"".join(b"}" if isinstance(step, str) else b"]" for step in reversed(path))

    @property
    def held(self) -> int:
        """Bytes that are held, those before the array included; see Cutter."""
        return self._size + (len(self._before or b"") if self._is_cut else 0)

    def boundary(self, block: bytes) -> int:
        """Give where the last element begins; see Gatherer."""
        if self._before is None and not self._over:
            self._seek(block)
        return self._scan(block) if self._before is not None and not self._over else 0

    def piece(self, body: bytes) -> Piece:
        """Wrap elements, which a comma follows; see Gatherer."""
        if not self._is_cut:
            self._is_cut = True
            start = len(self._before or b"")
            body = body[start:]
        return Piece(self._opening + b"[" + body[:-1] + b"]" + self._closing)

    def last(self, body: bytes) -> Piece:
        """Give the rest with what stands around the array; see Gatherer."""
        if not self._is_cut:
            return Piece(body)
        # A comma before the end is wrong also where a piece ended with it.
        stray = b"," if body.lstrip()[:1] == b"]" else b""
        return Piece((self._before or b"") + stray + body)

    def _seek(self, block: bytes) -> None:
        """Read tokens up to the value at the path; stop there, or where more bytes are needed."""
        steps = self._steps
        while (token := _TOKEN.match(block, self._at)) is not None and token.end() < len(block):
            text, mark = token.groups()
            self._at = token.end()
            if mark in {b"[", b"{"}:
                if steps == list(self._path):
                    self._before, self._over = block[: self._at], mark == b"{"
                    return
                steps.append(0 if mark == b"[" else None)
            elif mark in {b"]", b"}"}:
                if not steps:
                    self._over = True
                    return
                steps.pop()
            elif mark == b"," and steps:
                last = steps[-1]
                steps[-1] = last + 1 if isinstance(last, int) else None
            elif text is not None and steps and steps[-1] is None:
                steps[-1] = _name(text)

    def _scan(self, block: bytes) -> int:
        """Give the place after the last comma between elements."""
        at, depth, found = self._at, self._depth, 0
        inside, between, size = _INSIDE.match, _BETWEEN.match, len(block)
        while True:
            match = inside(block, at) if depth else between(block, at)
            at = match.end() if match is not None else size
            if at >= size or (mark := block[at]) == 0x22:  # the end, or a text that has none yet
                break
            at += 1
            if mark == 0x2C:
                found = at
            elif mark in b"[{":
                depth += 1
            elif depth:
                depth -= 1
            else:
                self._over = True
                break
        self._at, self._depth = at - found, depth
        return found


def _parsed(message: Message) -> Any:
    try:
        return parse(message.body)
    except FormatError:
        if (text := utf8(message.body, message.meta or {})) is message.body:
            raise
        return parse(text)


def _apart(body: bytes, records: str | None, single: bool, fault: FormatError) -> list[Any]:  # noqa: FBT001  handed on
    """Decode record by record a document of which only some values are at fault, such as half a surrogate pair.

    Raises:
        FormatError: the fault of the whole; its brackets are not sound, or not one record is readable.
    """
    try:
        texts = pieces(body, records, single)
    except (*FAULTS, LookupError):
        raise fault from None
    found: list[Any] = []
    for text in texts:
        try:
            found.append(parse(bytes(text)))
        except FormatError as error:
            detail = f"the record is not readable: {error} [not decodable]; correct the provider, the others are whole"
            found.append(Broken("json: record not decodable", detail))
    if all(isinstance(record, Broken) for record in found):
        raise fault
    return found


def _name(text: bytes) -> str:
    try:
        return msgspec.json.decode(text, type=str)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return ""
