"""``where`` and ``delete_when``: CEL expressions that say which records a feed is about, and which delete."""

import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import cel

from service.transform.violations import Violation

_TOKEN = re.compile(
    r"""//[^\n]* | [rRbB]{0,2} (?: \"\"\".*?\"\"\" | '''.*?''' | "(?:\\.|[^"\\])*" | '(?:\\.|[^'\\])*' )
    | (?P<chain> [A-Za-z_]\w* (?:\s*\.\s*[A-Za-z_]\w*)* ) \s* (?P<next> [(\[]? ) | (?P<part> [.\w]+ ) | .""",
    re.VERBOSE | re.DOTALL,
)
_TYPES = frozenset({"int", "uint", "double", "bool", "string", "bytes", "list", "map", "null_type", "has"})
"""Names that CEL itself gives a meaning (cel-spec, "Values"); a field of that name hides it."""

_WHOLE, _IF_PRESENT = "whole", "if present"
_ATTEMPTS = 20
"""How often an absent field is replaced by null in one evaluation: the names that expressions use are few."""


class Where:
    """One compiled expression (Common Expression Language, cel-spec), evaluated over a record's fields.

    An absent field is null, also inside another. A number with a fraction is a double here, whatever the column is.
    Only the fields that the expression names are handed over, since each is copied.

    Args:
        expression: as it is written.
        option: that it is the value of.
    """

    def __init__(self, expression: str, option: str = "where") -> None:
        self._option = option
        self._expression = expression
        self._program = cel.compile(expression)
        self._wanted = _tree(expression, self._program.variables())

    def __call__(self, record: Any) -> bool:
        """Say whether the expression is true of a record.

        Raises:
            Violation: it cannot be evaluated, such as ``score > 1`` where score is text.
        """
        fields = record if isinstance(record, dict) else {}
        try:
            context = {
                name: _pick(record if name == "record" else fields.get(name), inner)
                for name, inner in self._wanted.items()
                if inner != _IF_PRESENT or name in fields
            }
            for _ in range(_ATTEMPTS):
                try:
                    return self._program.execute(context) is True
                except KeyError as absent:
                    _fill(context, str(absent.args[0]))
        except Exception as error:  # noqa: BLE001  whatever the library makes of a provider's values
            said = f"`{self._option}: {self._expression}` cannot be evaluated ({str(error).partition('.')[0]})"
            raise Violation(record, self._option, said, f"correct `{self._option}`, or the provider") from None
        return False


def _tree(expression: str, variables: list[str]) -> dict[str, Any]:
    """Give the fields that an expression names, as a tree; a leaf says when its value is handed over."""
    paths = {path: leaf for path, leaf in sorted(_paths(expression), reverse=True) if path[0] in variables}
    for name in variables:
        if name in _TYPES or not any(path[0] == name for path in paths):
            paths[name,] = _IF_PRESENT if name in _TYPES else _WHOLE
    tree: dict[str, Any] = {}
    for path, leaf in sorted(paths.items(), key=lambda item: len(item[0])):
        node: Any = tree
        for name in path[:-1]:
            node = node.setdefault(name, {}) if isinstance(node, dict) else node
        if isinstance(node, dict):  # else the whole, further up, is handed over
            node.setdefault(path[-1], leaf)
    return tree


def _paths(expression: str) -> Iterator[tuple[tuple[str, ...], str]]:
    """Find the chains of names, and whether ``has`` asks for them: then an absent one must stay absent."""
    asked = False
    for token in _TOKEN.finditer(expression):
        names = re.split(r"\s*\.\s*", token["chain"] or "")
        is_call = token["next"] == "("
        path = tuple(names[:-1] if is_call else names)  # the last name of a call is the function's
        if path and path[0]:
            yield path, _IF_PRESENT if asked and len(path) > 1 else _WHOLE
        asked = is_call and names == ["has"]


def _pick(value: Any, wanted: dict[str, Any] | str) -> Any:
    """Copy what is wanted of a value; what is wanted inside an absent or null one is null."""
    if type(value) is str:
        return value
    if isinstance(wanted, str) or (value is not None and not isinstance(value, dict)):
        return _plain(value)
    fields = value or {}
    return {
        name: _pick(fields.get(name), inner) for name, inner in wanted.items() if inner != _IF_PRESENT or name in fields
    }


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value


def _fill(value: Any, name: str) -> None:
    """Put a null under a name wherever it is absent: an object that a macro or an index led to lacks it."""
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        if isinstance(item, dict):
            item.setdefault(name, None)
        _fill(item, name)
