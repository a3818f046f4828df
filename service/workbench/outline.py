"""A record written out line by line, so that single values of it can be pointed at."""

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NamedTuple

from service.config.paths import Path, parse_path
from service.lookup import lookup
from service.masking import is_secret
from service.transform.violations import masked, shown

MAX_LINES = 200
"""Lines of one record; a longer one is cut, as nobody reads on."""
_SHORT = 60
_CELL = 200
"""Characters of one value of a row that are shown."""
_CONTROL = {code: repr(chr(code))[1:-1] for code in (*range(32), *range(127, 160))}
"""How characters are written that would move the cursor, or do worse: a provider does not steer the terminal."""


class Line(NamedTuple):
    """One line of a record.

    Attributes:
        path: of the value in it; of an object or list whose end it is, that of the object or list.
        text: indented.
    """

    path: Path
    text: str


def outline(record: Any) -> list[Line]:
    """Write a record as indented JSON; what looks like a secret is masked, short lists stay on one line."""
    lines: list[Line] = []
    for line in _lines((), "", record, 0, ""):
        if len(lines) == MAX_LINES:
            return [*lines, Line((), "…")]
        lines.append(line)
    return lines


def located(record: Any, paths: tuple[str, ...]) -> Path | None:
    """Give where in the record a column's value comes from: the first of its paths that is present.

    None where it comes from the envelope. A path that leads nowhere is cut where the record ends.
    """
    inside = [parse_path(path) for path in paths if not path.startswith("$")]
    for path in inside:
        if lookup(record, path) is not None:
            return path
    return _as_far(record, inside[0]) if inside else None


def said(value: Any) -> str:
    """Give a value of a row as text for people, on one line."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, list):
        return f"[{', '.join(map(said, value))}]"
    if isinstance(value, Decimal):
        return f"{value:f}"
    return f"\\x{value.hex()}" if isinstance(value, bytes) else str(value).translate(_CONTROL)


def cell(value: Any, *, secret: bool = False) -> str:
    """Give a value of a row, what looks like a secret masked, a long one shortened; ``secret`` is one for its name."""
    if secret and value is not None:
        return "***"
    text = said(masked(value[: 10 * _CELL] if isinstance(value, str | bytes) else value))
    return text if len(text) <= _CELL else f"{text[:_CELL]}…"


def _as_far(record: Any, path: Path) -> Path:
    """Cut a path where the record ends; a null is there."""
    value = record
    for length, step in enumerate(path):
        inside = isinstance(value, dict) if isinstance(step, str) else isinstance(value, list)
        if not inside or (step not in value if isinstance(step, str) else step >= len(value)):
            return path[:length]
        value = value[step]
    return path


def _lines(path: Path, lead: str, value: Any, depth: int, tail: str) -> Iterator[Line]:
    indent = "  " * depth
    if path and isinstance(path[-1], str) and is_secret(path[-1]):
        yield Line(path, f'{indent}{lead}"***"{tail}')
    elif isinstance(value, dict) and value and depth < MAX_LINES:
        yield Line(path, f"{indent}{lead}{{")
        yield from _items(path, [(key, f"{shown(key)}: ", item) for key, item in value.items()], depth)
        yield Line(path, f"{indent}}}{tail}")
    elif isinstance(value, list) and value and not _is_short(value) and depth < MAX_LINES:
        yield Line(path, f"{indent}{lead}[")
        yield from _items(path, [(index, "", item) for index, item in enumerate(value)], depth)
        yield Line(path, f"{indent}]{tail}")
    else:
        yield Line(path, f"{indent}{lead}{shown(value)}{tail}")


def _items(path: Path, items: list[tuple[Any, str, Any]], depth: int) -> Iterator[Line]:
    for number, (step, lead, value) in enumerate(items, 1):
        yield from _lines((*path, step), lead, value, depth + 1, "," if number < len(items) else "")


def _is_short(value: list[Any]) -> bool:
    return not any(isinstance(item, dict | list) for item in value) and len(shown(value)) <= _SHORT
