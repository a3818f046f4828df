"""CEL expressions (Common Expression Language, cel-spec) over a record's fields, in `where`, `delete_when`, `expr`."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import cel

from service.config.paths import Path
from service.transform.code import Code
from service.transform.names import IF_PRESENT, WHOLE, Wanted, wanted
from service.transform.shape import Shape
from service.transform.violations import Violation

_ATTEMPTS = 20
"""How often an absent field is replaced by null in one evaluation: the names that expressions use are few."""
_PLAIN = frozenset({str, int, bool, type(None)})


class Expression:
    """One compiled expression.

    An absent field is null, also inside another. A number with a fraction is a double here, whatever the column is.
    Only the fields that the expression names are handed over, since each is copied.

    Args:
        text: as it is written.
        option: that it is the value of.

    Attributes:
        paths: of the fields that it needs of a record; None where it needs the record whole.
        fields: the paths that it names, those that it only asks for included; None where it names the whole record, or
            nothing in it.
    """

    def __init__(self, text: str, option: str) -> None:
        self.text = text
        self.option = option
        self._program = cel.compile(text)
        self._wanted = wanted(text, self._program.variables())
        self.paths: list[Path] | None = _paths(self._wanted)
        self.fields: list[Path] | None = None if "record" in self._wanted else list(_leaves(self._wanted)) or None

    def value(self, record: Any) -> Any:
        """Evaluate the expression over a record.

        Raises:
            Violation: it cannot be evaluated, such as ``score > 1`` where score is text.
        """
        fields = record if isinstance(record, dict) else {}
        try:
            context = {
                name: _pick(record if name == "record" else fields.get(name), inner)
                for name, inner in self._wanted.items()
                if inner != IF_PRESENT or name in fields
            }
        except Exception as error:  # noqa: BLE001  a number beyond a double, or depth without end
            raise self._violation(error) from None
        return self.evaluate(context)

    def evaluate(self, context: dict[str, Any]) -> Any:
        """Evaluate the expression over its variables; see ``value``."""
        try:
            for _ in range(_ATTEMPTS):
                try:
                    return self._program.execute(context)
                except KeyError as absent:
                    _fill(context, str(absent.args[0]))
        except Exception as error:  # noqa: BLE001  whatever the library makes of a provider's values
            raise self._violation(error) from None
        return None

    def hands_over(self, path: Path) -> bool:
        """Say whether the value at a path is handed over by itself, not within a larger one: of null, that has none."""
        node: Wanted = self._wanted
        for step in path:
            node = node.get(str(step), "") if isinstance(node, dict) else ""
        return node == WHOLE and path[0] != "record"

    def emit(self, code: Code, shape: Shape | None) -> str:
        """Give the Python expression of the value, for a record ``r`` that was decoded whole or to a shape."""
        if shape is None:
            return f"{code.constant(self.value)}(r)"
        return f"{code.constant(self.evaluate)}({_context(code, shape, self._wanted, (), code.constant(plain))})"

    def _violation(self, error: Exception) -> Violation:
        said = f"`{self.option}: {self.text}` cannot be evaluated ({str(error).partition('.')[0]})"
        return Violation(None, self.option, said, f"correct `{self.option}`, or the provider")


def _paths(tree: dict[str, Wanted], at: Path = ()) -> list[Path] | None:
    found: list[Path] = []
    for name, inner in tree.items():
        path = (*at, name)
        below = _paths(inner, path) if isinstance(inner, dict) else None if inner == IF_PRESENT else [path]
        if below is None or path == ("record",):
            return None
        found += below
    return found


def _leaves(tree: dict[str, Wanted], at: Path = ()) -> Iterator[Path]:
    for name, inner in tree.items():
        if isinstance(inner, dict):
            yield from _leaves(inner, (*at, name))
        else:
            yield (*at, name)


def _context(code: Code, shape: Shape, tree: dict[str, Wanted], at: Path, plain_: str) -> str:
    """Give the Python that makes the variables out of a shape, as ``value`` makes them of a whole record."""
    entries = []
    for name, inner in tree.items():
        path = (*at, name)
        if isinstance(inner, dict) and shape.is_open(path):
            made = _context(code, shape, inner, path, plain_)
        else:  # the shape holds the whole of it
            reached, _ = shape.reach(path)
            made = f"{plain_}({reached})"
            if isinstance(inner, dict):
                made = f"{code.constant(_pick)}({reached}, {code.constant(inner)})"
        entries.append(f"{code.constant(name)}: {made}")
    return f"{{{', '.join(entries)}}}"


def _pick(value: Any, tree: Wanted) -> Any:
    """Copy what is wanted of a value; what is wanted inside an absent or null one is null."""
    if type(value) is str:
        return value
    if isinstance(tree, str) or (value is not None and not isinstance(value, dict)):
        return plain(value)
    fields = value or {}
    return {
        name: _pick(fields.get(name), inner) for name, inner in tree.items() if inner != IF_PRESENT or name in fields
    }


def plain(value: Any) -> Any:
    """Copy a value, decimals as doubles."""
    if type(value) in _PLAIN:
        return value
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list) else value


def _fill(value: Any, name: str) -> None:
    """Put a null under a name wherever it is absent: an object that a macro or an index led to lacks it."""
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        if isinstance(item, dict):
            item.setdefault(name, None)
        _fill(item, name)
