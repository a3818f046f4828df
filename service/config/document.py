"""YAML text as plain data that knows where each key and value stands.

The scalars are those of YAML 1.2's core schema (section 10.3), so ``no``, ``12:30`` and a date are text; only
what cannot be taken for anything else is a number, a boolean or null.
"""

import re
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

import yaml

from service.config.paths import Path

MAX_DEPTH = 50
"""How deep lists and mappings may be nested."""
MAX_VALUES = 100_000
"""How many values a document may have once its aliases are expanded; stops a "billion laughs"."""

_TAG = "tag:yaml.org,2002:"
_SCALARS = {
    "null": re.compile(r"(~|null|Null|NULL)?"),
    "bool": re.compile(r"true|True|TRUE|false|False|FALSE"),
    "int": re.compile(r"[-+]?[0-9]{1,4000}|0o[0-7]{1,4000}|0x[0-9a-fA-F]{1,4000}"),
    "float": re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"),
}
_STRUCTURES = {
    yaml.ScalarNode: f"{_TAG}str",
    yaml.SequenceNode: f"{_TAG}seq",
    yaml.MappingNode: f"{_TAG}map",
}
_Entry: TypeAlias = tuple[yaml.Node, yaml.Node]


class Place(NamedTuple):
    """A place in a file, both counted from 1."""

    line: int
    column: int


class Fault(NamedTuple):
    """Something wrong with the document as YAML."""

    code: str
    path: Path
    place: Place
    message: str


@dataclass(frozen=True, slots=True)
class Document:
    """Plain data, and where each part of it stands.

    Attributes:
        data: mappings with text keys, lists, text, numbers, booleans and None.
        keys: where the key of each entry stands, by path.
        values: where each value begins, by path.
        faults: what is wrong, in no particular order; with faults, ``data`` holds what could be understood.
    """

    data: Any = None
    keys: dict[Path, Place] = field(default_factory=dict)
    values: dict[Path, Place] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)


class _Loader(yaml.SafeLoader):
    """PyYAML's composer with YAML 1.2's scalars and a limit on depth (PyYAML recurses for each level)."""

    depth = 0

    def resolve(self, kind: type[yaml.Node], value: Any, implicit: Any) -> str:
        if kind is yaml.ScalarNode and implicit[0]:
            if value == "<<":
                return f"{_TAG}merge"
            return _TAG + next((name for name, pattern in _SCALARS.items() if pattern.fullmatch(value)), "str")
        return _STRUCTURES[kind]

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            mark = self.get_mark()
            raise yaml.MarkedYAMLError(problem=f"nested deeper than {MAX_DEPTH} levels", problem_mark=mark)
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1


def parse(text: str) -> Document:
    """Parse one YAML document, whatever the text; all that is wrong is in the document's ``faults``."""
    loader = _Loader("")
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(mark.line + 1, mark.column + 1) if mark is not None else Place(1, 1)
        return Document(faults=[Fault("yaml-syntax", (), place, f"not YAML: {_said(error)}")])
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        place = Place(before.count("\n") + 1, len(before) - before.rfind("\n"))
        character = f"the character {error.character:#x} is not allowed"
        return Document(faults=[Fault("yaml-syntax", (), place, f"not YAML: {character}")])
    except (ValueError, OverflowError):  # PyYAML's scanner on an escape such as "\UFFFFFFFF"
        place = Place(loader.line + 1, loader.column + 1)
        return Document(faults=[Fault("yaml-syntax", (), place, "not YAML: an escape names no character")])
    builder = _Builder()
    data = builder.build(node, ()) if node is not None else None
    if builder.crowded:
        message = f"the document has more than {MAX_VALUES} values once its aliases are expanded"
        return Document(faults=[Fault("yaml-size", (), Place(1, 1), message)])
    return Document(data, builder.keys, builder.values, builder.faults)


