"""Values that Python code gave (an expression, the user's own function), as a decoder would have given them."""

from datetime import date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec

_OWN = (bytes, datetime, date, time, Decimal, UUID)
"""What columns take as it is."""


def given(value: Any, *, in_order: bool = True) -> Any:
    """Give a value made of dicts, lists and scalars; a double becomes a decimal with the digits that Python prints.

    Args:
        value: what was given.
        in_order: whether the order of keys means something; else they are sorted.

    Raises:
        TypeError: some value in it has no such form.
        ValueError: as TypeError.
        RecursionError: it is nested without end.
    """
    return _exact(
        msgspec.to_builtins(value, builtin_types=_OWN, str_keys=True, order=None if in_order else "deterministic")
    )


def _exact(value: Any) -> Any:
    if isinstance(value, float):
        return Decimal(repr(value))
    if isinstance(value, dict):
        return {key: _exact(item) for key, item in value.items()}
    return [_exact(item) for item in value] if isinstance(value, list | tuple) else value
