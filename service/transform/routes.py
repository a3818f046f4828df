"""The routes of a feed: which records each takes, and the code that makes rows of its table of them."""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from types import NoneType
from typing import Any, cast

from service.config.feeds import FeedSettings, Map, MapValue
from service.config.feeds import Route as RouteSettings
from service.config.paths import Path, dotted, parse_path
from service.config.tables import Table
from service.formats import Format
from service.model import Message
from service.transform.code import Code, build, indented
from service.transform.columns import ColumnCode
from service.transform.deletion import Deletion
from service.transform.explain import Judge, Verdict
from service.transform.expression import Expression
from service.transform.shape import Shape
from service.transform.violations import Violation, kind_of
from service.transform.where import Where

_ANYTHING = (dict, list, str, int, float, Decimal, bool, NoneType)
"""The types of what a format may decode to."""


class Route:
    """One kind of record.

    Args:
        number: of the route in its feed, from 0.
        settings: of the route.
        feed: ``provider.feed``.
        table: that its rows are of.
        deletable: whether each row is followed by a flag that says whether it is to be deleted.
        lists: whether a record may be a list.
        form: the format that records are read from.

    Raises:
        ConfigError: a constant, default or bound does not fit its column.

    Attributes:
        name: of the table.
        map: where the columns' values come from.
        where: which records it takes; None for all.
        columns: the code of each, for records that were decoded whole.
        partial: whether each row is followed by a number that says which columns the record carries; see ``Row``.
    """

    def __init__(
        self,
        number: int,
        settings: RouteSettings,
        feed: str,
        table: Table,
        *,
        deletable: bool,
        lists: bool,
        form: Format,
    ) -> None:
        self.name = settings.into
        self.map = settings.map or _by_name(table)
        self.partial = settings.partial
        self.where = Where(settings.where) if settings.where is not None else None
        self._number = number
        self._feed = feed
        self._table = table
        self._lists = lists
        self._form = form
        self._flags = (False,) if deletable else ()
        self.columns = self._coded(None)
        self._judge = Judge(self.columns, table, partial=settings.partial)
        self._deletion: Deletion | None = None
        if settings.delete_when is not None:
            self._deletion = Deletion(settings.delete_when, self.columns, table)

    def takes(self, record: Any) -> bool:
        """Say whether a record is of this kind.

        Raises:
            Violation: `where` cannot be evaluated.
        """
        return self.where is None or self.where(record)

    def judge(self, record: Any, message: Message) -> Verdict:
        """Judge a record that failed here, by its columns."""
        if self._deletion is not None and self._deletion.when(record):
            return self._deletion.judge(record, message)
        return self._judge.judge(record, message, self._flags)

    def dropped(self, record: Any, message: Message) -> str:
        """Say which column leaves out a record that the route takes; empty where none does."""
        return self._judge.dropped(record, message)

    def paths(self) -> list[Path] | None:
        """Give the paths of the fields that the route needs of a record; None where it needs the record whole.

        So it does to tell absent fields from nulls.
        """
        if self.partial:
            return None
        asked = [Expression(value.expr, "expr") for value in self.map.values() if value.expr is not None]
        asked += [self.where] if self.where is not None else []
        asked += [self._deletion.when] if self._deletion is not None else []
        return needed(self.map, asked)

    def emit(self, code: Code, shape: Shape | None, *, traced: bool) -> None:
        """Add the lines that keep the row of a record that the route takes, and go on with the next."""
        kept = ["keep(row)", *([f"trace(({code.constant(self.name)}, i))"] if traced else []), "continue"]
        columns = self.columns if shape is None else self._coded(shape)
        body = Code(f"b{self._number}")
        if self._deletion is not None:
            self._deletion.emit(body, columns, shape, kept)
        always = sum(1 << number for number, column in enumerate(columns) if column.carried)
        body.add(*([f"carried = {always}"] if self.partial else []))
        for number, column in enumerate(columns):
            body.constants |= column.constants
            body.add(*column.lines, f"c{number} = v")
            if column.carried is None:
                body.add("if p:", f"    carried |= {1 << number}")
        values = [*(f"c{number}" for number in range(len(columns))), *map(str, self._flags)]
        values += ["carried"] if self.partial else []
        body.add(f"row = ({', '.join(values)},)", *kept)
        code.constants |= body.constants
        if self.where is None:
            code.add(*body.lines)
        else:
            self.where.emit_test(code, shape)
            code.add("if w:", *indented(body.lines))

    def _coded(self, shape: Shape | None) -> list[ColumnCode]:
        needed = {*self._table.key, self._table.version}
        place = self._table.model or f"tables.{self.name}.columns"
        return [
            ColumnCode(
                column,
                f"r{self._number}k{number}",
                spec,
                self.map.get(column),
                f"{place}.{column}",
                self._feed,
                lists=self._lists,
                untyped=self._form.untyped,
                shape=shape,
                is_alone=self._form.writes_one_alone,
                partial=self.partial and column not in needed,
            )
            for number, (column, spec) in enumerate(self._table.columns.items())
        ]


