"""The code of one column: the lines that fetch, convert, clean and check its value.

The function that maps a feed's records is these lines column after column; the one that explains a refusal runs the
same lines for one column. So the two cannot disagree.
"""

from collections.abc import Callable
from typing import Any

from service.config.feeds import MapValue
from service.config.tables import Column
from service.masking import is_secret
from service.model import Message
from service.transform.checks import emit_checks, plain, settled
from service.transform.code import Code, build
from service.transform.expression import Expression
from service.transform.fetch import emit_fetch, emit_present, inside, word
from service.transform.given import given
from service.transform.shape import Shape
from service.transform.violations import Violation, breach, kind_of

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
        untyped: says whether all values of a message are texts, as in CSV.
        shape: of the record, where it was decoded to one.
        is_alone: whether a list of one stands in a message as its item alone.
        partial: whether a record may leave the column as it is. Then the lines leave in ``p``, too, whether it carries
            the column, which it was decoded whole for; what is not carried holds its default, for a row that is new.

    Attributes:
        carried: whether every record carries the column, or none does; None where it depends on the record.
        fallback: what stands for null.

    Raises:
        ConfigError: a constant, default or bound does not fit the column.
    """

    def __init__(  # noqa: PLR0913  all that the lines depend on
        self,
        name: str,
        prefix: str,
        column: Column,
        source: MapValue | None,
        place: str,
        feed: str,
        *,
        lists: bool,
        untyped: Callable[[Message], bool],
        shape: Shape | None = None,
        is_alone: Callable[[Message], bool],
        partial: bool = False,
    ) -> None:
        self.name = name
        self.column = column
        self.paths = source.from_ if source is not None else ()
        self._place = place
        self._settle = self._settler()
        self._code = code = Code(prefix)
        self._presence = Code(f"{prefix}p")
        self.carried = presence(self._presence, source, lists=lists, is_alone=is_alone) if partial else True
        if source is None:
            code.add("v = None")
        elif "const" in source.model_fields_set:
            code.add(f"v = {code.constant(self._settled(source.const, 'const'))}")
        else:
            if source.expr is not None:
                self._compute(Expression(source.expr, "expr"), shape)
            elif self.carried is None:
                code.add(*self._presence.lines)
            else:
                emit_fetch(code, source.from_, feed, lists=lists, shape=shape, is_alone=is_alone)
            if column.list:
                alone = f"v is not None and type(v) is not list and {code.constant(is_alone)}(m)"
                code.add(f"if {alone}:", "    v = [v]")
            if source.values is not None:
                self._translate(source)
            else:
                if column.type == "json":  # to which an empty text is a value, where there are others than texts
                    code.add(f"if type(v) is str and not v.strip() and {code.constant(untyped)}(m):", "    v = None")
                emit_checks(code, column, place)
        self.fallback = self._fallback(source)
        if self.carried is True:
            self._fill()
        else:
            self._fill_partly()

    @property
    def is_secret(self) -> bool:
        """Whether it, or a field that it comes from, sounds secret, so that its values are not shown."""
        return any(map(is_secret, (self.name, *self.paths)))

    @property
    def lines(self) -> list[str]:
        """The lines."""
        return self._code.lines

    @property
    def constants(self) -> dict[str, Any]:
        """What they close over."""
        return self._code.constants | self._presence.constants

    def alone(self) -> Callable[..., Any]:
        """Give the column's own function ``(record, message) -> value``, made of the same lines."""
        return build("value(r, m)", [*self.lines, "return v"], self.constants)

    def carries(self) -> Callable[..., bool]:
        """Give the function ``(record, message) -> bool`` that says whether a record carries the column."""
        if self.carried is not None:
            return (lambda _, __: True) if self.carried else lambda _, __: False
        return build("carries(r, m)", [*self._presence.lines, "return p"], self._presence.constants)

    def _compute(self, expression: Expression, shape: Shape | None) -> None:
        computed = f"v = {self._code.constant(_computed)}({expression.emit(self._code, shape)})"
        if self.carried is None:
            self._code.add(*self._presence.lines, "v = None", "if p:", f"    {computed}")
        else:
            self._code.add(computed)

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

    def _fill_partly(self) -> None:
        """Let a null that is carried be null, whatever the default, which only a new row without the column gets."""
        default, self.fallback = self._code.constant(self.fallback), None
        if self.carried is False:
            self._code.add(f"v = {default}")
            return
        lines = ["if not p:", f"    v = {default}"]
        if not self.column.null:
            remedy = f"leave the field out to leave the column as it is, or set {self._place}.null: true"
            refused = self._code.constant(breach("required", "is null, and the column may not be null", remedy))
            lines += ["elif v is None:", f"    raise {refused}(v)"]
        self._code.add(*lines)

    def _settler(self) -> Callable[..., Any]:
        """Make the function that converts and checks what the configuration itself holds."""
        column = plain(self.column)
        code = Code("s")
        emit_checks(code, column, self._place)
        return build("value(v)", [*code.lines, "return v"], code.constants)

    def _settled(self, value: Any, what: str) -> Any:
        return settled(self._settle, value, what, self._place)


def presence(code: Code, source: MapValue | None, *, lists: bool, is_alone: Callable[[Message], bool]) -> bool | None:
    """Add the lines that leave in ``p`` whether the record ``r`` carries a column; True or False where no record tells.

    Of a column that comes from paths they leave its value in ``v``, too.

    A column comes with any of the fields that it is made of.
    """
    if source is None:
        return False
    if "const" in source.model_fields_set:
        return True
    paths = [inside(path) for path in source.from_] if source.expr is None else Expression(source.expr, "expr").fields
    if paths is None or None in paths:
        return True
    emit_present(code, [path for path in paths if path is not None], lists=lists, is_alone=is_alone)
    return None


def _computed(value: Any) -> Any:
    """Take what an expression gave as if a record had held it; the library orders keys by chance."""
    try:
        return given(value, in_order=False)
    except (TypeError, ValueError, RecursionError):
        raise Violation(
            None, "expr", f"`expr` gave {kind_of(value)}, which no column takes", "correct `expr`"
        ) from None
