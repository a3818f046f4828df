"""Follows a dotted path into a decoded document, and checks such paths in the settings of connectors."""

from itertools import takewhile
from typing import Annotated, Any, TypedDict

from pydantic import AfterValidator

from service.config.paths import Path, parse_path


def _checked(text: str) -> str:
    parse_path(text)
    return text


DottedPath = Annotated[str, AfterValidator(_checked)]
"""A path such as ``a.b[0].c``, refused when the configuration is read if it is not one."""


def narrowed(path: Path | None) -> Any:
    """Give the type of objects of which a decoder reads only what lies at a path, for ``lookup``; nothing without one.

    From its first index on a path leads through a whole value.
    """
    make: Any = TypedDict  # made at run time, which type checkers do not know
    kind: Any = make("Narrowed", {}, total=False)
    keys = [step for step in takewhile(lambda step: isinstance(step, str), path or ()) if isinstance(step, str)]
    for number, key in enumerate(reversed(keys)):
        kind = make("Narrowed", {key: kind | None if number else Any}, total=False)
    return kind


def lookup(document: Any, path: Path) -> Any:
    """Give what lies at a path, or None when nothing does."""
    for part in path:
        if isinstance(part, str):
            document = document.get(part) if isinstance(document, dict) else None
        else:
            document = document[part] if isinstance(document, list) and part < len(document) else None
    return document
