"""``where`` and ``delete_when``: conditions that say which records a feed or route is about, and which delete."""

from typing import Any

from service.transform.code import Code, indented
from service.transform.expression import Expression
from service.transform.names import TYPES
from service.transform.shape import Shape
from service.transform.simple import Unsure, emit_simple
from service.transform.violations import Violation, kind_of


class Where(Expression):
    """A condition; null, such as an absent field is, counts as false.

    Args:
        text: as it is written.
        option: that it is the value of.
    """

    def __init__(self, text: str, option: str = "where") -> None:
        super().__init__(text, option)

    def __call__(self, record: Any) -> bool:
        """Say whether the expression is true of a record.

        Raises:
            Violation: it cannot be evaluated, such as ``score > 1`` where score is text, or is neither true nor false.
        """
        return self._truth(self.value(record))

    def emit_test(self, code: Code, shape: Shape | None) -> None:
        """Add the lines that leave in ``w`` whether the expression is true of the record ``r``."""
        asked = f"w = {code.constant(self._truth)}({self.emit(code, shape)})"
        names: dict[tuple[str, ...], str] = {}
        lines: list[str] = []

        def fetch(path: tuple[str, ...]) -> str:
            if path not in names:
                if path[0] in TYPES or not self.hands_over(path):
                    raise KeyError(path)
                names[path] = f"w{len(names)}"
                lines.extend(_fetched(code, names[path], path, shape))
            return names[path]

        condition = emit_simple(code, self.text, fetch)
        if condition is None:
            code.add(asked)
            return
        code.add("try:", *indented([*lines, f"w = {condition}"]))
        code.add(f"except {code.constant(Unsure)}:", f"    {asked}")

    def _truth(self, value: Any) -> bool:
        if value is None or isinstance(value, bool):
            return bool(value)
        said = f"`{self.option}: {self.text}` is {kind_of(value)}, neither true nor false,"
        raise Violation(value, self.option, said, "compare it with something")


def _fetched(code: Code, name: str, path: tuple[str, ...], shape: Shape | None) -> list[str]:
    """Give the lines that walk a path; what lies inside anything but an object or null is left to the library."""
    reached, rest = shape.reach(path) if shape is not None else ("r", path)
    lines = [f"{name} = {reached}"]
    for step in rest:
        inside, inner = f"{name}.get({code.constant(step)})", code.constant(_inside)
        lines.append(f"{name} = {inside} if type({name}) is dict else {inner}({name})")
    return lines


def _inside(value: Any) -> None:
    if value is not None:
        raise Unsure