class _Builder:
    """Turns PyYAML's nodes into plain data."""

    def __init__(self) -> None:
        self.keys: dict[Path, Place] = {}
        self.values: dict[Path, Place] = {}
        self.faults: list[Fault] = []
        self.crowded = False
        self._room = MAX_VALUES
        self._open: set[int] = set()

    def build(self, node: yaml.Node, path: Path) -> Any:
        self.values[path] = _place(node)
        self._room -= 1
        if self._room <= 0:
            self.crowded = True
            return None
        if id(node) in self._open:
            self._fault("yaml-alias", path, node, "an alias stands for something that contains the alias itself")
            return None
        self._open.add(id(node))
        try:
            if isinstance(node, yaml.MappingNode):
                return self._mapping(node, path)
            if isinstance(node, yaml.SequenceNode):
                self._check_tag(node, path, "seq")
                return [self.build(item, (*path, index)) for index, item in enumerate(node.value)]
            return self._scalar(node, path)
        finally:
            self._open.discard(id(node))

    def _fault(self, code: str, path: Path, node: yaml.Node, message: str) -> None:
        self.faults.append(Fault(code, path, _place(node), message))

    def _check_tag(self, node: yaml.Node, path: Path, *known: str) -> None:
        if node.tag.removeprefix(_TAG) not in known:
            self._fault("yaml-tag", path, node, f"the tag {node.tag.replace(_TAG, '!!')} has no meaning here")

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        self._check_tag(node, path, "map")
        own, merged = self._entries(node, path)
        found: dict[str, Any] = {}
        for key_node, value_node in own:
            key = self._key(key_node, path)
            if key in found:
                first = self.keys[*path, key]
                self._fault("duplicate-key", (*path, key), key_node, f"the key is already on line {first.line}")
            elif key is not None:
                self.keys[*path, key] = _place(key_node)
                found[key] = self.build(value_node, (*path, key))
        for key_node, value_node in merged:
            key = self._key(key_node, path)
            if key is not None and key not in found:
                self.keys[*path, key] = _place(key_node)
                found[key] = self.build(value_node, (*path, key))
        return found

    def _entries(self, node: yaml.MappingNode, path: Path) -> tuple[list[_Entry], list[_Entry]]:
        """Give a mapping's own entries, and those that `<<` adds (yaml.org/type/merge), nearest first."""
        own, merged = [], []
        self._room -= len(node.value)
        for key_node, value_node in node.value if self._room > 0 else ():
            if key_node.tag != f"{_TAG}merge":
                own.append((key_node, value_node))
                continue
            for other in value_node.value if isinstance(value_node, yaml.SequenceNode) else [value_node]:
                if isinstance(other, yaml.MappingNode) and id(other) not in self._open:
                    self._open.add(id(other))
                    nearer, further = self._entries(other, path)
                    self._open.discard(id(other))
                    merged += nearer + further
                else:
                    self._fault("yaml-merge", path, other, "`<<` merges mappings, and no mapping into itself")
        return own, merged

    def _key(self, node: yaml.Node, path: Path) -> str | None:
        if not isinstance(node, yaml.ScalarNode):
            self._fault("yaml-key", path, node, "a key must be text, not a list or a mapping")
            return None
        if not self._encodable(node, path):
            return None
        return str(node.value).lower() if node.tag == f"{_TAG}bool" else str(node.value)

    def _scalar(self, node: yaml.Node, path: Path) -> bool | int | float | str | None:
        kind, text = node.tag.removeprefix(_TAG), str(node.value)
        if not self._encodable(node, path):
            return None
        if kind not in _SCALARS:
            self._check_tag(node, path, "str", "merge")
            return text
        if _SCALARS[kind].fullmatch(text) is None:
            self._fault("yaml-tag", path, node, f"{text[:40]!r} does not fit its tag !!{kind}")
            return None
        if kind == "null":
            return None
        if kind == "bool":
            return text.lower() == "true"
        return _integer(text) if kind == "int" else _float(text)

    def _encodable(self, node: yaml.Node, path: Path) -> bool:
        if any("\ud800" <= character <= "\udfff" for character in node.value):
            self._fault("yaml-syntax", path, node, "half a surrogate pair is not a character")
            return False
        return True


def _place(node: yaml.Node) -> Place:
    return Place(node.start_mark.line + 1, node.start_mark.column + 1)


def _said(error: yaml.MarkedYAMLError) -> str:
    return ", ".join(part for part in (error.context, error.problem) if part)


def _integer(text: str) -> int:
    return int(text, 8 if text.startswith("0o") else 16 if text.startswith("0x") else 10)


def _float(text: str) -> float:
    return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
