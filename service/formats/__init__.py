"""Formats: how the bytes of a message become records, and how a long body is cut into messages, one file a kind."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import msgspec

from service.config.connectors import Connector
from service.config.paths import Path
from service.errors import FormatError
from service.model import Message

PIECE = 256 << 10
"""Bytes of a body that are cut off together, about: whole records, as a message of their own."""


class Piece(msgspec.Struct, frozen=True):
    """A part of a body that is a body of the same format by itself: whole records, and what they need around them.

    Attributes:
        body: its bytes.
        meta: what its message carries besides the body's own: ``broken``, the reason why it does not decode; ``line``,
            how many lines of the body came before; ``format``, as which kind it was recognised; ``rest``, that the
            records were in the pieces before.
    """

    body: bytes
    meta: dict[str, Any] = {}


class Broken(msgspec.Struct, frozen=True):
    """Stands for a record that cannot be read, among others that can.

    Attributes:
        reason: short and stable, to group by.
        detail: a sentence with the place, what is wrong, and the remedy.
    """

    reason: str
    detail: str


class Cutter(ABC):
    """Cuts one body into pieces as it comes in. Total: whatever is malformed lies in a piece that does not decode."""

    @property
    @abstractmethod
    def held(self) -> int:
        """Bytes that are held because no whole record has ended; the caller's bound on them bounds a record."""

    @abstractmethod
    def feed(self, data: bytes) -> Piece | None:
        """Take the next bytes, a piece's worth at most; give a piece if one has become whole."""

    @abstractmethod
    def end(self) -> Piece:
        """Give the rest: the last piece, which may hold no record."""


class Gatherer(Cutter):
    """Gathers bytes until they make a piece. As it stands it never finds a place to cut: one message, whole.

    Args:
        size: that a piece should have.
    """

    def __init__(self, size: int) -> None:
        self._chunks: list[bytes] = []
        self._size = 0
        self._least = self._wanted = size

    @property
    def held(self) -> int:
        """Bytes that are held; see Cutter."""
        return self._size

    def feed(self, data: bytes) -> Piece | None:
        """Take the next bytes; see Cutter."""
        self._chunks.append(data)
        self._size += len(data)
        if self._size < self._wanted:
            return None
        block = b"".join(self._chunks)
        end = self.boundary(block)
        piece = self.piece(block[:end]) if end else None
        self._chunks = [block[end:]]
        self._size -= end
        # Twice what was in vain: a record of any size is looked at a few times, not once for every chunk.
        self._wanted = max(self._least, 2 * self._size)
        return piece

    def end(self) -> Piece:
        """Give the rest; see Cutter."""
        return self.last(b"".join(self._chunks))

    def boundary(self, block: bytes) -> int:  # noqa: ARG002  for those that look
        """Give where the last record ends that is surely whole; 0 when none is."""
        return 0

    def piece(self, body: bytes) -> Piece:
        """Make a piece of the bytes before a boundary."""
        return Piece(body)

    def last(self, body: bytes) -> Piece:
        """Make a piece of what is left when the body has ended."""
        return Piece(body)


class Format(Connector, ABC):
    """Decodes messages. Total: any bytes give records or a FormatError, never another exception.

    Attributes:
        types: the media types that say that a body is of this format; ``+xml`` stands for any that ends so.
        suffixes: the endings of file names that say so where the media type says nothing.
        has_paths: whether records may lie at a path, ``records``.
    """

    types: ClassVar[tuple[str, ...]] = ()
    suffixes: ClassVar[tuple[str, ...]] = ()
    has_paths: ClassVar[bool] = True

    @classmethod
    def likeness(cls, start: bytes) -> int:  # noqa: ARG003  for those that look
        """Say how much the first bytes of a body look like this format: 0 for not at all."""
        return 0

    @abstractmethod
    def decode(self, message: Message, records: str | None) -> list[Any]:
        """Give the records of a message; a Broken stands for each that cannot be read where others can.

        Args:
            message: the raw bytes.
            records: path to the list of records; None for the document itself, a list or one record.

        Raises:
            FormatError: the bytes are not what the format says, or the path leads to no list or object.
        """

    def typed(self, records: str | None, shape: Any) -> Callable[[Message], list[Any]] | None:
        """Give a decoder that makes records of a type, reading no other fields; None where the format has none.

        Called with a message it gives what ``decode`` gives, or raises, where the records are not of that type.
        """
        del records, shape
        return None

    @abstractmethod
    def raw(self, message: Message, records: str | None, index: int) -> bytes:
        """Give the raw bytes of one record of a message that decodes; used for quarantine, so it may be slow."""

    def document(self, message: Message) -> Any:
        """Give the whole document, for the paths of paging.

        Raises:
            FormatError: as for decode.
        """
        return self.decode(message, None)

    def glance(self, path: Path | None) -> Callable[[Message], Any]:  # noqa: ARG002  for those that can read less
        """Give what reads of a document no more than what lies at a path, or than whether it is one, where it can."""
        return self.document

    def cutter(self, meta: Mapping[str, Any], records: str | None, size: int = PIECE) -> Cutter:  # noqa: ARG002  for those that cut
        """Give what cuts one body into pieces that decode, one by one, to the records of the whole.

        Args:
            meta: that of the body's messages.
            records: as for decode.
            size: bytes that a piece should have, about.
        """
        return Gatherer(size)

    def writes_one_alone(self, message: Message) -> bool:  # noqa: ARG002  for those that have no lists
        """Say whether a list of one is written as its item alone, so that nobody can tell the two apart."""
        return False

    def kind_of(self, message: Message) -> str:  # noqa: ARG002  for a format that stands for others
        """Name the format that a message is decoded as."""
        return str(self.model_dump()["kind"])

    def untyped(self, message: Message) -> bool:  # noqa: ARG002  for a format that stands for others
        """Say whether all values of a message are texts, so that an empty one is how the format writes null."""
        return False

    def beside(self, message: Message, records: str | None) -> Mapping[str, Any] | None:  # noqa: ARG002  XML asks
        """Give the meta data that one record of the message needs, besides its raw bytes, to be read again."""
        return message.meta

    def reread(self, message: Message) -> Any:
        """Give the record whose raw bytes, as ``raw`` gave them, are the message's body, and its meta from ``beside``.

        Raises:
            FormatError: the bytes are not one record.
        """
        records = self.decode(message, None)
        if len(records) != 1:
            raise FormatError(f"these bytes hold {len(records)} records, not the one that was refused")
        return records[0]


def refuse_rest(message: Message) -> None:
    """Raise what a cutter found wrong with the body that a message is the rest of.

    Raises:
        FormatError: there is something wrong.
    """
    if message.meta is not None and (reason := message.meta.get("broken")):
        raise FormatError(reason)
