"""The story of one key: which of its records won, what the others lost to, and why the row is what it is."""

import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from service.config.tables import Table
from service.masking import is_secret
from service.store.kept import Kept, Wait
from service.transform.violations import masked
from service.workbench.outline import said
from service.workbench.trace import Outcome, Trace

_SHOWN = 40


class Story:
    """Settles what became of the records of one key, by the rules of the store, as far as they are known.

    Records come in the order in which they were received, which is that of one feed; of several, about.

    Args:
        table: settings of the table.
        kept: what the database keeps of the key.
        traces: of all places; the same record found twice counts once. Of a delta the row has what it carries.
        partial: whether deltas load into the table, so that each column is of the newest record that carries it.
        secret: columns that take their values from fields whose names sound secret; others say so themselves.

    Attributes:
        traces: in order of time, each with its outcome.
        secret: all columns whose values are not shown.
    """

    def __init__(
        self, table: Table, kept: Kept, traces: Sequence[Trace], *, partial: bool = False, secret: Collection[str] = ()
    ) -> None:
        self._table = table
        self._partial = partial
        self.secret = {*secret, *filter(is_secret, table.columns)}
        self._kept = kept
        self._row = kept.rows[0] if kept.rows and table.mode != "append" else None
        distinct: dict[object, Trace] = {}
        for trace in (*map(_of_wait, kept.waiting), *traces):
            distinct.setdefault((trace.feed.partition("@")[0], round(trace.at, 3), trace.number, trace.raw), trace)
        self.traces = sorted(distinct.values(), key=lambda trace: trace.at)
        self._makers = self._settle()

    @property
    def is_empty(self) -> bool:
        """Whether the key is found nowhere."""
        return not (self.traces or self._kept.rows or self._kept.history or self._kept.deleted_at)

    def masked(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Give a row, or a part of one, without its secrets."""
        shown: dict[str, Any] = masked(row)
        return {name: "***" if name in self.secret and value is not None else value for name, value in shown.items()}

    def conclusion(self) -> str:
        """Say in a sentence or two why the row is what it is."""
        told = self._why()
        others = Counter(trace.outcome for trace in self.traces if trace.outcome in {"waiting", "refused", "stale"})
        more = [f"{number} {_ONE[outcome] if number == 1 else _MANY[outcome]}" for outcome, number in others.items()]
        return f"{told}. {'; '.join(more).capitalize()}." if more and self._row is not None else f"{told}."

    def _settle(self) -> dict[str, Trace]:
        """Walk through the records as they came; give by column the one that made it what it is in the row."""
        makers: dict[str, Trace] = {}
        for trace in self.traces:
            if not trace.is_loaded:
                continue
            if self._table.mode == "append":
                trace.outcome, trace.because = "added", _and("its row was added", trace.because)
                continue
            newest = makers.get(self._table.key[0])
            won = self._won(trace, makers)
            if newest is not None and not won:
                trace.outcome = "stale"
                trace.because = _and(f"version {self._version(trace.row)} < {self._version(newest.row)}", trace.because)
            elif newest is not None and not trace.deletes and not newest.deletes and self._same(trace, won, makers):
                trace.outcome, trace.because = "unchanged", _and("the row was already so", trace.because)
            else:
                before = _distinct(makers)
                if newest is not None and (trace.deletes or newest.deletes):
                    makers.clear()
                makers |= dict.fromkeys(won, trace)
                for other in before:
                    if all(other is not each for each in makers.values()):
                        other.outcome, other.because = "replaced", _and(self._by(trace), other.because)
        held = [self._judge(each, [name for name in makers if makers[name] is each]) for each in _distinct(makers)]
        return {name: trace for part in held for name, trace in part.items()}

    def _won(self, trace: Trace, makers: Mapping[str, Trace]) -> list[str]:
        """Give the columns for which a record is not older than the one that made them; a deletion is for all."""
        newest = makers.get(self._table.key[0])
        if trace.deletes or (newest is not None and newest.deletes):
            is_older = newest is not None and self._is_older(trace.row, newest.row)
            return [] if is_older else list(self._table.columns if trace.deletes else trace.row or {})
        return [
            name for name in trace.row or {} if name not in makers or not self._is_older(trace.row, makers[name].row)
        ]

    def _judge(self, trace: Trace, names: Sequence[str]) -> dict[str, Trace]:
        """Compare what a record was the last to write with the row that is there; give the columns that it made."""
        trace.outcome = "deleted" if trace.deletes else "won"
        why = ""
        mine = {name: value for name, value in (trace.row or {}).items() if name in names}
        if self._row is None:
            if self._table.mode == "update":
                trace.outcome, why = "filtered", "there is no such row, and `mode: update` makes none"
            elif not trace.deletes:
                trace.outcome, why = "replaced", "there is no such row now"
        elif trace.deletes:
            trace.outcome, why = "replaced", "there is a row again"
        else:
            trace.outcome, why, lost = self._compared(trace, mine, self._row)
            names = [name for name in names if name not in lost]
        if why:
            trace.because = _and(why, trace.because)
            return {}
        newest = f"version {self._version(trace.row)} is the newest" if self._table.version else "it came last"
        made = [name for name in names if name not in self._table.key]
        is_part = self._row is not None and len(names) < len(self._table.columns)
        part = f" of those that carry {', '.join(made)}" if is_part else ""
        trace.because = _and(f"{newest}{part}", trace.because)
        return dict.fromkeys(names, trace)

    def _compared(self, trace: Trace, mine: Mapping[str, Any], row: Mapping[str, Any]) -> tuple[Outcome, str, set[str]]:
        """Compare what a record wrote last with the row; give its outcome, why it lost, and the columns that it lost.

        Of a row that deltas write each column has its version: another one tells of a record that is not known here.
        """
        lost = self._different(mine, row)
        if not self._partial:
            if self._is_older(trace.row, row):
                return "stale", f"version {self._version(trace.row)} < {self._version(row)} of the row", lost
            return ("replaced", f"the row differs: {self._difference(mine, row)}", lost) if lost else ("won", "", lost)
        ours, key = self._version_of(trace.row), self._table.key
        theirs = {name: self._kept.versions.get(name, self._version_of(row)) for name in mine if name not in key}
        lost |= {name for name, version in theirs.items() if version != ours}
        if not lost or theirs.keys() - lost:
            return "won", "", lost
        if all(_precedes(ours, version) for version in theirs.values()):
            told = ", ".join(f"{name} {said(version)}" for name, version in theirs.items())
            return "stale", f"version {said(ours)} < those of the row's columns: {_cut(told)}", lost
        told = self._difference(mine, row)
        return "replaced", f"the row differs: {told}" if told else "other records wrote its columns again", lost

    def _why(self) -> str:
        if self._table.mode == "append":
            return f"Every record is a row of its own: there are {len(self._kept.rows)}"
        if self._makers and self._row is not None:
            return self._made(self._row)
        if self._row is not None:
            version = f", of version {self._version(self._row)}," if self._table.version else ""
            return (
                f"The row{version} was made by a record that is not known here: the buffer forgets what is loaded, a "
                "recording (--from) may hold it; or it was changed by hand"
            )
        return f"There is no row: {self._why_none()}"

    def _made(self, row: Mapping[str, Any]) -> str:
        """Say which record made the row, or which made which of its columns."""
        makers = _distinct(self._makers)
        columns = [name for name in row if name in self._table.columns and name not in self._table.key]
        unknown = [name for name in columns if name not in self._makers]
        if len(makers) == 1 and not unknown:
            return f"The row is what record {_place(makers[0])} made of it: {makers[0].because}"
        parts = [
            f"{', '.join(name for name in columns if self._makers.get(name) is maker) or 'its key'} by record "
            f"{_place(maker)}"
            for maker in makers
        ]
        others = f"; {', '.join(unknown)} by none that is known here" if unknown else ""
        return f"The row was made column by column: {'; '.join(parts)}{others}"

    def _why_none(self) -> str:
        for maker in self._makers.values():
            return f"record {_place(maker)} deleted it"
        if self._kept.deleted_at is not None:
            return (
                f"a record of version {said(self._kept.deleted_version)} deleted it at {_clock(self._kept.deleted_at)}"
            )
        found = Counter(trace.outcome for trace in self.traces)
        for outcome, told in _NONE.items():
            if found[outcome]:
                latest = next(trace for trace in reversed(self.traces) if trace.outcome == outcome)
                return f"{told}: record {_place(latest)}: {latest.because}"
        return "it is gone, and no record that is known here says why"

    def _is_older(self, mine: Mapping[str, Any] | None, other: Mapping[str, Any] | None) -> bool:
        return mine is not None and other is not None and _precedes(self._version_of(mine), self._version_of(other))

    def _version_of(self, row: Mapping[str, Any] | None) -> Any:
        return row.get(self._table.version) if row is not None and self._table.version is not None else None

    def _same(self, trace: Trace, won: Sequence[str], makers: Mapping[str, Trace]) -> bool:
        """Say whether a record repeats what is there of the columns that it wins, and is not newer."""
        if any(name not in makers or self._is_older(makers[name].row, trace.row) for name in won):
            return False
        there = {name: (makers[name].row or {})[name] for name in won}
        mine = {name: value for name, value in (trace.row or {}).items() if name in won}
        return not self._different(mine, there)

    def _different(self, mine: Mapping[str, Any], other: Mapping[str, Any]) -> set[str]:
        return {
            name for name in mine if name in other and self._plain(name, mine[name]) != self._plain(name, other[name])
        }

    def _difference(self, mine: Mapping[str, Any], other: Mapping[str, Any]) -> str:
        different = self._different(mine, other)
        return ", ".join(
            f"{name} is another" if name in self.secret else f"{name} is {_short(other[name])}, not {_short(value)}"
            for name, value in mine.items()
            if name in different
        )

    def _plain(self, name: str, value: Any) -> Any:
        column = self._table.columns[name]
        if column.type != "json" or not isinstance(value, str):
            return value
        return json.loads(value, parse_float=Decimal)

    def _version(self, row: Mapping[str, Any] | None) -> str:
        return said(self._version_of(row)) if row is not None and self._table.version is not None else ""

    def _by(self, trace: Trace) -> str:
        if trace.deletes:
            return "deleted by a later record"
        return f"by version {self._version(trace.row)}" if self._table.version else "by a later record"


_ONE = {"waiting": "record waits", "refused": "record was refused", "stale": "record was older"}
_MANY = {"waiting": "records wait", "refused": "records were refused", "stale": "records were older"}
_NONE: dict[Outcome, str] = {
    "waiting": "what came for it waits",
    "refused": "what came for it was refused",
    "filtered": "what came for it was left out",
    "replaced": "it was there once",
    "mentioned": "only refused records say something of it",
}


def _of_wait(wait: Wait) -> Trace:
    """Give the trace of a delta in the waiting room, which is not loaded, although its message is."""
    because = f"for its row, until {_clock(wait.until)}; if none comes by then, it goes to quarantine"
    at = wait.received_at.timestamp()
    return Trace(at, f"waiting {wait.id}", wait.feed, wait.number, "waiting", wait.raw, because, wait.carried)


def _precedes(ours: Any, theirs: Any) -> bool:
    """Say whether a version is older than another; none is older than any."""
    return theirs is not None and (ours is None or ours < theirs)


def _distinct(makers: Mapping[str, Trace]) -> list[Trace]:
    """Give each record once, in the order of time."""
    return sorted({id(trace): trace for trace in makers.values()}.values(), key=lambda trace: trace.at)


def _and(why: str, more: str) -> str:
    return f"{why}; it {more}" if more else why


def _place(trace: Trace) -> str:
    return f"{trace.number + 1} of {trace.feed} at {_clock(datetime.fromtimestamp(trace.at, UTC))} ({trace.place})"


def _clock(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(sep=" ", timespec="seconds").removesuffix("+00:00")


def _short(value: Any) -> str:
    return _cut(said(value))


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
