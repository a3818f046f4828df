"""The event stream of HTML (WHATWG, section 9.2.6), parsed as it comes in, however it is cut into chunks."""

from typing import NamedTuple

_BOM = b"\xef\xbb\xbf"
_LONGEST_RETRY = 9
"""Digits of a reconnection time; more would be eleven days and longer."""


class Event(NamedTuple):
    """One dispatched event.

    Attributes:
        name: its type; ``message`` where the stream names none.
        id: the last event id when it was dispatched, maybe set by an earlier event; None when there was none.
        data: its lines, joined by line feeds, as the bytes that came.
    """

    name: str
    id: str | None
    data: bytes


class EventStream:
    """Parses one stream.

    Args:
        last_id: the last event id that is known from before this stream.

    Attributes:
        last_id: the last event id; empty when the stream took it back.
        retry: seconds that the provider wants between two connections, or None.
    """

    def __init__(self, last_id: str | None = None) -> None:
        self.last_id = last_id
        self.retry: float | None = None
        self._pending_id = last_id
        self._begun = False
        self._after_cr = False
        self._rest = b""
        self._name = ""
        self._data: list[bytes] = []
        self._size = 0

    @property
    def held(self) -> int:
        """Bytes that are held because their event has not ended; the caller's bound on them bounds an event."""
        return self._size + len(self._rest)

    def feed(self, chunk: bytes) -> list[Event]:
        """Take the next bytes; give the events that they complete. What the end of the stream cuts off is no event."""
        if self._after_cr and chunk:
            chunk, self._after_cr = chunk.removeprefix(b"\n"), False
        block = self._rest + chunk
        if not self._begun:
            if len(block) < len(_BOM) and _BOM.startswith(block):
                self._rest = block
                return []
            self._begun, block = True, block.removeprefix(_BOM)
        lines = block.splitlines()
        self._after_cr = self._after_cr or block.endswith(b"\r")
        self._rest = b"" if not lines or block.endswith((b"\r", b"\n")) else lines.pop()
        return [event for line in lines if (event := self._line(line)) is not None]

    def _line(self, line: bytes) -> Event | None:
        if not line:
            return self._dispatch()
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        match field:
            case b"data":
                self._data.append(value)
                self._size += len(value) + 1
            case b"event":
                self._name = value.decode(errors="replace")
            case b"id" if b"\0" not in value:
                self._pending_id = value.decode(errors="replace")
            case b"retry" if value.isdigit() and len(value) <= _LONGEST_RETRY:
                self.retry = int(value) / 1000
        return None

    def _dispatch(self) -> Event | None:
        name, lines = self._name or "message", self._data
        self._name, self._data, self._size = "", [], 0
        self.last_id = self._pending_id
        return Event(name, self.last_id, b"\n".join(lines)) if lines else None
