"""Tells a protocol's messages from data by what they contain: by bytes where that decides, then for certain."""

import re
from collections.abc import Iterator
from typing import Annotated, Any, Generic, TypeVar

import orjson
from pydantic import AfterValidator

from service.config.paths import Path, parse_path
from service.lookup import lookup

ANY = "*"
"""As an expected value: whatever is there, as long as it is not null."""

_ALIKE = re.compile(r"[\w .:+-]+", re.ASCII)
"""Texts that every JSON encoder writes alike: those without anything to escape."""

Owner = TypeVar("Owner")


def _checked(match: dict[str, Any] | str) -> dict[str, Any] | str:
    if not match:
        raise ValueError("a match needs at least 1 character, or one path and the value expected there")
    if isinstance(match, dict):
        list(_leaves(match))
    return match


Match = Annotated[dict[str, Any] | str, AfterValidator(_checked)]
"""What a message contains: dotted paths and the values there, `*` for any; or the whole text of the message."""


class Frame:
    """A message that is decoded when somebody first looks into it.

    Attributes:
        body: its bytes.
    """

    __slots__ = ("_decoded", "_document", "body")

    def __init__(self, body: bytes) -> None:
        self.body = body
        self._decoded = False
        self._document: Any = None

    @property
    def document(self) -> Any:
        """What it holds as JSON; None if it is none."""
        if not self._decoded:
            self._decoded = True
            try:
                self._document = orjson.loads(self.body)
            except orjson.JSONDecodeError:
                self._document = None
        return self._document


class Rule:
    """Says whether a message contains what is expected.

    Attributes:
        needles: texts that are in every such message, the longest first: it is the least likely to be in others.
        leaves: paths and expected values.
    """

    def __init__(self, match: dict[str, Any] | str) -> None:
        self._text = match.encode() if isinstance(match, str) else None
        self.leaves = list(_leaves(match)) if isinstance(match, dict) else []
        texts = {part for path, value in self.leaves for part in (*path, value) if isinstance(part, str)} - {ANY}
        found = (b'"%b"' % text.encode() for text in texts if _ALIKE.fullmatch(text))
        self.needles = tuple(sorted(found, key=len, reverse=True))

    @property
    def sign(self) -> bytes:
        """Bytes that every such message holds; empty where there are none."""
        return self._text or (self.needles[0] if self.needles else b"")

    def holds(self, frame: Frame) -> bool:
        """Say whether the message contains all of it."""
        body = frame.body
        if self._text is not None:
            return body == self._text
        for needle in self.needles:
            if needle not in body:
                return False
        document = frame.document
        return all(_same(lookup(document, path), value) for path, value in self.leaves)


class _Shape(Generic[Owner]):
    """Rules that look at the same paths.

    Attributes:
        common: texts that are in every message that holds one of them.
    """

    def __init__(self, needles: frozenset[bytes]) -> None:
        self.common = needles
        self.keys: dict[tuple[Any, ...], list[tuple[Rule, Owner]]] = {}


class Index(Generic[Owner]):
    """Finds whom a message concerns, among many rules of a few shapes, at the cost of one look for each shape.

    Owners are told apart by identity.
    """

    def __init__(self) -> None:
        self._shapes: dict[tuple[Path, ...], _Shape[Owner]] = {}
        self._places: dict[int, list[tuple[tuple[Path, ...], tuple[Any, ...]]]] = {}

    def __bool__(self) -> bool:
        return bool(self._shapes)

    def signs(self) -> list[bytes]:
        """Give bytes of which every message that concerns somebody holds at least one."""
        return [max(shape.common, key=len, default=b"") for shape in self._shapes.values()]

    def add(self, rule: Rule, owner: Owner) -> None:
        """Let messages that hold the rule concern the owner."""
        paths, key = _keyed(rule)
        needles = frozenset(rule.needles)
        shape = self._shapes.setdefault(paths, _Shape(needles))
        shape.common &= needles
        shape.keys.setdefault(key, []).append((rule, owner))
        self._places.setdefault(id(owner), []).append((paths, key))

    def discard(self, owner: Owner) -> None:
        """Forget all rules of an owner."""
        for paths, key in self._places.pop(id(owner), ()):
            keys = self._shapes[paths].keys
            keys[key] = [entry for entry in keys[key] if entry[1] is not owner]
            if not keys[key]:
                del keys[key]

    def find(self, frame: Frame) -> list[Owner]:
        """Give the owners that a message concerns, in the order in which they were added for each shape."""
        found: list[Owner] = []
        for paths, shape in self._shapes.items():
            for needle in shape.common:
                if needle not in frame.body:
                    break
            else:
                key = tuple(_hashable(lookup(frame.document, path)) for path in paths) if paths else ()
                found += [owner for rule, owner in shape.keys.get(key, ()) if rule.holds(frame)]
        return found


def _leaves(match: dict[str, Any], above: Path = ()) -> Iterator[tuple[Path, Any]]:
    for name, value in match.items():
        path = (*above, *parse_path(name))
        if isinstance(value, dict) and value:
            yield from _leaves(value, path)
        else:
            yield path, value


def _same(found: Any, expected: Any) -> bool:
    if expected == ANY and isinstance(expected, str):
        return found is not None
    if expected == {}:
        return isinstance(found, dict)
    return bool(found == expected)


def _keyed(rule: Rule) -> tuple[tuple[Path, ...], tuple[Any, ...]]:
    """Give the paths of a rule whose values can be looked up, and these values."""
    fixed = [(path, value) for path, value in rule.leaves if isinstance(value, str | int | float) and value != ANY]
    return tuple(path for path, _ in fixed), tuple(value for _, value in fixed)


def _hashable(value: Any) -> Any:
    return value if isinstance(value, str | int | float) else None
