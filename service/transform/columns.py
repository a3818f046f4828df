"""The code of one column: the lines that fetch, convert, clean and check its value.

The function that maps a feed's records is these lines column after column; the one that explains a refusal runs the
same lines for one column. So the two cannot disagree.
"""

import re
from collections.abc import Callable
from datetime import date, time
from typing import Any

from service.config.feeds import MapValue
from service.config.tables import Column
from service.errors import ConfigError, Problem
from service.transform.code import Code, build
from service.transform.fetch import emit_fetch, word
from service.transform.kinds import KINDS, formats
from service.transform.violations import Violation, breach, kind_of, shown

_UNLISTED = object()


class ColumnCode:
    """Lines that leave what is stored in ``v``, given the record ``r`` and its message ``m``, or raise Violation.

    Args:
        name: of the column.
        prefix: of the constants; unique within a row.
        column: its type and what it must satisfy.
        source: where its value comes from; None where the feed does not map it.
        place: the column's path in the configuration, for remedies: ``tables.matches.columns.home_score``.
        feed: ``provider.feed``.
        lists: whether a record may be a list.

    Raises:
        ConfigError: a constant, default or bound does not fit the column.
    """

    def __init__(
        self, name: str, prefix: str, column: Column, source: MapValue | None, place: str, feed: str, *, lists: bool
    ) -> None:
        self.name = name
        self.column = column
        self.paths = source.from_ if source is not None else ()
        self._place = place
        self._settle = self._settler()
        self._code = code = Code(prefix)
        if source is None:
            code.add("v = None")
        elif not source.from_:
            code.add(f"v = {code.constant(self._settled(source.const, 'const'))}")
        else:
            emit_fetch(code, source.from_, feed, lists=lists)
            if source.values is not None:
                self._translate(source)
            else:
                emit_checks(code, column, place)
        self.fallback = self._fallback(source)
        self._fill()

    @property
    def lines(self) -> list[str]:
        """The lines."""
        return self._code.lines

    @property
    def constants(self) -> dict[str, Any]:
        """What they close over."""
        return self._code.constants

    def alone(self) -> Callable[..., Any]:
        """Give the column's own function ``(record, message) -> value``, made of the same lines."""
        return build("value(r, m)", [*self.lines, "return v"], self.constants)

    def _translate(self, source: MapValue) -> None:
        """Replace the provider's word by ours; what it becomes is converted and checked here and now."""
        listed = {key: self._settled(value, f"values.{key}") for key, value in (source.values or {}).items()}
        listed.setdefault("", None)
        if "otherwise" in source.model_fields_set:
            rest = f"v = {self._code.constant(self._settled(source.otherwise, 'otherwise'))}"
        else:
            said = f"is not one of {', '.join(filter(None, listed))}"
            remedy = "list it under `values` of the map, or set `otherwise`"
            rest = f"raise {self._code.constant(breach('values', said, remedy))}(v)"
        words, unlisted = self._code.constant(listed), self._code.constant(_UNLISTED)
        start = len(self.lines)
        self._code.add(f"w = {words}.get(v, {unlisted}) if type(v) is str else {unlisted}", f"if w is {unlisted}:")
        self._code.add(f"    w = {words}.get({self._code.constant(word)}(v), {unlisted})")
        self._code.add(f"if w is {unlisted}:", f"    {rest}", "else:", "    v = w")
        self._code.unless_null(start)

    def _fallback(self, source: MapValue | None) -> Any:
        """Give what stands for null: the default of the map or else that of the column."""
        if source is not None and source.default is not None:
            return self._settled(source.default, "default")
        return self._settled(self.column.default, "default") if self.column.default is not None else None

    def _fill(self) -> None:
        if self.fallback is not None:
            self._code.add("if v is None:", f"    v = {self._code.constant(self.fallback)}")
        elif not self.column.null:
            said = "is missing, and the column may not be null"
            remedy = f"correct the path, set a `default`, or {self._place}.null: true"
            self._code.add("if v is None:", f"    raise {self._code.constant(breach('required', said, remedy))}(v)")

    def _settler(self) -> Callable[..., Any]:
        """Make the function that converts and checks what the configuration itself holds."""
        column = plain(self.column)
        code = Code("s")
        emit_checks(code, column, self._place)
        return build("value(v)", [*code.lines, "return v"], code.constants)

    def _settled(self, value: Any, what: str) -> Any:
        try:
            return self._settle(value.isoformat() if isinstance(value, date | time) else value)
        except Violation as violation:
            message = f"the {what} {shown(value)} does not fit the column: it {violation.said}"
            raise ConfigError([Problem("misfit", self._place, message)]) from None


