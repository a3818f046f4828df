"""Durations, sizes and rates as people write them."""

import re
from typing import Annotated, Any, NamedTuple

from pydantic import BeforeValidator, Field, GetJsonSchemaHandler, GetPydanticSchema, WithJsonSchema
from pydantic_core import core_schema

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "KB": 10**3, "MB": 10**6, "GB": 10**9}
_NUMBER = r"\s*(\d{1,15}(?:\.\d{1,15})?)"  # bounded: a size of a thousand digits is no float
_QUANTITY = re.compile(rf"{_NUMBER}\s*([A-Za-z]*)\s*")
_RATE = re.compile(rf"{_NUMBER}\s*/\s*(s|min|m|h|d)\s*")


def _duration(value: Any) -> Any:
    match = _QUANTITY.fullmatch(value) if isinstance(value, str) else None
    if match is None or match[2] not in _SECONDS:
        raise ValueError(f"{value!r:.60} is not a duration; write a number with a unit: 250ms 30s 5m 2h 7d")
    return float(match[1]) * _SECONDS[match[2]]


def _size(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    match = _QUANTITY.fullmatch(value) if isinstance(value, str) else None
    if match is None or (match[2] or "B") not in _BYTES:
        raise ValueError(f"{value!r:.60} is not a size; write a number with a unit: 64KiB 16MiB 1GiB")
    return int(float(match[1]) * _BYTES[match[2] or "B"])


Duration = Annotated[
    float,
    BeforeValidator(_duration),
    WithJsonSchema({"type": "string", "pattern": r"^\s*\d+(\.\d+)?\s*(ms|s|m|min|h|d)\s*$", "examples": ["30s"]}),
]
"""A span of time in seconds, written ``250ms``, ``30s``, ``5m``, ``2h`` or ``7d``."""

Size = Annotated[
    int,
    BeforeValidator(_size),
    WithJsonSchema({"type": ["string", "integer"], "examples": ["64KiB", "2GiB"]}),
]
"""A number of bytes, written ``64KiB``, ``16MiB`` or ``1GiB``."""


class Pace(NamedTuple):
    """At most ``count`` requests in any ``seconds``."""

    count: float  # type: ignore[assignment]  # a tuple's count() is not missed
    seconds: float


def _rate(value: Any) -> Any:
    if isinstance(value, Pace):
        return value
    match = _RATE.fullmatch(value) if isinstance(value, str) else None
    if match is None or float(match[1]) == 0:
        raise ValueError(f"{value!r:.60} is not a rate; write a number over a unit: 10/s 600/min 5000/h")
    return Pace(float(match[1]), _SECONDS[match[2]])


def _rate_schema(_source: Any, _handler: Any) -> core_schema.CoreSchema:
    return core_schema.no_info_plain_validator_function(_rate)


def _rate_json_schema(_schema: core_schema.CoreSchema, _handler: GetJsonSchemaHandler) -> dict[str, Any]:
    return {"type": "string", "pattern": r"^\s*\d+(\.\d+)?\s*/\s*(s|m|min|h|d)\s*$", "examples": ["10/s"]}


Rate = Annotated[Pace, GetPydanticSchema(_rate_schema, _rate_json_schema)]
"""A pace, written ``10/s``, ``600/min`` or ``5000/h``."""

Rates = Annotated[
    tuple[Rate, ...],
    BeforeValidator(lambda value: value if isinstance(value, list | tuple) else [value]),
    Field(json_schema_extra={"type": ["array", "string"]}),
]
"""A pace, or a list of those."""


class Window(NamedTuple):
    """What is remembered: of at most ``keys`` keys, for at most ``seconds`` (None: as long as there is room)."""

    keys: int
    seconds: float | None


MAX_KEYS = 1_000_000
"""Keys of a window that is given as a time."""


def _window(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return Window(value, None)
    match = _QUANTITY.fullmatch(value) if isinstance(value, str) else None
    if match is not None and float(match[1]) > 0:
        if match[2] in _SECONDS:
            return Window(MAX_KEYS, float(match[1]) * _SECONDS[match[2]])
        if match[1].isdigit() and not match[2]:
            return Window(int(match[1]), None)
    raise ValueError(f"{value!r:.60} is no window; write a duration such as 10m, or a number of keys such as 1000000")


def _window_schema(_source: Any, _handler: Any) -> core_schema.CoreSchema:
    return core_schema.no_info_plain_validator_function(
        lambda value: value if type(value) is Window else _window(value)
    )


def _window_json_schema(_schema: core_schema.CoreSchema, _handler: GetJsonSchemaHandler) -> dict[str, Any]:
    return {"type": ["string", "integer"], "examples": ["10m", 1_000_000]}


MemoryWindow = Annotated[Window, GetPydanticSchema(_window_schema, _window_json_schema)]
"""A window, written ``10m`` or ``1000000`` (keys)."""


FEWEST = 100
"""Records that a breaker needs at least, so that a small bad batch does not stop a feed."""


def _breaker(value: Any) -> Any:
    if value == "off" or (value == 0 and value is not False):
        return 0
    number = int(value) if isinstance(value, str) and re.fullmatch(r"\d{1,9}", value) else value
    if isinstance(number, int) and not isinstance(number, bool) and number >= FEWEST:
        return number
    raise ValueError(f"{value!r:.60} is neither a number of records, at least {FEWEST}, nor off")


Breaker = Annotated[
    int,
    BeforeValidator(_breaker),
    WithJsonSchema({"type": ["string", "integer"], "examples": [1000, "off"]}),
]
"""A number of records, or ``off``, which is 0."""
