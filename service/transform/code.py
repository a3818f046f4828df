"""Python that is made at run time: lines, and the constants that they close over."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from types import CodeType
from typing import Any, cast


class Code:
    """Lines of Python, and by name the objects that they use.

    Words of the configuration enter only as constants, never as part of a line, so that no name, path or value of
    theirs can become code.

    Args:
        prefix: begins the names of the constants; an identifier that no other code in the same function has.
    """

    def __init__(self, prefix: str) -> None:
        self.lines: list[str] = []
        self.constants: dict[str, Any] = {}
        self._prefix = prefix

    def constant(self, value: Any) -> str:
        """Give the name under which lines may use an object."""
        name = f"{self._prefix}_{len(self.constants)}"
        self.constants[name] = value
        return name

    def add(self, *lines: str) -> None:
        """Append lines."""
        self.lines += lines

    def unless_null(self, start: int) -> None:
        """Let the lines from number ``start`` on run only where ``v`` is not None."""
        if guarded := self.lines[start:]:
            self.lines[start:] = ["if v is not None:", *indented(guarded)]


def indented(lines: Iterable[str], by: int = 1) -> list[str]:
    """Indent lines by so many levels."""
    return [f"{'    ' * by}{line}" for line in lines]


def build(signature: str, body: Sequence[str], constants: Mapping[str, Any]) -> Callable[..., Any]:
    """Make a function of its signature, such as ``value(r, m)``, and its lines; constants are closed over."""
    name = signature.partition("(")[0]
    inner = [f"def {signature}:", *indented(body)]
    source = "\n".join([f"def outer({', '.join(constants)}):", *indented(inner), f"    return {name}"])
    namespace: dict[str, Any] = {}
    exec(_compiled(source), namespace)  # noqa: S102  no word of the configuration is in the source
    return cast("Callable[..., Any]", namespace["outer"](**constants))


@lru_cache(maxsize=1024)
def _compiled(source: str) -> CodeType:
    """Compile a source once: hundreds of columns and feeds differ in their constants only."""
    return compile(source, "<mapping>", "exec")