def plain(column: Column) -> Column:
    """Give the column as it reads what the configuration holds: ISO 8601 comes before its own formats."""
    if column.type not in {"timestamp", "date", "time"}:
        return column
    return column.model_copy(update={"format": ("iso8601", *formats(column))})


def emit_checks(code: Code, column: Column, place: str) -> None:
    """Add the lines that convert, clean and check ``v``, which may be None."""
    start = len(code.lines)
    if column.list:
        item = Code("i")
        emit_checks(item, column.model_copy(update={"list": False, "min_length": None, "max_length": None}), place)
        convert = build("value(v)", [*item.lines, "return v"], item.constants)
        code.add(f"v = {code.constant(_listed)}(v, {code.constant(convert)})")
        _check_length(code, column, place, "items")
    else:
        kind = KINDS[column.type]
        kind.emit(code, column, code.constant(kind.convert(column)))
        checks = len(code.lines)
        _check_value(code, column, place, kind.options)
        code.unless_null(checks)
    code.unless_null(start)


def _check_value(code: Code, column: Column, place: str, options: frozenset[str]) -> None:
    convert = KINDS[column.type].convert(plain(column))
    if column.min is not None and "min" in options:
        said = f"is less than the minimum {column.min}"
        _refuse(code, f"not v >= {code.constant(_bound(convert, column.min, place))}", "min", said, f"lower {place}.min")
    if column.max is not None and "max" in options:
        said = f"is more than the maximum {column.max}"
        _refuse(code, f"not v <= {code.constant(_bound(convert, column.max, place))}", "max", said, f"raise {place}.max")
    if column.values is not None and "values" in options:
        allowed = frozenset(_bound(convert, value, place) for value in column.values)
        said = f"is not one of {', '.join(map(str, column.values))}"
        _refuse(code, f"v not in {code.constant(allowed)}", "values", said, f"add it to {place}.values or translate it")
    if column.pattern is not None and "pattern" in options:
        match = code.constant(re.compile(column.pattern).fullmatch)
        said = f"does not match the pattern {column.pattern}"
        _refuse(code, f"{match}(v) is None", "pattern", said, f"change {place}.pattern")
    if "min_length" in options:
        _check_length(code, column, place, "characters" if column.type == "text" else "bytes")


def _check_length(code: Code, column: Column, place: str, unit: str) -> None:
    if column.min_length is not None:
        said, remedy = f"has fewer than {column.min_length} {unit}", f"lower {place}.min_length"
        _refuse(code, f"len(v) < {code.constant(column.min_length)}", "min_length", said, remedy)
    if column.max_length is not None:
        said, remedy = f"has more than {column.max_length} {unit}", f"raise {place}.max_length"
        _refuse(code, f"len(v) > {code.constant(column.max_length)}", "max_length", said, remedy)


def _refuse(code: Code, condition: str, rule: str, said: str, remedy: str) -> None:
    violation = code.constant(breach(rule, said, f"{remedy} or correct the provider"))
    code.add(f"if {condition}:", f"    raise {violation}(v)")


def _bound(convert: Callable[[Any], Any], value: Any, place: str) -> Any:
    try:
        return convert(value.isoformat() if isinstance(value, date | time) else value)
    except Violation as violation:
        message = f"the bound {shown(value)} does not fit the column: it {violation.said}"
        raise ConfigError([Problem("misfit", place, message)]) from None


def _listed(value: Any, convert: Callable[[Any], Any]) -> list[Any]:
    if not isinstance(value, list):
        raise Violation(value, "list", f"is {kind_of(value)}, not a list", "map a field that holds a list")
    items = [convert(item) for item in value]
    if None in items:
        raise Violation(value, "list", "has an item that is null or empty", "correct the provider, or make it json")
    return items
