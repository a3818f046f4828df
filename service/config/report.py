"""The list of what is wrong, each with its place; what came from a variable is shown as the file has it."""

import re
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

from service.config.document import Document
from service.config.paths import Path, dotted
from service.config.substitute import Substituted
from service.errors import Problem

_SHOWN = 60
_PASSWORD = re.compile(r"(?<=//)[^/@\s]*@")


class Report:
    """Collects the problems of one document; of several at one path the first is kept.

    Attributes:
        substituted: for each value that held variables, its text in the file and its text with them replaced.
    """

    def __init__(self, name: str, document: Document) -> None:
        self.substituted: dict[Path, tuple[str, Substituted]] = {}
        self._name = name
        self._document = document
        self._problems: dict[Path, Problem] = {}
        for fault in document.faults:
            problem = Problem(fault.code, dotted(fault.path), fault.message, name, *fault.place)
            self._problems.setdefault(fault.path, problem)

    def add(
        self,
        code: str,
        path: Path,
        message: str,
        *,
        close_to: Iterable[str] = (),
        at_key: bool = False,
        meant: str | None = None,
    ) -> None:
        """Note a problem.

        Args:
            code: stable name of the kind of problem.
            path: to the value, or to the key that is missing.
            message: plain words; may hold the value only as ``show`` gives it.
            close_to: names of which one may have been meant.
            at_key: the place is that of the key, not of the value.
            meant: the name within the value that is wrong, where it is not the value itself.
        """
        name = meant or (path[-1] if at_key else self._text(path))
        close = get_close_matches(str(name), [*close_to], n=1) if name is not None else []
        places = self._document.keys if at_key else self._document.values
        place = places.get(path) or self._nearest(path)
        message = self._hide(path, message)
        problem = Problem(code, dotted(path), message, self._name, *place, close[0] if close else None)
        self._problems.setdefault(path, problem)

    def has(self, path: Path) -> bool:
        """Say whether something is wrong at the path."""
        return path in self._problems

    def show(self, path: Path, value: Any) -> str:
        """Give a value for a message: short, without passwords, as its source if it came from a variable."""
        return _show(self.substituted[path][0] if path in self.substituted else value)

    def problems(self) -> list[Problem]:
        """Give all problems in the order of the file."""
        return sorted(self._problems.values(), key=lambda problem: (problem.line, problem.column, problem.path))

    def _text(self, path: Path) -> str | None:
        value = self._document.data
        for step in path:
            try:
                value = value[step]
            except (KeyError, IndexError, TypeError):
                return None
        return self.substituted[path][1] if path in self.substituted else value if isinstance(value, str) else None

    def _nearest(self, path: Path) -> tuple[int, int]:
        """Give the place of the nearest thing that exists: for a missing key, the key above it."""
        for length in range(len(path), -1, -1):
            place = self._document.keys.get(path[:length]) or self._document.values.get(path[:length])
            if place is not None:
                return place
        return 1, 1

    def _hide(self, path: Path, message: str) -> str:
        """Take values that came from variables at or below the path out of the message."""
        for at, (source, value) in self.substituted.items():
            if at[: len(path)] == path and value:
                forms = sorted({value, repr(value)[1:-1]}, key=len, reverse=True)
                hidden = re.sub("|".join(rf"(?<!\w){re.escape(form)}(?!\w)" for form in forms), "\0", message)
                if any(value[start : start + 4] in hidden for start in range(len(value) - 3)):
                    return f"{source} has a value that does not fit here"
                message = hidden.replace("\0", source)
        return message


def _show(value: Any) -> str:
    if not isinstance(value, str):
        return str(value) if isinstance(value, int | float) else type(value).__name__
    text = _PASSWORD.sub("…@", value)
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "…")
