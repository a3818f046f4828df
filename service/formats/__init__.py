"""Formats: how the bytes of a message become records, one file a kind."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from service.config.connectors import Connector
from service.errors import FormatError
from service.model import Message


class Format(Connector, ABC):
    """Decodes messages. Total: any bytes give records or a FormatError, never another exception."""

    @abstractmethod
    def decode(self, message: Message, records: str | None) -> list[Any]:
        """Give the records of a message.

        Args:
            message: the raw bytes.
            records: dotted path to the list of records; None for the document itself, a list or one record.

        Raises:
            FormatError: the bytes are not what the format says, or the path leads to no list or object.
        """

    def typed(self, records: str | None, shape: type[msgspec.Struct]) -> Callable[[Message], list[Any]] | None:
        """Give a decoder that makes records of a type, reading no other fields; None where the format has none.

        Called with a message it gives what ``decode`` gives, or raises, where the records are not of that type.
        """
        del records, shape
        return None

    @abstractmethod
    def raw(self, message: Message, records: str | None, index: int) -> bytes:
        """Give the raw bytes of one record of a message that decodes; used for quarantine, so it may be slow."""

    def beside(self, message: Message) -> Mapping[str, Any] | None:
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
