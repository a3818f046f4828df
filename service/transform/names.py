"""The fields that a CEL expression names, found without evaluating it."""

import re
from collections.abc import Iterator
from typing import TypeAlias

_TOKEN = re.compile(
    r"""//[^\n]* | [rRbB]{0,2} (?: \"\"\".*?\"\"\" | '''.*?''' | "(?:\\.|[^"\\])*" | '(?:\\.|[^'\\])*' )
    | (?P<chain> [A-Za-z_]\w* (?:\s*\.\s*[A-Za-z_]\w*)* ) \s* (?P<next> [(\[]? ) | (?P<part> [.\w]+ ) | .""",
    re.VERBOSE | re.DOTALL,
)
TYPES = frozenset({"int", "uint", "double", "bool", "string", "bytes", "list", "map", "null_type", "has"})
"""Names that CEL itself gives a meaning (cel-spec, "Values"); a field of that name hides it."""

WHOLE, IF_PRESENT = "whole", "if present"
Wanted: TypeAlias = str | dict[str, "Wanted"]
"""What is wanted of a value: all of it, all of it unless it is absent, or some of its fields."""


def wanted(expression: str, variables: list[str]) -> dict[str, Wanted]:
    """Give the fields that an expression names, as a tree; a leaf says when its value is handed over.

    Args:
        expression: CEL that the library has parsed.
        variables: that the library found in it.
    """
    paths = {path: leaf for path, leaf in sorted(_paths(expression), reverse=True) if path[0] in variables}
    for name in variables:
        if name in TYPES or not any(path[0] == name for path in paths):
            paths[name,] = IF_PRESENT if name in TYPES else WHOLE
    tree: dict[str, Wanted] = {}
    for path, leaf in sorted(paths.items(), key=lambda item: len(item[0])):
        node: Wanted = tree
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
            yield path, IF_PRESENT if asked and len(path) > 1 else WHOLE
        asked = is_call and names == ["has"]
