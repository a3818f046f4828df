"""The story of one key: which of its records won, what the others lost to, and why the row is what it is."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from service.config.tables import Table
from service.store.kept import Kept
from service.transform.violations import is_secret
from service.workbench.outline import said
from service.workbench.trace import Outcome, Trace

_SHOWN = 40


class Story:
    """Settles what became of the records of one key, by the rules of the store, as far as they are known.

    Records come in the order in which they were received, which is that of one feed; of several, about.

    Args:
        table: settings of the table.
        kept: what the database keeps of the key.
        traces: of all places; the same record found twice counts once.

    Attributes:
        traces: in order of time, each with its outcome.
    """

    def __init__(self, table: Table, kept: Kept, traces: Sequence[Trace]) -> None:
        self._table = table
        self._kept = kept
        self._row = kept.rows[0] if kept.rows and table.mode != "append" else None
        distinct: dict[object, Trace] = {}
        for trace in traces:
            distinct.setdefault((trace.feed.partition("@")[0], round(trace.at, 3), trace.number, trace.raw), trace)
        self.traces = sorted(distinct.values(), key=lambda trace: trace.at)
        self._winner = self._settle()

    @property
    def is_empty(self) -> bool:
        """Whether the key is found nowhere."""
        return not (self.traces or self._kept.rows or self._kept.history or self._kept.deleted_at)

    def conclusion(self) -> str:
        """Say in a sentence or two why the row is what it is."""
        told = self._why()
        others = Counter(trace.outcome for trace in self.traces if trace.outcome in {"waiting", "refused", "stale"})
        more = [f"{number} {_ONE[outcome] if number == 1 else _MANY[outcome]}" for outcome, number in others.items()]
        return f"{told}. {'; '.join(more).capitalize()}." if more and self._row is not None else f"{told}."

    def _settle(self) -> Trace | None:
        """Walk through the records as they came; give the one that made the row what it is."""
        best: Trace | None = None
        for trace in self.traces:
            if not trace.is_loaded:
                continue
            if self._table.mode == "append":
                trace.outcome, trace.because = "added", _and("its row was added", trace.because)
            elif best is not None and self._is_older(trace.row, best.row):
                trace.outcome = "stale"
                trace.because = _and(f"version {self._version(trace.row)} < {self._version(best.row)}", trace.because)
            elif best is not None and not trace.deletes and not best.deletes and self._same(trace.row, best.row):
                trace.outcome, trace.because = "unchanged", _and("the row was already so", trace.because)
            else:
                if best is not None:
                    best.outcome, best.because = "replaced", _and(self._by(trace), best.because)
                best = trace
        return self._judge(best) if best is not None else None

    def _judge(self, best: Trace) -> Trace | None:
        """Compare the last that was written with the row that is there; give it if it made that row."""
        best.outcome = "deleted" if best.deletes else "won"
        why = ""
        if self._row is None:
            if self._table.mode == "update":
                best.outcome, why = "filtered", "there is no such row, and `mode: update` makes none"
            elif not best.deletes:
                best.outcome, why = "replaced", "there is no such row now"
        elif best.deletes:
            best.outcome, why = "replaced", "there is a row again"
        elif self._is_older(best.row, self._row):
            best.outcome = "stale"
            why = f"version {self._version(best.row)} < {self._version(self._row)} of the row"
        elif difference := self._difference(best.row or {}, self._row):
            best.outcome, why = "replaced", f"the row differs: {difference}"
        if why:
            best.because = _and(why, best.because)
            return None
        newest = f"version {self._version(best.row)} is the newest" if self._table.version else "it came last"
        best.because = _and(newest, best.because)
        return best

    def _why(self) -> str:
        if self._table.mode == "append":
            return f"Every record is a row of its own: there are {len(self._kept.rows)}"
        if self._winner is not None and self._row is not None:
            return f"The row is what record {_place(self._winner)} made of it: {self._winner.because}"
        if self._row is not None:
            version = f", of version {self._version(self._row)}," if self._table.version else ""
            return (
                f"The row{version} was made by a record that is not known here: the buffer forgets what is loaded, a "
                "recording (--from) may hold it; or it was changed by hand"
            )
        return f"There is no row: {self._why_none()}"

    def _why_none(self) -> str:
        if self._winner is not None:
            return f"record {_place(self._winner)} deleted it"
        if self._kept.deleted_at is not None:
            return f"a record of version {self._kept.deleted_version} deleted it at {_clock(self._kept.deleted_at)}"
        found = Counter(trace.outcome for trace in self.traces)
        for outcome, told in _NONE.items():
            if found[outcome]:
                latest = next(trace for trace in reversed(self.traces) if trace.outcome == outcome)
                return f"{told}: record {_place(latest)}: {latest.because}"
        return "it is gone, and no record that is known here says why"

    def _is_older(self, mine: Mapping[str, Any] | None, other: Mapping[str, Any] | None) -> bool:
        if self._table.version is None or mine is None or other is None:
            return False
        ours, theirs = mine[self._table.version], other[self._table.version]
        return theirs is not None and (ours is None or ours < theirs)

    def _same(self, mine: Mapping[str, Any] | None, other: Mapping[str, Any] | None) -> bool:
        return mine is not None and other is not None and not self._difference(mine, other)

    def _difference(self, mine: Mapping[str, Any], other: Mapping[str, Any]) -> str:
        return ", ".join(
            f"{name} is another" if is_secret(name) else f"{name} is {_short(other[name])}, not {_short(value)}"
            for name, value in mine.items()
            if name in other and self._plain(name, value) != self._plain(name, other[name])
        )

    def _plain(self, name: str, value: Any) -> Any:
        column = self._table.columns[name]
        if column.type != "json" or not isinstance(value, str):
            return value
        return json.loads(value, parse_float=Decimal)

    def _version(self, row: Mapping[str, Any] | None) -> str:
        return said(row[self._table.version]) if row is not None and self._table.version is not None else ""

    def _by(self, trace: Trace) -> str:
        if trace.deletes:
            return "deleted by a later record"
        return f"by version {self._version(trace.row)}" if self._table.version else "by a later record"


_ONE = {"waiting": "record waits in the buffer", "refused": "record was refused", "stale": "record was older"}
_MANY = {"waiting": "records wait in the buffer", "refused": "records were refused", "stale": "records were older"}
_NONE: dict[Outcome, str] = {
    "waiting": "what came for it is not loaded yet",
    "refused": "what came for it was refused",
    "filtered": "what came for it was left out",
    "replaced": "it was there once",
    "mentioned": "only refused records say something of it",
}


def _and(why: str, more: str) -> str:
    return f"{why}; it {more}" if more else why


def _place(trace: Trace) -> str:
    return f"{trace.number + 1} of {trace.feed} at {_clock(datetime.fromtimestamp(trace.at, UTC))} ({trace.place})"


def _clock(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(sep=" ", timespec="seconds").removesuffix("+00:00")


def _short(value: Any) -> str:
    text = said(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
