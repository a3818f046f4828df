"""Puts the values of a row into a request, so that a value stays a value: it never leaves its segment of a path."""

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import quote

from service.config.connectors import Settings
from service.config.foreach import PLACE, Value
from service.errors import SourceRefused

Asking = TypeVar("Asking", bound=Settings)

_DOTS = re.compile(r"\.{0,2}")


def bound(settings: Asking, values: Mapping[str, Value]) -> Asking:
    """Give the feed that asks for what belongs to one row.

    Raises:
        SourceRefused: a value cannot be put where it belongs.
    """
    fills: dict[str, Callable[[Any, Mapping[str, Value]], Any]] = {
        "path": in_path,
        "url": in_path,
        "params": in_texts,
        "headers": in_texts,
        "body": in_body,
    }
    filled = {name: fill(getattr(settings, name), values) for name, fill in fills.items()}
    return settings.model_copy(update={**filled, "for_each": None})


def in_path(template: str | None, values: Mapping[str, Value]) -> str | None:
    """Fill a path or an address, in which everything of a value but letters, digits and ``-._~`` is escaped.

    Raises:
        SourceRefused: a segment would be empty, ``.`` or ``..``, which no escape keeps from being a way.
    """
    if template is None:
        return None
    path, mark, rest = template.partition("?")
    segments = [_written(segment, values, escape=True) for segment in path.split("/")]
    for before, after in zip(path.split("/"), segments, strict=True):
        if before != after and _DOTS.fullmatch(after):
            raise SourceRefused(f"{after!r} in place of {before} is no segment of a path; narrow `where`")
    return "/".join(segments) + mark + _written(rest, values, escape=True)


def in_texts(template: Mapping[str, Any], values: Mapping[str, Value]) -> dict[str, Any]:
    """Fill the values of parameters or headers; they are escaped when they are sent."""
    return {name: _written(value, values) if isinstance(value, str) else value for name, value in template.items()}


def in_body(template: Any, values: Mapping[str, Value]) -> Any:
    """Fill a body: a text that is one place becomes the value itself, a number too; within a text it is written."""
    if isinstance(template, dict):
        return {name: in_body(value, values) for name, value in template.items()}
    if isinstance(template, list | tuple):
        return [in_body(value, values) for value in template]
    if not isinstance(template, str):
        return template
    whole = PLACE.fullmatch(template)
    return values[whole[1]] if whole is not None else _written(template, values)


def text(value: Value) -> str:
    """Write a value as it stands in a query: a boolean is ``true`` or ``false``."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _written(template: str, values: Mapping[str, Value], *, escape: bool = False) -> str:
    return PLACE.sub(
        lambda place: quote(text(values[place[1]]), safe="") if escape else text(values[place[1]]), template
    )
