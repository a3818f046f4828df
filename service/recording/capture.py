"""Captures as cryptofeed writes them: a line for each thing that happened, with its time in seconds.

::

    wss://ws.example.com <-> 1618678132.368463              connected
    wss://ws.example.com <- 1618678132.83097: {"event":…}   sent
    https://api.example.com/x -> 1618678132.9 header: {…}   the head of an answer
    https://api.example.com/x -> 1618678132.9: […]          its body
    1618678132.831468: {"event":…}                          received
"""

import re
from collections.abc import Iterator

from service.recording.event import Event, Kind

_LINE = re.compile(
    rb"(?:(?P<address>\S+) (?P<way><->|<-|->) )?(?P<at>\d{9,11}(?:\.\d+)?)(?:(?P<head> header)?: ?(?P<body>.*))?",
    re.DOTALL,
)
_CONFIGURATION = b"configuration: "


def is_capture(line: bytes) -> bool:
    """Whether this is the first line of a capture."""
    return line.startswith(_CONFIGURATION) or _parsed(line) is not None


def captured(lines: Iterator[bytes]) -> Iterator[Event]:
    """Give events; a line that begins otherwise goes on with what the line before it said."""
    event: Event | None = None
    said: list[bytes] = []
    addresses: dict[bytes, int] = {}
    for line in lines:
        found = _parsed(line)
        if found is None:
            said += [line] if event is not None else []
            continue
        if event is not None:
            yield _with(event, said)
        address = found["address"]
        number = addresses.setdefault(address, len(addresses)) if address is not None else 0
        way = "header" if found["head"] is not None else (found["way"] or b"").decode()
        event = Event(float(found["at"]), _KINDS[way], number)
        said = [address if way == "<->" and address is not None else found["body"] or b""]
    if event is not None:
        yield _with(event, said)


_KINDS: dict[str, Kind] = {"<->": "open", "<-": "sent", "->": "message", "": "message", "header": "heard"}


def _parsed(line: bytes) -> re.Match[bytes] | None:
    found = _LINE.fullmatch(line)
    # Only a connection says nothing after its time.
    return found if found is not None and (found["body"] is not None or found["way"] == b"<->") else None


def _with(event: Event, said: list[bytes]) -> Event:
    """Complete an event with what was said; empty lines at its end are between events."""
    while len(said) > 1 and not said[-1]:
        said.pop()
    body = b"\n".join(said)
    try:
        return Event(event.at, event.kind, event.connection, body.decode())
    except UnicodeDecodeError:
        return Event(event.at, event.kind, event.connection, raw=body)
