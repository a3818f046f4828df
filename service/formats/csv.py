"""CSV, exactly as it was written: every cell is text, and a row that does not fit harms no other."""

import codecs
import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, ClassVar, Literal, NamedTuple

from pydantic import Field, field_validator, model_validator

from service.charset import LONGEST_MARK, declared, decoded, is_bytewise, is_encoding, marked, unmarked
from service.errors import FormatError
from service.formats import PIECE, Broken, Cutter, Format, Gatherer, Piece, refuse_rest
from service.model import Message

csv.field_size_limit((1 << 31) - 1)  # the library's own limit; ours are on bodies and records

_ESCAPED = re.compile("[\udc80-\udcff]")
"""Bytes that are no characters, as ``surrogateescape`` keeps them."""


class Row(NamedTuple):
    """One row that is not blank.

    Attributes:
        start: where in the text it begins.
        end: where the next begins.
        line: the number of its first line, from 1.
        cells: its cells.
    """

    start: int
    end: int
    line: int
    cells: list[str]


class Csv(Format):
    """Rows of texts (RFC 4180); the first row names the columns, by default.

    A row whose cells are all empty is skipped; a row with more or fewer cells than the header, or with bytes that are
    no characters, is refused alone. Two columns of one name refuse the body.
    """

    types: ClassVar[tuple[str, ...]] = ("text/csv", "application/csv")
    suffixes: ClassVar[tuple[str, ...]] = (".csv",)
    has_paths: ClassVar[bool] = False

    kind: Literal["csv"] = "csv"
    delimiter: str = Field(default=",", min_length=1, max_length=1, pattern=r'[^"\r\n]')
    """The character between cells."""
    quote: str = Field(default='"', max_length=1, pattern=r"^[^\r\n]?$")
    """The character around cells that hold delimiters, line ends or, doubled, itself; empty for none."""
    header: bool | tuple[str, ...] = True
    """true: the first row names the columns; false: there is no such row and columns are named "0", "1" and so on;
    or the names, where there is no such row."""
    encoding: str | None = None
    """The encoding; by default that of the content type, else UTF-8. A byte order mark goes before both."""

    @field_validator("encoding")
    @classmethod
    def _is_known(cls, encoding: str | None) -> str | None:
        if encoding is not None and not is_encoding(encoding):
            raise ValueError(f"there is no encoding {encoding!r}; common ones are utf-8, latin-1, cp1252, utf-16")
        return encoding

    @field_validator("header")
    @classmethod
    def _are_distinct(cls, header: bool | tuple[str, ...]) -> bool | tuple[str, ...]:  # noqa: FBT001  as configured
        if not isinstance(header, bool) and (not header or len(set(header)) < len(header)):
            raise ValueError("the names of the columns must be given, each once")
        return header

    @model_validator(mode="after")
    def _differ(self) -> "Csv":
        if self.delimiter == self.quote:
            raise ValueError("`delimiter` and `quote` are the same character")
        return self

    def decode(self, message: Message, records: str | None) -> list[Any]:
        """Give the rows, a Broken for each that does not fit; see Format."""
        refuse_rest(message)
        if records is not None:
            raise FormatError("`records` leads nowhere: in CSV each row is a record; leave `records` out")
        text, is_clean = self._text(message)
        rows = [cells for cells in self._reader(text) if "".join(cells).strip()]
        if self.header is False:
            names: Sequence[str] = [str(number) for number in range(max(map(len, rows), default=0))]
        elif self.header is True:
            if not rows:
                raise FormatError("it is empty: there is no header row; for a file without one, set `header: false`")
            names = column_names(rows[0])
            rows = rows[1:]
        else:
            names = self.header
        if is_clean and (self.header is False or all(len(cells) == len(names) for cells in rows)):
            return [dict(zip(names, cells, strict=False)) for cells in rows]
        before = int((message.meta or {}).get("line", 0))
        return [self._record(row, names, before + row.line) for row in _rows(self, text)[self.header is True :]]

    def raw(self, message: Message, records: str | None, index: int) -> bytes:  # noqa: ARG002  CSV has no paths
        """Give the row's literal bytes; see Format."""
        text, _ = self._text(message)
        row = _rows(self, text)[index + (self.header is True)]
        literal = text[row.start : row.end].rstrip("\r\n")
        return literal.encode(self.codec(message.meta or {}, message.body)[0], "surrogateescape")

    def untyped(self, message: Message) -> bool:  # noqa: ARG002  whatever it holds
        """Say yes; see Format."""
        return True

    def beside(self, message: Message, records: str | None) -> Mapping[str, Any] | None:  # noqa: ARG002  no paths
        """Give the names of the columns, and the encoding that a mark told, which a row does not tell; see Format."""
        codec, is_marked = self.codec(message.meta or {}, message.body)
        meta = {**(message.meta or {}), **({"encoding": codec} if is_marked else {})}
        if self.header is True:
            text, _ = self._text(message)
            meta["columns"] = column_names(_rows(self, text)[0].cells)
        return meta

    def reread(self, message: Message) -> Any:
        """Give the row, or a Broken; see Format."""
        meta = message.meta or {}
        # An encoding that is configured may be corrected since; one that a mark told stands.
        text, _ = decoded(message.body, meta.get("encoding") or self.codec(meta, message.body)[0])
        rows = _rows(self, text)
        if len(rows) != 1:
            raise FormatError(f"these bytes hold {len(rows)} rows, not the one that was refused")
        names = meta.get("columns") or self.header
        if isinstance(names, bool):
            names = [str(number) for number in range(len(rows[0].cells))]
        return self._record(rows[0], names, int(meta.get("line", 0)) + 1)

    def cutter(self, meta: Mapping[str, Any], records: str | None, size: int = PIECE) -> Cutter:  # noqa: ARG002  no paths
        """Cut between rows; see Format."""
        return _RowCutter(self, meta, size)

    def codec(self, meta: Mapping[str, Any], start: bytes) -> tuple[str, int]:
        """Give the encoding of a body and the length of its byte order mark.

        Raises:
            FormatError: the content type names an encoding that there is not.
        """
        name, length = marked(start[:LONGEST_MARK])
        return unmarked(name or self.encoding or declared(meta) or "utf-8"), length

    def rows(self, text: str) -> Iterator[Row]:
        """Give the rows that are not blank, with their places."""
        ends = [0]

        def lines() -> Iterator[str]:
            for line in io.StringIO(text, newline=""):
                ends.append(ends[-1] + len(line))
                yield line

        reader, line = self._reader(lines()), 0
        for cells in reader:
            if "".join(cells).strip():
                yield Row(ends[line], ends[reader.line_num], line + 1, cells)
            line = reader.line_num

    def _record(self, row: Row, names: Sequence[str], line: int) -> Any:
        if len(row.cells) != len(names) and self.header is not False:
            said = f"the row at line {line} has {len(row.cells)} cells, the header {len(names)}"
            hint = "; is a quote never closed?" if any("\n" in cell for cell in row.cells) else ""
            remedy = f"correct the provider, or the `delimiter`, `quote` or `header` of the format{hint}"
            return Broken("csv: wrong number of cells", f"{said} [wrong number of cells]; {remedy}")
        for name, cell in zip(names, row.cells, strict=False):
            if _ESCAPED.search(cell):
                said = f"the row at line {line} holds bytes in {name!r} that are no characters of its encoding"
                return Broken("csv: not decodable", f"{said} [not decodable]; set `encoding` on the format")
        return dict(zip(names, row.cells, strict=False))

    def _text(self, message: Message) -> tuple[str, bool]:
        """Decode a message, and say whether all of it is text."""
        codec, mark = self.codec(message.meta or {}, message.body)
        return decoded(message.body[mark:], codec)

    def _reader(self, text: str | Iterator[str]) -> Any:
        lines = io.StringIO(text, newline="") if isinstance(text, str) else text
        if not self.quote:
            return csv.reader(lines, delimiter=self.delimiter, quoting=csv.QUOTE_NONE)
        return csv.reader(lines, delimiter=self.delimiter, quotechar=self.quote)


