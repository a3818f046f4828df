"""The format that finds out: by the media type, then by the file's name, then by a look at the first bytes."""

import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Literal, cast

import msgspec

from service.config.connectors import discover
from service.config.paths import Path
from service.formats import PIECE, Cutter, Format, Piece
from service.model import Message

_FORMATS = "service.formats"
LOOK = 64 << 10
"""Bytes of a body that are looked at."""
_DEFAULT = "json"
"""What is tried where nothing tells: its error message shows how the message begins."""
_MEDIA = re.compile(r"[^;,\s]*")


class Auto(Format):
    """Whatever the message is: by its content type, else by the path's ending, else by its first bytes.

    CSV is never guessed from bytes. Settings of a format need its own name: `{kind: csv, delimiter: ";"}`.
    """

    kind: Literal["auto"] = "auto"

    def decode(self, message: Message, records: str | None) -> list[Any]:
        """Give the records; see Format."""
        return self._of(message).decode(message, records)

    def typed(self, records: str | None, shape: Any) -> Callable[[Message], list[Any]] | None:
        """Give a decoder that uses that of the format which is found, if it has one; see Format."""
        shapes = list[shape]

        @cache
        def reader(kind: str) -> Callable[[Message], list[Any]] | None:
            return _format(kind).typed(records, shape)

        def decode(message: Message) -> list[Any]:
            kind = choose(message.meta or {}, message.body[:LOOK])
            if (read := reader(kind)) is not None:
                return read(message)
            found = _format(kind).decode(message, records)
            try:
                return msgspec.convert(found, shapes)
            except msgspec.ValidationError:  # one is broken, or of another shape: the transform takes them as they are
                return found

        return decode

    def raw(self, message: Message, records: str | None, index: int) -> bytes:
        """Give the record's bytes; see Format."""
        return self._of(message).raw(message, records, index)

    def beside(self, message: Message, records: str | None) -> Mapping[str, Any] | None:
        """Give what its record needs, and what the message is; see Format."""
        found = self._of(message)
        return {**(found.beside(message, records) or {}), "format": found.kind_of(message)}

    def reread(self, message: Message) -> Any:
        """Give the record; see Format."""
        return self._of(message).reread(message)

    def document(self, message: Message) -> Any:
        """Give the document; see Format."""
        return self._of(message).document(message)

    def glance(self, path: Path | None) -> Callable[[Message], Any]:
        """Give what reads as little as the format that is found; see Format."""

        @cache
        def reader(kind: str) -> Callable[[Message], Any]:
            return _format(kind).glance(path)

        return lambda message: reader(choose(message.meta or {}, message.body[:LOOK]))(message)

    def cutter(self, meta: Mapping[str, Any], records: str | None, size: int = PIECE) -> Cutter:
        """Look at the body's beginning, then cut it as what it is; see Format."""
        return _Choosing(meta, records, size)

    def kind_of(self, message: Message) -> str:
        """Name what it is; see Format."""
        return self._of(message).kind_of(message)

    def writes_one_alone(self, message: Message) -> bool:
        """Say it of what the message is; see Format."""
        return self._of(message).writes_one_alone(message)

    def untyped(self, message: Message) -> bool:
        """Say what is so of the format that is found; see Format."""
        return self._of(message).untyped(message)

    def _of(self, message: Message) -> Format:
        return _format(choose(message.meta or {}, message.body[:LOOK]))


class _Choosing(Cutter):
    """Holds the first bytes until they tell the format; each piece says which it is."""

    def __init__(self, meta: Mapping[str, Any], records: str | None, size: int) -> None:
        self._meta = meta
        self._records = records
        self._wanted = size
        self._start: list[bytes] = []
        self._size = 0
        self._kind = ""
        self._cutter: Cutter | None = None

    @property
    def held(self) -> int:
        """Bytes that are held; see Cutter."""
        return self._cutter.held if self._cutter is not None else self._size

    def feed(self, data: bytes) -> Piece | None:
        """Take the next bytes; see Cutter."""
        if self._cutter is None:
            self._start.append(data)
            self._size += len(data)
            if self._size < min(LOOK, self._wanted):
                return None
            data = b"".join(self._start)
        piece = self._begin().feed(data)
        return self._marked(piece) if piece is not None else None

    def end(self) -> Piece:
        """Give the rest; see Cutter."""
        if self._cutter is None:
            start = b"".join(self._start)
            self._begin().feed(start)  # too little to be cut
        return self._marked(self._begin().end())

    def _begin(self) -> Cutter:
        if self._cutter is None:
            self._kind = choose(self._meta, b"".join(self._start)[:LOOK])
            self._cutter = _format(self._kind).cutter(self._meta, self._records, self._wanted)
            self._start.clear()
        return self._cutter

    def _marked(self, piece: Piece) -> Piece:
        return Piece(piece.body, {**piece.meta, "format": self._kind})


def choose(meta: Mapping[str, Any], start: bytes) -> str:
    """Name the kind of a body.

    Args:
        meta: of its message: ``format`` as found before, ``content_type``, ``name``.
        start: its first bytes.
    """
    if found := meta.get("format"):
        return str(found)
    formats = {kind: cast("type[Format]", connector) for kind, connector in discover(_FORMATS).items()}
    media = _MEDIA.match(str(meta.get("content_type", "")).strip().lower())
    name = str(meta.get("name", "")).lower()
    for kind, format_ in formats.items():
        if media is not None and _is_of(media[0], format_.types):
            # Lines of documents are often called JSON, which they cannot be.
            return "ndjson" if kind == "json" and formats["ndjson"].likeness(start) else kind
    for kind, format_ in formats.items():
        if format_.suffixes and name.endswith(format_.suffixes):
            return kind
    likeness = {kind: format_.likeness(start) for kind, format_ in formats.items()}
    likely = max(likeness, key=likeness.__getitem__)
    return likely if likeness[likely] else _DEFAULT


def _is_of(media: str, types: tuple[str, ...]) -> bool:
    return any(media == type_ or (type_.startswith("+") and media.endswith(type_)) for type_ in types)


@cache
def _format(kind: str) -> Format:
    return cast("Format", discover(_FORMATS)[kind].model_validate({"kind": kind}))
