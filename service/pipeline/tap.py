"""The tap: lets listeners see records of a running feed as they pass. The feed never waits for them."""

import contextlib
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import Any

import msgspec

from service.config.tables import Column, Table
from service.errors import FormatError
from service.formats import Broken
from service.masking import hidden_raw
from service.model import Message, Refusal, Row
from service.pipeline.batch import Parsed
from service.pipeline.listener import Listener, Stage
from service.transform.transform import Transform
from service.transform.violations import masked, shown

LARGEST = 64 << 10
"""Bytes of a line, above which the record is shortened."""
LOOK = 1000
"""Bytes that are shown of what does not decode."""
TURN = 0.002
"""Seconds that listeners may take of one turn of the loop."""
REST = 50
"""How many times as long they are then given nothing: so they take a fiftieth of the time at most."""

_encode = msgspec.json.Encoder(decimal_format="number", enc_hook=str).encode
_decode = msgspec.json.Decoder(float_hook=Decimal).decode


class Tap:
    """Shows the records of one feed, secrets masked, to those who listen; a context manager that tells them of its end.

    Args:
        transform: of the feed.
        tables: by name.
        clock: gives seconds.

    Attributes:
        listeners: while there are none, nothing else is to be called.
    """

    def __init__(
        self,
        transform: Transform,
        tables: Mapping[str, Table],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.listeners: list[Listener] = []
        self._transform = transform
        self._clock = clock
        self._columns = {name: tables[name].columns for name in transform.tables}
        self._secret = {name: transform.routes.secret(name) for name in transform.tables}
        self._rest_until = 0.0

    @contextlib.contextmanager
    def listening(self, stage: Stage, gaps: Iterator[int]) -> Iterator[Listener]:
        """Listen while the block lasts; see Listener."""
        listener = Listener(stage, gaps)
        self.listeners.append(listener)
        try:
            yield listener
        finally:
            self.listeners.remove(listener)

    async def __aenter__(self) -> "Tap":
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Tell listeners that the feed has stopped."""
        for listener in self.listeners:
            listener.end("the feed has stopped")

    def parsed(self, parsed: Parsed) -> None:
        """Show what messages became, before it is known whether they are loaded."""

        def mapped(number: int) -> dict[str, Any]:
            message = parsed.messages[bisect_right(parsed.starts, number) - 1]
            table = parsed.origins[number][0] if parsed.origins else self._transform.tables[0]
            return {"received_at": _moment(message.received_at), **self._row(table, parsed.rows[number])}

        with self._turn() as until:
            if any(listener.stage == "raw" for listener in self.listeners):
                self._raw(parsed, until)
            self._pass("mapped", len(parsed.rows), mapped, until)
            self._pass("refused", len(parsed.refusals), lambda number: self._refusal(parsed.refusals[number]), until)

    def committed(self, rows: Mapping[str, Sequence[Row]], refusals: Sequence[Refusal]) -> None:
        """Show a batch that is committed, and what of it the database refused."""
        now = _moment(time.time())

        def written(table: str, number: int) -> dict[str, Any]:
            return {"committed_at": now, **self._row(table, rows[table][number])}

        with self._turn() as until:
            for table in rows:
                self._pass("committed", len(rows[table]), partial(written, table), until)
            self._pass("refused", len(refusals), lambda number: self._refusal(refusals[number]), until)

    @contextlib.contextmanager
    def _turn(self) -> Iterator[float]:
        """Give the moment until which listeners may be served; then let them rest as long as that makes it."""
        started = self._clock()
        yield started + TURN if started >= self._rest_until else 0.0
        if started >= self._rest_until:
            ended = self._clock()
            self._rest_until = ended + REST * (ended - started)

    def _raw(self, parsed: Parsed, until: float) -> None:
        """Show records as they were sent; what was decoded for the map may lack most of their fields."""
        records: list[tuple[Message, Any]] = []
        for message in parsed.messages if until else ():
            with contextlib.suppress(FormatError):
                records += [(message, record) for record in self._transform.decode(message)]

        def raw(number: int) -> dict[str, Any]:
            message, record = records[number]
            told = record.detail if isinstance(record, Broken) else masked(record)
            return {"received_at": _moment(message.received_at), "record": told}

        decoded = self._clock()
        self._pass("raw", len(records) if until else parsed.received, raw, until and decoded + TURN)

    def _pass(self, stage: Stage, count: int, show: Callable[[int], dict[str, Any]], until: float) -> None:
        """Give listeners those of ``count`` records that they want, as far as the time allows."""
        for listener in self.listeners:
            if listener.stage != stage:
                continue
            if not until:
                listener.miss(count)
                continue
            for number in listener.choose(count):
                if self._clock() < until:
                    listener.put(_line({"stage": stage, "feed": self._transform.feed, **show(number)}))
                else:
                    listener.miss(1)

    def _row(self, table: str, row: Row) -> dict[str, Any]:
        columns = self._columns[table]
        flags = row[len(columns) :]
        # A bool says whether the row is deleted; a number, which is no bool, which columns a delta carries.
        carried = flags[-1] if flags and not isinstance(flags[-1], bool) else -1
        values = {
            name: "***" if name in self._secret[table] else _value(column, value)
            for number, ((name, column), value) in enumerate(zip(columns.items(), row, strict=False))
            if carried >> number & 1
        }
        deletes = {"deletes": True} if any(flag is True for flag in flags) else {}
        return {"table": table, "row": values, **deletes}

    def _refusal(self, refusal: Refusal) -> dict[str, Any]:
        raw = refusal.message if refusal.record is None else refusal.record
        record: Any = hidden_raw(raw[:LOOK].decode(errors="replace"))
        if refusal.record is not None:
            with contextlib.suppress(FormatError):
                sent = Message(raw, refusal.received_at, None, refusal.meta)
                record = masked(self._transform.reread(sent))
        return {
            "received_at": _moment(refusal.received_at),
            "table": refusal.table,
            "reason": refusal.reason,
            "detail": refusal.detail,
            "record": record,
        }


def _value(column: Column, value: Any) -> Any:
    if column.type == "json" and isinstance(value, str):
        with contextlib.suppress(msgspec.DecodeError):
            return masked(_decode(value))
    return masked(value)


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _line(item: dict[str, Any]) -> bytes:
    """Write an item as one line; what cannot be written, or is too long, is shortened."""
    try:
        line: bytes = _encode(item)
    except (ValueError, RecursionError):
        line = b""
    if not line or len(line) > LARGEST:
        what = "row" if "row" in item else "record"
        line = _encode({**item, what: shown(item[what]), "detail": shown(item.get("detail", "")), "shortened": True})
    return line + b"\n"
