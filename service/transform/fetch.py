"""Where a column's value comes from: the lines that walk its paths in the record ``r`` or the message ``m``."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from service.config.paths import Path, parse_path
from service.model import Message
from service.transform.code import Code, indented
from service.transform.shape import Shape
from service.transform.violations import Violation, kind_of

_ABSENT = object()


def never(_message: Message) -> bool:
    """Say that a list is always one."""
    return False


def emit_fetch(
    code: Code,
    paths: tuple[str, ...],
    feed: str,
    *,
    lists: bool,
    shape: Shape | None = None,
    is_alone: Callable[[Message], bool] = never,
) -> None:
    """Add the lines that leave in ``v`` what the first present path leads to, None where all are absent or null.

    Args:
        code: receives the lines.
        paths: as in MapValue.
        feed: ``provider.feed``, for the envelope.
        lists: whether a record may be a list; else the first step needs no test.
        shape: of the record, where it was decoded to one.
        is_alone: whether a list of one stands in a message as its item alone.
    """
    for number, path in enumerate(paths):
        lines = _walk(code, path, feed, lists=lists, shape=shape, is_alone=is_alone)
        code.add(*(lines if number == 0 else ["if v is None:", *indented(lines)]))


def emit_present(code: Code, paths: Sequence[Path], *, lists: bool, is_alone: Callable[[Message], bool]) -> None:
    """Add the lines that fetch as ``emit_fetch`` does, and leave in ``p`` whether any of the paths is there.

    A path is there if each of its steps is, whatever it leads to: null as well.

    Args:
        code: receives the lines.
        paths: into the record ``r``, which was decoded whole.
        lists: as above.
        is_alone: as above.
    """
    absent = code.constant(_ABSENT)
    code.add("p = False")
    for number, path in enumerate(paths):
        lines = ["v = r"]
        for at, step in enumerate(path):
            constant = code.constant(step)
            if isinstance(step, int):
                lines += _item(code, step, absent, is_alone)
            elif at or lists:
                lines.append(f"v = v.get({constant}, {absent}) if type(v) is dict else {absent}")
            else:
                lines = [f"v = r.get({constant}, {absent})"]
        lines += [f"if v is {absent}:", "    v = None", "else:", "    p = True"]
        code.add(*(lines if number == 0 else ["if v is None:", *indented(lines)]))


def inside(written: str) -> Path | None:
    """Give where in the record a path leads; None where it leads to what every record has: the envelope, the whole."""
    path = parse_path(written)
    if not written.startswith("$"):
        return path
    return path[1:] or None if path[0] == "$record" else None


def _item(code: Code, step: int, absent: str, is_alone: Callable[[Message], bool]) -> list[str]:
    """Give the lines that take an item of a list."""
    lines = [f"v = v[{step}] if type(v) is list and len(v) > {step} else {absent}"]
    if step == 0 and is_alone is not never:
        alone = f"v is not None and v is not {absent} and type(v) is not list and {code.constant(is_alone)}(m)"
        lines = [f"if not ({alone}):", *indented(lines)]
    return lines


def _walk(
    code: Code, written: str, feed: str, *, lists: bool, shape: Shape | None, is_alone: Callable[[Message], bool]
) -> list[str]:
    path = parse_path(written)
    checked = False
    if written.startswith("$"):
        origin, path = _envelope(code, str(path[0]), feed), path[1:]
        is_alone = is_alone if origin == "r" else never
    elif shape is not None:
        origin, path = shape.reach(path)
    else:
        origin, checked = "r", not lists
    lines = [f"v = {origin}"]
    for step in path:
        constant = code.constant(step)
        if isinstance(step, int):
            lines += _item(code, step, "None", is_alone)
        elif checked:
            lines = [f"v = {origin}.get({constant})"]
        else:
            lines.append(f"v = v.get({constant}) if type(v) is dict else None")
        checked = False
    return lines


def _envelope(code: Code, name: str, feed: str) -> str:
    """Give the expression of a part of the envelope."""
    match name:
        case "$record":
            return "r"
        case "$position":
            return "m.position"
        case "$received_at":
            return f"{code.constant(_received_at)}(m)"
        case "$params":
            return f"{code.constant(_params)}(m)"
        case _:
            return code.constant(feed if name == "$feed" else feed.partition(".")[0])


def _received_at(message: Message) -> datetime:
    return datetime.fromtimestamp(message.received_at, UTC)


def _params(message: Message) -> Any:
    return (message.meta or {}).get("params")


def word(value: Any) -> str:
    """Give a value as the keys of ``values`` are written: ``true``, ``12``, trimmed text.

    Raises:
        Violation: it is an object or a list.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict | list):
        raise Violation(value, "values", f"is {kind_of(value)}, which `values` cannot list", "map a field inside it")
    return str(value).strip()
