"""Conditions that need no library: comparisons of a field with a literal, joined by ``&&``, ``||``, ``!`` and brackets.

Of what CEL can say this is little, and nearly all that feeds ask. The Python that is made of it decides only what it
is sure of: it raises Unsure where a value is not of the literal's type, and the library decides. (Of a number that no
double holds the library can say nothing; here at least null and other types are told from it.)
"""

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from service.transform.code import Code

_TOKEN = re.compile(
    r"""\s*(?: (?P<text> "[^"\\\n]*" | '[^'\\\n]*' ) | (?P<number> -?\d+(?:\.\d+)? (?![\w.]) )
    | (?P<path> [A-Za-z_]\w*(?:\.[A-Za-z_]\w*)* ) | (?P<mark> == | != | <= | >= | && | \|\| | [<>!()\[\],] ) )""",
    re.VERBOSE,
)
_WORDS = {"true": True, "false": False, "null": None}
_RELATIONS = frozenset({"==", "!=", "<", "<=", ">", ">="})
_EXACT = 2**53
"""Literals below it are doubles exactly, so that it does not matter whether the library compares as such."""


class Unsure(Exception):  # noqa: N818  no error: a question for the library
    """What a condition is of these values is not for us to say."""


class _NotSimple(Exception):  # noqa: N818  as above
    """The expression says more than is understood here."""


def emit_simple(code: Code, expression: str, fetch: Callable[[tuple[str, ...]], str]) -> str | None:
    """Give the Python expression of a condition, or None where it is not simple.

    Args:
        code: receives the constants.
        expression: CEL that the library has parsed.
        fetch: gives the name of the variable that holds the value at a path, or raises KeyError.
    """
    reader = _Reader(code, expression, fetch)
    try:
        made = reader.either()
        reader.expect("")
    except (_NotSimple, KeyError):
        return None
    return made


class _Reader:
    """Reads an expression from left to right, as the grammar of CEL has it (cel-spec, "Syntax")."""

    def __init__(self, code: Code, expression: str, fetch: Callable[[tuple[str, ...]], str]) -> None:
        self._code = code
        self._fetch = fetch
        self._unsure = code.constant(_unsure)
        self._number = code.constant(_number)
        self._tokens: list[tuple[str, str]] = []
        at, end = 0, len(expression.rstrip())
        while at < end and (token := _TOKEN.match(expression, at)) is not None:
            self._tokens.append((token.lastgroup or "", token[token.lastgroup or 0]))
            at = token.end()
        self._tokens.append(("mark", "") if at >= end else ("", ""))
        self._at = 0

    def expect(self, mark: str) -> None:
        if self._take() != ("mark", mark):
            raise _NotSimple

    def either(self) -> str:
        terms = [self._all()]
        while self._follows("||"):
            terms.append(self._all())
        return " or ".join(terms)

    def _all(self) -> str:
        terms = [self._one()]
        while self._follows("&&"):
            terms.append(self._one())
        return " and ".join(terms)

    def _one(self) -> str:
        if self._follows("("):
            inner = self.either()
            self.expect(")")
            return f"({inner})"
        if self._follows("!"):
            return f"(not {self._value_or_brackets()})"
        name, (kind, mark) = self._path(), self._tokens[self._at]
        if (kind, mark) == ("path", "in"):
            self._take()
            return self._among(name)
        if kind == "mark" and mark in _RELATIONS:
            self._take()
            return self._related(name, mark, self._literal())
        return self._truth(name)

    def _value_or_brackets(self) -> str:
        return self._one() if self._tokens[self._at] == ("mark", "(") else self._truth(self._path())

    def _truth(self, name: str) -> str:
        return f"({name} if {name} is True or {name} is False else {self._unsure}())"

    def _related(self, name: str, relation: str, literal: Any) -> str:
        if relation in {"==", "!="}:
            same = self._same(name, literal, "==", self._code.constant(literal))
            return same if relation == "==" else f"(not {same})"
        if literal is None or isinstance(literal, bool):
            raise _NotSimple
        if isinstance(literal, str):
            guarded = f"{name} {relation} {self._code.constant(literal)}"
            return f"({guarded} if type({name}) is str else {self._unsure}())"
        return f"({self._number}({name}) {relation} {self._code.constant(literal)})"

    def _among(self, name: str) -> str:
        self.expect("[")
        items = [self._literal()]
        while self._follows(","):
            items.append(self._literal())
        self.expect("]")
        is_text = {isinstance(item, str) for item in items}
        if len(is_text) > 1 or any(item is None or isinstance(item, bool) for item in items):
            raise _NotSimple
        return self._same(name, items[0], "in", self._code.constant(frozenset(items)))

    def _same(self, name: str, literal: Any, relation: str, constant: str) -> str:
        """Compare with one literal, or several of its type: null is equal to none of them."""
        if literal is None:
            return f"({name} is None)"
        if isinstance(literal, bool):
            return f"({name} is {constant} if type({name}) is bool else {name} is not None and {self._unsure}())"
        if isinstance(literal, str):
            return f"({name} {relation} {constant} if type({name}) is str else {name} is not None and {self._unsure}())"
        return f"({name} is not None and {self._number}({name}) {relation} {constant})"

    def _path(self) -> str:
        kind, text = self._take()
        if kind != "path" or text in _WORDS:
            raise _NotSimple
        return self._fetch(tuple(text.split(".")))

    def _literal(self) -> Any:
        kind, text = self._take()
        if kind == "text":
            return text[1:-1]
        if kind == "path" and text in _WORDS:
            return _WORDS[text]
        if kind != "number":
            raise _NotSimple
        number = float(text) if "." in text else int(text)
        if abs(number) >= _EXACT:
            raise _NotSimple
        return number

    def _follows(self, mark: str) -> bool:
        found = self._tokens[self._at] == ("mark", mark)
        self._at += found
        return found

    def _take(self) -> tuple[str, str]:
        token = self._tokens[self._at]
        self._at = min(self._at + 1, len(self._tokens) - 1)
        return token


def _unsure() -> bool:
    raise Unsure


def _number(value: Any) -> float:
    """Give a number as the library compares it: a decimal is a double there."""
    if type(value) is int:
        return value
    if type(value) is Decimal:
        return float(value)
    raise Unsure
