"""A feed's transform: decodes messages, maps their records to rows by compiled code, and refuses what does not fit."""

from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import islice
from typing import Any, cast

import msgspec

from service.config.feeds import FeedSettings
from service.config.tables import Table
from service.errors import FormatError, RowRefused
from service.formats import Broken, Format
from service.model import Message, Refusal, Row
from service.transform.explain import Verdict, carried_names, refused_by_database
from service.transform.keys import Keys
from service.transform.numbering import Numbering
from service.transform.routes import Route, Routes
from service.transform.violations import Violation, shown


class Piece(msgspec.Struct, frozen=True, gc=False):
    """Records of one message: all, or some that follow one another.

    Attributes:
        message: that they were decoded from.
        records: as the format gave them, or what the user's own function made of them.
        start: the number of the first of them within the message.
        numbers: the number of each within the message, where they do not follow one another.
    """

    message: Message
    records: Sequence[Any]
    start: int = 0
    numbers: Sequence[int] | None = None


class Mapped(msgspec.Struct):
    """What records became.

    Attributes:
        rows: in the order of their records.
        starts: for each piece the number of rows that come before its own.
        refusals: of the records that do not fit.
        filtered: how many `where`, or `on_invalid: drop`, left out, or no route took.
        lost: for a feed with `absent`, the key of each other record that gave no row; None where not even that can be
            told.
        origins: for each row its table and the number of its record in the message; empty unless the transform is
            traced.
    """

    rows: list[Row]
    starts: list[int]
    refusals: list[Refusal]
    filtered: int
    lost: list[Row | None]
    origins: list[tuple[str, int]] = []