class Routes:
    """All routes of a feed, compiled into one function.

    Args:
        feed: ``provider.feed``.
        settings: the feed's.
        tables: at least those that its routes lead to, by name.
        deletable: the names of tables whose rows are followed by a flag.

    Attributes:
        tables: the names of the tables, each once, in the order of the routes.
        traced: whether it is noted of each row which table it is of, and of which record it was made.
        kinds: what a record may be.
    """

    def __init__(self, feed: str, settings: FeedSettings, tables: Mapping[str, Table], deletable: Any) -> None:
        branches = settings.branches
        lists = any(path.startswith("[") for each in branches for value in each.map.values() for path in value.from_)
        form = cast("Format", settings.format)
        self.all = [
            Route(number, each, feed, tables[each.into], deletable=each.into in deletable, lists=lists, form=form)
            for number, each in enumerate(branches)
        ]
        self.tables = tuple(dict.fromkeys(route.name for route in self.all))
        self.traced = bool(
            settings.routes or settings.transform or settings.dedupe or settings.on_drift == "quarantine"
        ) or any(route.partial for route in self.all)
        self.kinds: tuple[type, ...] = (dict, list) if lists else (dict,)
        if settings.where is None and all(_takes_whole(each) for each in branches):
            self.kinds = _ANYTHING
        self._lists = lists
        self._where = Where(settings.where) if settings.where is not None else None

    def of(self, record: Any) -> Route | None:
        """Give the route that takes a record.

        Raises:
            Violation: a `where` cannot be evaluated.
        """
        if self._where is not None and not self._where(record):
            return None
        return next((route for route in self.all if route.takes(record)), None)

    def secret(self, table: str) -> set[str]:
        """Give the columns of a table whose values are not shown: they, or fields that they come from, sound secret."""
        codes = [code for route in self.all if route.name == table for code in route.columns]
        return {code.name for code in codes if code.is_secret}

    def left_out(self, record: Any, message: Message) -> str:
        """Say by which condition a record is left out; empty where it is not.

        Raises:
            Violation: a `where` cannot be evaluated.
        """
        if self._where is not None and not self._where(record):
            return f"`where: {self._where.text}` is not true"
        route = self.of(record)
        if route is None:
            return "no route takes it: " + ", ".join(f"`{each.where.text}`" for each in self.all if each.where)
        return route.dropped(record, message)

    def fields(self) -> list[Path]:
        """Give the paths that columns come from."""
        written = [path for route in self.all for value in route.map.values() for path in value.from_]
        return [parse_path(path) for path in written if not path.startswith("$")]

    def shape(self, besides: list[Path] | None) -> Shape | None:
        """Give the shape of what is needed of a record, ``besides`` included; None where that is the whole of it."""
        found = [besides, *(route.paths() for route in self.all)]
        found.append(self._where.paths if self._where is not None else [])
        if self._lists or any(paths is None for paths in found):
            return None
        try:
            return Shape(path for paths in found for path in paths or ())
        except ValueError:
            return None

    def compile(self, shape: Shape | None = None) -> Callable[..., int]:
        """Make the function that maps pieces, ``run(pieces, rows, starts, failed, trace)``.

        It appends to ``rows``, tells ``starts`` how many there are before each piece, hands each failure to ``failed``
        and returns how many records no route took. What ``trace`` is told of each row, ``traced`` says.
        """
        code = Code("f")
        kinds = self.kinds if shape is None else (shape.type,)
        code.add(f"if type(r) not in {code.constant(kinds)}:", f"    raise {code.constant(_misplaced)}(r)")
        code.add(*(shape.lines if shape is not None else ()))
        if self._where is not None:
            self._where.emit_test(code, shape)
            code.add("if not w:", "    filtered += 1", "    continue")
        for route in self.all:
            route.emit(code, shape, traced=self.traced)
        if self.all[-1].where is not None:
            code.add("filtered += 1")
        violation = code.constant(Violation)
        record = ["try:", *indented(code.lines), f"except {violation} as fault:", "    failed(m, i, r, fault)"]
        loop = ["for i, r in (enumerate(records, start) if numbers is None else zip(numbers, records)):"]
        taken = "m, records, start, numbers = piece.message, piece.records, piece.start, piece.numbers"
        piece = ["starts(len(rows))", taken, *loop, *indented(record)]
        lines = ["filtered = 0", "keep = rows.append", "for piece in pieces:", *indented(piece)]
        return build("run(pieces, rows, starts, failed, trace=None)", [*lines, "return filtered"], code.constants)


def needed(mapped: Map, asked: Sequence[Expression]) -> list[Path] | None:
    """Give the paths that a map and expressions read; None where one of them reads the whole record."""
    written = [path for value in mapped.values() for path in value.from_]
    found = [parse_path(path) for path in written if not path.startswith("$")]
    if any(path.startswith("$record") for path in written):
        return None
    for expression in asked:
        if expression.paths is None:
            return None
        found += expression.paths
    return found


def _takes_whole(route: RouteSettings) -> bool:
    """Say whether a route has a use for a record of any kind, such as an id in a list of ids: only as it is."""
    paths = [path for value in (route.map or {}).values() for path in value.from_]
    looks = route.where is not None or route.delete_when is not None or route.partial
    computes = any(value.expr is not None for value in (route.map or {}).values())
    return "$record" in paths and all(path.startswith("$") for path in paths) and not (looks or computes)


def _by_name(table: Table) -> dict[str, MapValue]:
    """Map each column from the field of its own name."""
    return {name: MapValue.model_construct({"from_"}, from_=(dotted((name,)),)) for name in table.columns}


def _misplaced(record: Any) -> Violation:
    remedy = "set `records` to the path of the list of objects"
    return Violation(record, "record", f"is {kind_of(record)}, not an object", remedy)
