"""The grammar of dotted paths: ``a.b[0].c``, ``a."b.c"``, ``@id``, ``#text``, ``$params.day``."""

import re
from typing import TypeAlias

Path: TypeAlias = tuple[str | int, ...]
"""Names of keys and numbers of list items, outermost first."""

ENVELOPE = ("$record", "$provider", "$feed", "$received_at", "$position", "$params")
"""The names that a path may begin with to leave the record: they come from the message that carried it."""

_QUOTED = re.compile(r'"([^"]*)"')
_NAME = re.compile(r'[^.\[\]"][^.\[\]]*')
_INDEX = re.compile(r"\[(\d{1,9})\]")


def parse_path(text: str) -> Path:
    """Split a path into names and list indexes: ``a.b[0]."c.d"`` is ``("a", "b", 0, "c.d")``.

    A name may hold anything but ``.``, ``[`` and ``]``; in double quotes it may hold those too. A path that
    begins with ``$`` names a part of the envelope; a field of the record whose own name begins so is
    ``$record.$name``.

    Raises:
        ValueError: the text is not a path; the message says at which character, counted from 1, and why.
    """
    steps: list[str | int] = []
    at = 0
    while at < len(text) or not steps:
        index = _INDEX.match(text, at)
        if index is not None:
            steps.append(int(index[1]))
            at = index.end()
            continue
        if steps:
            at = _dot(text, at)
        name = _QUOTED.match(text, at) or _NAME.match(text, at)
        if name is None:
            raise _wrong(text, at, "a name or an index such as [0] is expected")
        steps.append(name[1] if name.re is _QUOTED else name[0])
        at = name.end()
    _check_envelope(text, steps)
    return tuple(steps)


def _dot(text: str, at: int) -> int:
    if text[at] != ".":
        raise _wrong(text, at, "a dot or an index such as [0] is expected")
    return at + 1


def _check_envelope(text: str, steps: list[str | int]) -> None:
    first = steps[0]
    if not isinstance(first, str) or not text.startswith("$"):
        return
    if first not in ENVELOPE:
        known = " ".join(ENVELOPE)
        raise _wrong(text, 0, f"{first} is no part of the envelope ({known}); a field of that name is $record.{first}")
    if first == "$params" and len(steps) == 1:
        raise _wrong(text, len(text), "$params is followed by the name of a parameter, such as $params.day")


def dotted(path: Path) -> str:
    """Write a path as text, as ``parse_path`` reads it: ``("a", 0, "b.c")`` is ``a[0]."b.c"``.

    Characters that do not print are escaped, as the text ends on a terminal.
    """
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            name = f'"{step}"' if not step or set(step) & set('.[]"') else step
            text += ("." if text else "") + "".join(c if c.isprintable() else ascii(c)[1:-1] for c in name)
    return text


def _wrong(text: str, at: int, why: str) -> ValueError:
    return ValueError(f"{text!r} is not a path: at character {at + 1}, {why}")
