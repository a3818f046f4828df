"""Names of the user's own Python, ``package.module:name``, and what they stand for."""

import importlib
import re
from operator import attrgetter
from typing import Any

_NAME = re.compile(r"(?P<module>[^\W\d]\w*(?:\.[^\W\d]\w*)*):(?P<name>[^\W\d]\w*(?:\.[^\W\d]\w*)*)")


def imported(text: str) -> Any:
    """Import what a name stands for.

    Raises:
        ValueError: it is not a name, or what it names cannot be imported; the message says why.
    """
    match = _NAME.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not written as package.module:name")
    try:
        module = importlib.import_module(match["module"])
    except ModuleNotFoundError as error:
        hint = "; install it, or put it beside where headrace is started, or on PYTHONPATH"
        raise ValueError(f"there is no module {error.name}{hint}") from None
    except Exception as error:  # noqa: BLE001  a module of the user's own may raise anything while it is imported
        raise ValueError(f"{match['module']} cannot be imported: {type(error).__name__}: {error}") from None
    try:
        return attrgetter(match["name"])(module)
    except AttributeError:
        raise ValueError(f"{match['module']} has no {match['name']}") from None


def function(text: str) -> Any:
    """Import a function, or whatever else can be called.

    Raises:
        ValueError: as ``imported``, or it cannot be called.
    """
    found = imported(text)
    if not callable(found):
        raise ValueError(f"{text} is no function")  # noqa: TRY004  as for every name that is wrong
    return found
