"""Fills places such as ``{item}`` or ``{reply.token}`` in what is sent to a provider."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from service.config.paths import parse_path
from service.lookup import lookup

REPLIES = frozenset({"reply", "replies"})
"""The message that was last waited for, and the list of all so far."""
RESUME = "resume"
"""What was kept of earlier data; a place without a value is left out, with the key that it is the value of."""

_PLACE = re.compile(r"\{([a-z]+)((?:[.\[][^{}\"]*)?)\}")
_ABSENT = object()


class Unfilled(ValueError):  # noqa: N818  the absence is what it says
    """A place has no value."""


def check(template: Any, known: frozenset[str]) -> Any:
    """Give the template back.

    Raises:
        ValueError: it has a place of a name that is not known, or a wrong path.
    """
    for text in texts(template):
        for name, path in _PLACE.findall(text):
            if name not in known:
                names = " ".join(f"{{{each}}}" for each in sorted(known))
                raise ValueError(f"{{{name}{path}}} is not known here; there are {names}")
            parse_path(name + path)
    return template


def texts(template: Any) -> Iterator[str]:
    """Give every text of a template."""
    if isinstance(template, str):
        yield template
    elif isinstance(template, dict):
        for name, value in template.items():
            yield name
            yield from texts(value)
    elif isinstance(template, list | tuple):
        for value in template:
            yield from texts(value)


def fill(template: Any, values: Mapping[str, Any]) -> Any:
    """Fill a template: a text that is one place becomes its value, of whatever type; within a text it is written.

    Raises:
        Unfilled: a place, other than of ``resume``, has no value.
    """
    found = _fill(template, values)
    return None if found is _ABSENT else found


def message(template: Any, values: Mapping[str, Any]) -> str:
    """Fill a template and write it as it is sent: a text as it is, anything else as JSON."""
    found = fill(template, values)
    return found if isinstance(found, str) else orjson.dumps(found).decode()


def _fill(template: Any, values: Mapping[str, Any]) -> Any:
    if isinstance(template, dict):
        pairs = ((_text(name, values), _fill(value, values)) for name, value in template.items())
        return {name: value for name, value in pairs if value is not _ABSENT}
    if isinstance(template, list | tuple):
        return [found for value in template if (found := _fill(value, values)) is not _ABSENT]
    if not isinstance(template, str):
        return template
    whole = _PLACE.fullmatch(template)
    return _value(whole, values) if whole is not None else _text(template, values)


def _text(template: str, values: Mapping[str, Any]) -> str:
    def written(place: re.Match[str]) -> str:
        value = _value(place, values)
        if value is _ABSENT:
            return ""
        return value if isinstance(value, str) else orjson.dumps(value).decode()

    return _PLACE.sub(written, template)


def _value(place: re.Match[str], values: Mapping[str, Any]) -> Any:
    found = lookup(dict(values), parse_path(place[1] + place[2]))
    if found is None and place[1] == RESUME:
        return _ABSENT
    if found is None:
        raise Unfilled(f"there is no {place[0]}")
    return found
