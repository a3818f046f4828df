"""What does not fit: the violation of one column's rule, and how values are shown to people."""

from collections.abc import Callable
from decimal import Decimal
from math import isfinite
from typing import Any

import msgspec

from service.masking import hidden, is_secret

_SHOWN = 80
_LOOKED_AT = 10 * _SHOWN
"""Characters in which secrets are looked for; more are never shown."""
_CONTROL = {code: f"\\u{code:04x}" for code in range(127, 160)}
"""Control characters that JSON leaves as they are: a terminal may obey them."""
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


def shown(value: Any, *names: str) -> str:
    """Give a value as JSON, shortened to about 80 characters; what looks like a secret is three stars.

    Args:
        value: any that was decoded.
        names: of the fields that it comes from; a password shows no more by itself than inside its record.
    """
    if any(map(is_secret, names)):
        return '"***"'
    if isinstance(value, float) and not isfinite(value):
        return str(value)  # JSON would have null
    try:
        text = _encode(_without_secrets(value)).decode()
    except (ValueError, RecursionError):  # a lone surrogate, or nested too deeply to be written
        text = ascii(value) if isinstance(value, str) else kind_of(value)
    return shortened(text)


def shortened(text: str) -> str:
    """Give the first 80 characters or so of a text; what looks like a secret in it is three stars."""
    text = hidden(text[:_LOOKED_AT].translate(_CONTROL))
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def masked(value: Any) -> Any:
    """Give a decoded value with three stars in place of what looks like a secret; only its kind if it has no end."""
    try:
        return _without_secrets(value)
    except RecursionError:
        return kind_of(value)


def _without_secrets(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: "***" if isinstance(key, str) and is_secret(key) else _without_secrets(item)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_without_secrets(item) for item in value]
    return hidden(value) if isinstance(value, str) else value


def kind_of(value: Any) -> str:
    """Name the JSON kind of a value; of one that JSON has no kind for, its class."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    kinds = {"dict": "an object", "list": "a list", "str": "text"}
    other = "a number" if isinstance(value, int | float | Decimal) else type(value).__name__
    return kinds.get(type(value).__name__, other)