class _RowCutter(Gatherer):
    """Cuts behind rows; each piece begins with the header, and with a mark where there was one.

    What is in an encoding whose line ends cannot be told in the bytes goes on as UTF-8.
    """

    def __init__(self, csv_: Csv, meta: Mapping[str, Any], size: int) -> None:
        super().__init__(size)
        self._csv = csv_
        self._meta = meta
        self._start: bytes | None = b""
        self._codec = "utf-8"
        self._mark = b""
        self._decoder: codecs.IncrementalDecoder | None = None
        self._header: bytes | None = None if csv_.header is True else b""
        self._is_cut = False
        self._line = 0
        self._fault = ""

    def feed(self, data: bytes) -> Piece | None:
        """Take the next bytes; see Cutter. Those that follow a fault are dropped."""
        return super().feed(self._taken(data, is_last=False)) if not self._fault else None

    def end(self) -> Piece:
        """Give the rest; see Cutter."""
        self._chunks.append(self._taken(b"", is_last=True))
        return super().end()

    def boundary(self, block: bytes) -> int:
        """Give where a row ends for sure; see Gatherer."""
        if self._fault:
            return 0
        quote = self._csv.quote.encode(self._codec, "replace")
        if quote and quote in block:
            text, start = block.decode(self._codec, "surrogateescape"), 0
            for row in self._csv.rows(text):
                start = row.start  # the last row may go on
            end = len(text[:start].encode(self._codec, "surrogateescape"))
        else:
            end = block.rfind(b"\n") + 1 or block.rfind(b"\r", 0, -1) + 1
        if end and self._header is None:
            self._header = self._first_row(block[:end])
        return end if self._header is not None and not self._fault else 0

    def piece(self, body: bytes) -> Piece:
        """Put the header in front; see Gatherer."""
        header = self._header if self._is_cut and self._header is not None else b""
        before, self._line, self._is_cut = self._line - _lines(header), self._line + _lines(body), True
        return Piece(self._mark + header + body, {"line": before})

    def last(self, body: bytes) -> Piece:
        """Put the header in front, unless the body is faulty; see Gatherer."""
        return Piece(body, {"broken": self._fault}) if self._fault else self.piece(body)

    def _taken(self, data: bytes, *, is_last: bool) -> bytes:
        """Find the encoding in the first bytes, and give bytes in which rows can be told."""
        if self._start is not None:
            data = self._start = self._start + data
            if len(data) < LONGEST_MARK and not is_last:
                return b""
            self._start = None
            data = self._begin(data)
        if self._decoder is None or self._fault:
            return data
        try:
            return self._decoder.decode(data, is_last).encode(errors="surrogateescape")
        except UnicodeDecodeError as error:
            self._fault = f"it is not {self._codec}: {error.reason}; set `encoding` on the format"
            return data

    def _begin(self, data: bytes) -> bytes:
        try:
            codec, length = self._csv.codec(self._meta, data)
        except FormatError as error:
            self._fault = str(error)
            return data
        self._mark = data[:length]
        if is_bytewise(codec):
            self._codec = codec
        else:
            self._decoder = codecs.getincrementaldecoder(codec)("surrogateescape")
            self._mark = codecs.BOM_UTF8
        return data[length:]

    def _first_row(self, body: bytes) -> bytes | None:
        """Give the header's bytes; None while there is none."""
        text, _ = decoded(body, self._codec)
        header = next(self._csv.rows(text), None)
        if header is None:
            return None
        try:
            column_names(header.cells)
        except FormatError as error:
            self._fault = str(error)
        return text[header.start : header.end].encode(self._codec, "surrogateescape")


def column_names(header: Sequence[str]) -> list[str]:
    """Give the names of the columns, trimmed; one without a name is called by its number, from 0.

    Raises:
        FormatError: two have one name.
    """
    names = [name.strip() or str(number) for number, name in enumerate(header)]
    doubles = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if doubles:
        said = f"the header has the name {', '.join(map(repr, doubles[:5]))} more than once"
        raise FormatError(f"{said}; set `header: false` and map the columns by their numbers")
    return names


@lru_cache(maxsize=1)
def _rows(csv_: Csv, text: str) -> list[Row]:
    """Give all rows; kept for one text, so that a message of many bad rows is not read for each."""
    return list(csv_.rows(text))


def _lines(body: bytes) -> int:
    return body.count(b"\n") + body.count(b"\r") - body.count(b"\r\n")
