"""A feed's transform: decodes messages, maps their records to rows by compiled code, and refuses what does not fit."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, cast

import msgspec

from service.config.feeds import FeedSettings
from service.config.paths import parse_path
from service.config.tables import Table
from service.errors import FormatError
from service.formats import Broken, Format
from service.model import Message, Refusal, Row
from service.transform.code import build, indented
from service.transform.columns import ColumnCode
from service.transform.deletion import Deletion
from service.transform.explain import Judge, Verdict, refused_by_database
from service.transform.keys import Keys
from service.transform.shape import Shape
from service.transform.violations import Violation, kind_of, shown
from service.transform.where import Where


class Piece(NamedTuple):
    """Records of one message: all, or some that follow one another.

    Attributes:
        message: that they were decoded from.
        records: as the format gave them.
        start: the number of the first of them within the message.
    """

    message: Message
    records: Sequence[Any]
    start: int = 0


class Mapped(msgspec.Struct):
    """What records became.

    Attributes:
        rows: in the order of their records.
        starts: for each piece the number of rows that come before its own.
        refusals: of the records that do not fit.
        filtered: how many `where`, or `on_invalid: drop`, left out.
        lost: for a feed with `absent`, the key of each other record that gave no row; None where not even that can be
            told.
    """

    rows: list[Row]
    starts: list[int]
    refusals: list[Refusal]
    filtered: int
    lost: list[Row | None]


class Transform:
    """Turns the messages of one feed into rows of one table.

    Args:
        feed: ``provider.feed``.
        settings: the feed's.
        name: the table's.
        table: the table's columns.
        deletable: whether each row is followed by a flag that says whether it is to be deleted.

    Attributes:
        deletable: as above.
        keys: gives the keys of the feed's records; None for a feed without `absent`.

    Raises:
        ConfigError: a constant, default or bound does not fit its column.
    """

    def __init__(self, feed: str, settings: FeedSettings, name: str, table: Table, *, deletable: bool = False) -> None:
        self.feed = feed
        self.table = name
        self.deletable = deletable
        self._records = settings.records
        self._format = cast("Format", settings.format)
        where = Where(settings.where) if settings.where is not None else None
        lists = any(path.startswith("[") for value in settings.map.values() for path in value.from_)
        columns = _columns(feed, settings, name, table, lists=lists)
        self._columns = {column.name: column for column in columns}
        self._judge = Judge(columns, table)
        kinds = (dict, list) if lists else (dict,)
        flags = self._flags = (False,) if deletable else ()
        deletion = Deletion(settings.delete_when, columns, table) if settings.delete_when is not None else None
        self._deletion = deletion
        self.keys = Keys(columns, table.key, settings, kinds) if settings.absent is not None else None
        self._run = _compile(columns, where, kinds, deletion=deletion, flags=flags)
        self._read: Callable[[Message], list[Any]] | None = None
        shape = _shape(settings) if where is None and deletion is None and not lists else None
        if shape is not None and (read := self._format.typed(self._records, shape.type)) is not None:
            self._read = read
            narrow = _columns(feed, settings, name, table, lists=lists, shape=shape)
            self._run_narrow = _compile(narrow, None, (shape.type,), shape.lines, flags=flags)
        self._decoded: tuple[Message | None, list[Any]] = (None, [])

    def decode(self, message: Message) -> list[Any]:
        """Give the records of a message.

        Raises:
            FormatError: its bytes are not what the format says.
        """
        return self._format.decode(message, self._records)

    def read(self, message: Message) -> list[Any]:
        """Give the records of a message to map: where the format can, only the fields that are mapped.

        Raises:
            FormatError: as ``decode``; also of what the source found to be no answer, such as a web page.
        """
        if message.meta is not None and "refused" in message.meta:
            raise FormatError(message.meta["refused"])
        return self.decode(message) if self._read is None else self._read(message)

    def map(self, pieces: Sequence[Piece]) -> Mapped:
        """Map records, of one message or of many: the fewer calls, the less they cost."""
        mapped = Mapped([], [], [], 0, [])

        def failed(message: Message, index: int, record: Any, fault: Violation) -> None:
            verdict = self._verdict(message, record, fault)
            if verdict.row is None and self.keys is not None:
                mapped.lost.append(self.keys.of(record, message))
            if verdict.row is not None:
                mapped.rows.append(verdict.row)
            elif verdict.reason:
                mapped.refusals.append(self.refusal(message, index, verdict.reason, verdict.detail))
            else:
                mapped.filtered += 1

        def again(message: Message, index: int, record: Any, _fault: Violation) -> None:
            whole = self._whole(message)[index] if isinstance(record, msgspec.Struct) else record
            filtered = self._run([Piece(message, [whole], index)], mapped.rows, [].append, failed)
            mapped.filtered += filtered

        run, instead = (self._run, failed) if self._read is None else (self._run_narrow, again)
        filtered = run(pieces, mapped.rows, mapped.starts.append, instead)
        mapped.filtered += filtered
        return mapped

    def _whole(self, message: Message) -> list[Any]:
        """Decode a message that has a record which failed; once for all that it has."""
        if self._decoded[0] is not message:
            self._decoded = (message, self.decode(message))
        return self._decoded[1]

    def attempt(self, message: Message, record: Any) -> Verdict:
        """Say what becomes of one record: its row, its refusal, or neither where it is left out."""
        rows: list[Row] = []
        verdicts: list[Verdict] = []

        def failed(_message: Message, _index: int, failing: Any, fault: Violation) -> None:
            verdicts.append(self._verdict(message, failing, fault))

        self._run([Piece(message, (record,))], rows, [].append, failed)
        return Verdict(rows[0]) if rows else verdicts[0] if verdicts else Verdict()

    def reread(self, message: Message) -> Any:
        """Give the record that a refusal kept; the message's body is the record's own bytes.

        Raises:
            FormatError: they are not one record.
        """
        return self._format.reread(message)

    def undecodable(self, message: Message, error: FormatError) -> Refusal:
        """Refuse a whole message that does not decode."""
        if message.meta is not None and "refused" in message.meta:
            reason, detail = "source: no data", str(error)
            return Refusal(self.feed, self.table, reason, detail, None, message.body, message.received_at)
        kind = self._format.kind_of(message)
        remedy = "correct the feed's `format` or `records`, or the provider"
        detail = f"{self.feed}: the message is not {kind}: {error} [not decodable]; {remedy}"
        reason, body = f"{kind}: not decodable", message.body
        return Refusal(self.feed, self.table, reason, detail, None, body, message.received_at, meta=message.meta)

    def refuse(self, message: Message, row: int, reason: str, detail: str) -> Refusal:
        """Refuse the record of the ``row``-th row, from 0, that a message yields: the database refused the row."""
        rows = 0
        for index, record in enumerate(self.decode(message)):
            found = self.attempt(message, record).row
            rows += found is not None
            if found is not None and rows > row:
                return self.refusal(message, index, reason, self.refused(found, reason, detail))
        detail = f"{self.feed}: {detail}"
        return Refusal(
            self.feed, self.table, reason, detail, None, message.body, message.received_at, meta=message.meta
        )

    def refused(self, row: Row, reason: str, detail: str) -> str:
        """Tell why the database refused a row, whose ``reason`` begins with the column where that is known."""
        name, _, rule = reason.rpartition(": ")
        column = self._columns.get(name)
        value = row[list(self._columns).index(name)] if column is not None else None
        return refused_by_database(column, value, rule, detail)

    def refusal(self, message: Message, index: int, reason: str, detail: str) -> Refusal:
        """Refuse one record of a message that decodes, by its number in the message, from 0."""
        raw, beside = self._format.raw(message, self._records, index), self._format.beside(message, self._records)
        detail = numbered(self.feed, index, detail)
        return Refusal(self.feed, self.table, reason, detail, raw, message.body, message.received_at, index, beside)

    def _verdict(self, message: Message, record: Any, fault: Violation) -> Verdict:
        """Judge a record by its columns, unless it never came to them."""
        if isinstance(record, Broken):
            return Verdict(None, record.reason, record.detail)
        if fault.rule == "record":
            return Verdict(None, "record: not an object", f"{shown(record)} {fault.said} [record]; {fault.remedy}")
        if fault.rule in {"where", "delete_when"}:
            told = f"{fault.said} for {shown(record)} [{fault.rule}]; {fault.remedy}"
            return Verdict(None, f"{fault.rule}: not computable", told)
        if self._deletion is not None and self._deletion.when(record):
            return self._deletion.judge(record, message)
        verdict = self._judge.judge(record, message)
        if verdict.row is not None:
            verdict.row += self._flags
        return verdict


def numbered(feed: str, index: int, detail: str) -> str:
    """Say whose record a refusal is about; people count from 1."""
    return f"{feed}, record {index + 1}: {detail}"


def _columns(
    feed: str, settings: FeedSettings, name: str, table: Table, *, lists: bool, shape: Shape | None = None
) -> list[ColumnCode]:
    """Make the code of each column."""
    return [
        ColumnCode(
            column,
            f"k{number}",
            spec,
            settings.map.get(column),
            f"tables.{name}.columns.{column}",
            feed,
            lists=lists,
            shape=shape,
        )
        for number, (column, spec) in enumerate(table.columns.items())
    ]


def _shape(settings: FeedSettings) -> Shape | None:
    """Give the shape of the records that a map reads; None where it reads the whole of them."""
    paths = [path for value in settings.map.values() for path in value.from_]
    if any(path.startswith("$record") for path in paths):
        return None
    try:
        return Shape(parse_path(path) for path in paths if not path.startswith("$"))
    except ValueError:
        return None


def _compile(
    columns: Sequence[ColumnCode],
    where: Where | None,
    kinds: tuple[type, ...],
    prelude: Sequence[str] = (),
    *,
    deletion: Deletion | None = None,
    flags: tuple[bool, ...],
) -> Callable[..., int]:
    """Make the function that maps pieces: it appends to ``rows``, and hands each failure to ``failed``."""
    constants: dict[str, Any] = {"Violation": Violation, "where": where, "kinds": kinds, "misplaced": _misplaced}
    body = ["if type(r) not in kinds:", "    raise misplaced(r)"]
    if where is not None:
        body += ["if not where(r):", "    filtered += 1", "    continue"]
    if deletion is not None:
        constants |= deletion.constants
        body += deletion.lines
    body += prelude
    for number, column in enumerate(columns):
        constants |= column.constants
        body += [*column.lines, f"c{number} = v"]
    values = [*(f"c{number}" for number in range(len(columns))), *map(str, flags)]
    body.append(f"keep(({', '.join(values)},))")
    record = ["try:", *indented(body), "except Violation as fault:", "    failed(m, i, r, fault)"]
    piece = ["starts(len(rows))", "for i, r in enumerate(records, start):", *indented(record)]
    lines = ["filtered = 0", "keep = rows.append", "for m, records, start in pieces:", *indented(piece)]
    return build("run(pieces, rows, starts, failed)", [*lines, "return filtered"], constants)


def _misplaced(record: Any) -> Violation:
    remedy = "set `records` to the path of the list of objects"
    return Violation(record, "record", f"is {kind_of(record)}, not an object", remedy)