class Transform:
    """Turns the messages of one feed into rows.

    Args:
        feed: ``provider.feed``.
        settings: the feed's.
        tables: at least those that it loads into, by name.
        deletable: the names of tables whose rows are followed by a flag that says whether they are to be deleted.

    Attributes:
        tables: the names of the tables that rows are of.
        table: the only one of them; None where there are several.
        deletable: as above.
        partial: whether any of its rows are deltas.
        custom: the name of the user's own function that stands before it.
        traced: whether rows may be of several tables, or fewer or more than their records; see ``Mapped.origins``.
        routes: which records go where.
        keys: gives the keys of the feed's records; None for a feed without `absent` or `snapshot`.
        fields: the paths of a record that columns come from; none where the user's own function stands between.
        numbering: reads the numbers of messages; None for a feed without `sequence`.

    Raises:
        ConfigError: a constant, default or bound does not fit its column.
    """

    def __init__(
        self, feed: str, settings: FeedSettings, tables: Mapping[str, Table], deletable: Collection[str] = ()
    ) -> None:
        self.feed = feed
        self.deletable = frozenset(deletable)
        self.custom = settings.transform
        self._format = cast("Format", settings.format)
        self._records = settings.records
        self.routes = routes = Routes(feed, settings, tables, deletable)
        self.tables = routes.tables
        self.table = self.tables[0] if len(self.tables) == 1 else None
        self.traced = routes.traced
        self.partial = any(route.partial for route in routes.all)
        self.keys: Keys | None = None
        if settings.absent is not None or settings.snapshot:
            (route,) = routes.all
            self.keys = Keys(route.columns, tables[route.name].key, route.map, routes.kinds)
        self.fields = routes.fields() if settings.transform is None else []
        self._run = routes.compile()
        self._read: Callable[[Message], list[Any]] | None = None
        self.numbering: Numbering | None = None
        if settings.sequence is not None:
            self.numbering = Numbering(feed, settings.sequence, self._format, settings.records)
        needs_whole = settings.transform is not None or settings.on_drift == "quarantine"
        shape = None if needs_whole else routes.shape(self.numbering.paths if self.numbering is not None else [])
        if shape is not None and (read := self._format.typed(self._records, shape.type)) is not None:
            self._read = read
            self._run_narrow = routes.compile(shape)
            if self.numbering is not None:
                self.numbering.narrow(shape)
        self._decoded: tuple[Message | None, list[Any]] = (None, [])
        self._traced_back: tuple[Message | None, list[tuple[int, Row]]] = (None, [])

    def decode(self, message: Message) -> list[Any]:
        """Give the records of a message.

        Raises:
            FormatError: its bytes are not what the format says.
        """
        return self._format.decode(message, self._records)

    def read(self, message: Message) -> list[Any]:
        """Give the records of a message to map: where the format can, only the fields that are wanted.

        Raises:
            FormatError: as ``decode``; also of what the source found to be no answer, such as a web page.
        """
        if message.meta is not None and "refused" in message.meta:
            raise FormatError(message.meta["refused"])
        return self.decode(message) if self._read is None else self._read(message)

    def map(self, pieces: Sequence[Piece]) -> Mapped:
        """Map records, of one message or of many: the fewer calls, the less they cost."""
        mapped = Mapped([], [], [], 0, [], [])
        trace = mapped.origins.append

        def failed(message: Message, index: int, record: Any, fault: Violation) -> None:
            verdict = self._verdict(message, record, fault)
            if verdict.row is None and self.keys is not None:
                mapped.lost.append(self.keys.of(record, message))
            if verdict.row is not None:
                mapped.rows.append(verdict.row)
                if self.traced and verdict.table is not None:
                    trace((verdict.table, index))
            elif verdict.reason:
                table = verdict.table or self.table
                mapped.refusals.append(self.refusal(message, index, table, verdict.reason, verdict.detail))
            else:
                mapped.filtered += 1

        def again(message: Message, index: int, record: Any, _fault: Violation) -> None:
            try:
                whole = self._whole(message)[index] if isinstance(record, msgspec.Struct) else record
            except FormatError as error:  # in fields that nobody wanted until this record failed
                mapped.refusals.append(self._alone(self.undecodable(message, error), index))
                mapped.lost.append(None)
                return
            filtered = self._run([Piece(message, [whole], index)], mapped.rows, [].append, failed, trace)
            mapped.filtered += filtered

        run, instead = (self._run, failed) if self._read is None else (self._run_narrow, again)
        filtered = run(pieces, mapped.rows, mapped.starts.append, instead, trace)
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

        self._run([Piece(message, (record,))], rows, [].append, failed, [].append)
        if not rows:
            return verdicts[0] if verdicts else Verdict()
        route = self.routes.of(record)
        if route is None:
            return Verdict(rows[0])
        return Verdict(rows[0], table=route.name, map=route.map, carried=self._carried(route, rows[0]))

    def _carried(self, route: Route, row: Row) -> frozenset[str] | None:
        """Give the names of the columns that a row of a route's table carries; None where it is no delta."""
        names = [column.name for column in route.columns]
        is_delta = len(row) > len(names) + (route.name in self.deletable)
        return carried_names(row[-1] if is_delta else None, names)

    def reread(self, message: Message) -> Any:
        """Give the record that a refusal kept; the message's body is the record's own bytes.

        Raises:
            FormatError: they are not one record.
        """
        return self._format.reread(message)

    def raw(self, message: Message, index: int) -> bytes:
        """Give the raw bytes of one record of a message that decodes."""
        return self._format.raw(message, self._records, index)

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

    def refuse(self, message: Message, row: int, refused: RowRefused) -> Refusal:
        """Refuse the record of the ``row``-th row, from 0, that a message yields: the database refused the row.

        For a transform that is not traced: every record gives one row or none, all of one table.
        """
        if self._traced_back[0] is not message:  # once for all its rows that are refused
            try:
                records = self.read(message)
            except FormatError:  # which it was not when it was mapped: how deep is too deep hangs on who asks
                records = []
            mapped = ((index, self.map([Piece(message, [each], index)]).rows) for index, each in enumerate(records))
            self._traced_back = (message, [(index, rows[0]) for index, rows in mapped if rows])
        index, values = next(islice(self._traced_back[1], row, None), (0, ()))
        reason, told = refused.reason, self.refused(self.tables[0], values, refused)
        try:
            self._whole(message)
            return self.refusal(message, index, self.table, reason, told)
        except FormatError:  # in fields that are not mapped
            told, at = numbered(self.feed, index, told), message.received_at
            whole = Refusal(self.feed, self.table, reason, told, None, message.body, at, meta=message.meta)
            return self._alone(whole, index) if values else whole

    @staticmethod
    def _alone(refusal: Refusal, index: int) -> Refusal:
        """Note which record of a message a refusal is of that has no bytes of its own: the others are loaded."""
        return msgspec.structs.replace(refusal, index=index, meta={**(refusal.meta or {}), "alone": True})

    def refused(self, table: str, row: Row, refused: RowRefused) -> str:
        """Tell why the database refused a row: the values that are to blame, as far as that is known."""
        route = next(route for route in self.routes.all if route.name == table)
        carried, values = self._carried(route, row), zip(route.columns, row, strict=False)
        return refused_by_database([each for each in values if carried is None or each[0].name in carried], refused)

    def refusal(self, message: Message, index: int, table: str | None, reason: str, detail: str) -> Refusal:
        """Refuse one record of a message that decodes, by its number in the message, from 0."""
        raw, beside = self.raw(message, index), self._format.beside(message, self._records)
        detail = numbered(self.feed, index, detail)
        return Refusal(self.feed, table, reason, detail, raw, message.body, message.received_at, index, beside)

    def _verdict(self, message: Message, record: Any, fault: Violation) -> Verdict:
        """Judge a record by the columns of its route, unless it never came to them."""
        if isinstance(record, Broken):
            return Verdict(None, record.reason, record.detail)
        if fault.rule == "record":
            return Verdict(None, "record: not an object", f"{shown(record)} {fault.said} [record]; {fault.remedy}")
        route = None if fault.rule == "where" else self.routes.of(record)
        if route is not None and fault.rule != "delete_when":
            verdict = route.judge(record, message)
        else:
            told = f"{fault.said} for {shown(record)} [{fault.rule}]; {fault.remedy}"
            verdict = Verdict(None, f"{fault.rule}: not computable", told)
        if route is not None:
            verdict.table, verdict.map = route.name, route.map
        return verdict


def numbered(feed: str, index: int, detail: str) -> str:
    """Say whose record a refusal is about; people count from 1."""
    return f"{feed}, record {index + 1}: {detail}"
