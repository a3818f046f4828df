"""What does not fit: the violation of one column's rule, and how values are shown to people."""

from collections.abc import Callable
from typing import Any

import msgspec

_SHOWN = 80
_encode = msgspec.json.Encoder(decimal_format="number", enc_hook=str).encode


class Violation(Exception):  # noqa: N818  a value's fault, not the program's
    """A value does not fit its column.

    Args:
        value: what does not fit.
        rule: short and stable, to group by: ``max``, ``required``, ``integer``.
        said: what is wrong with the value, as the end of a sentence that begins with it.
        remedy: what would make it fit.
    """

    def __init__(self, value: Any, rule: str, said: str, remedy: str) -> None:
        super().__init__(said)
        self.value = value
        self.rule = rule
        self.said = said
        self.remedy = remedy


def breach(rule: str, said: str, remedy: str) -> Callable[[Any], Violation]:
    """Prepare the violation of a rule, lacking only the value."""
    return lambda value: Violation(value, rule, said, remedy)


def shown(value: Any) -> str:
    """Give a value as JSON, shortened to about 80 characters."""
    try:
        text = _encode(value).decode()
    except (ValueError, RecursionError):  # a lone surrogate, or nested too deeply to be written
        text = ascii(value) if isinstance(value, str) else kind_of(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def kind_of(value: Any) -> str:
    """Name the JSON kind of a value."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    kinds = {"dict": "an object", "list": "a list", "str": "text"}
    return kinds.get(type(value).__name__, "a number")
