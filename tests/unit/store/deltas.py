"""What tests of partial feeds share: records with some of their columns, and the table that they must make."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from service.model import Counts, Refusal, Row
from service.store.write import Patience
from tests.store_feed import Feed

COLUMNS: dict[str, Any] = {
    "id": "text",
    "version": {"type": "integer", "null": True},
    "a": {"type": "integer", "null": True},
    "b": {"type": "integer", "null": True},
    "c": "integer",  # without it there is no new row
    "d": {"type": "integer", "default": 7},
}
DATA = ("a", "b", "c", "d")


class Record(NamedTuple):
    """A record that carries some columns; ``gone``: it deletes its row."""

    key: str
    version: int | None
    carried: Mapping[str, int | None]
    gone: bool = False

    def row(self, *, deletable: bool = False) -> Row:
        """Give what the transform makes of it."""
        values = [self.carried.get(name, 7 if name == "d" else None) for name in DATA]
        if self.gone:
            return (self.key, self.version, None, None, None, None, True)
        flags = (False,) if deletable else ()
        bits = 0b11 + sum(4 << n for n, name in enumerate(DATA) if name in self.carried)
        delta = () if set(DATA) <= set(self.carried) else (bits,)
        return (self.key, self.version, *values, *flags, *delta)


def rank(version: int | None) -> int:
    return -1 if version is None else version


class Sequential:
    """One table as the documentation has it, record after record."""

    def __init__(self, *, versioned: bool = True) -> None:
        self._versioned = versioned
        self.rows: dict[str, dict[str, tuple[int, int | None]]] = {}
        self.versions: dict[str, int | None] = {}
        self.tombs: dict[str, int] = {}
        self.waiting: list[Record] = []

    def load(self, records: Iterable[Record]) -> "Sequential":
        for record in records:
            (self._delete if record.gone else self._write)(record)
        return self

    def table(self) -> list[Row]:
        return sorted(
            (key, self.versions[key], *(columns[name][1] for name in DATA)) for key, columns in self.rows.items()
        )

    def _rank(self, record: Record) -> int:
        return rank(record.version) if self._versioned else 0

    def _delete(self, record: Record) -> None:
        key = record.key
        if self._versioned and record.version is not None:
            self.tombs[key] = max(record.version, self.tombs.get(key, -1))
        if key in self.rows and (not self._versioned or rank(record.version) >= rank(self.versions[key])):
            del self.rows[key]

    def _write(self, record: Record) -> None:
        key = record.key
        if self._rank(record) < self.tombs.get(key, -1):
            return
        if key in self.rows:
            self._put(record)
            return
        rivals = [each for each in self.waiting if each.key == key and self._rank(each) >= self.tombs.get(key, -1)]
        rivals.append(record)
        self.waiting = [each for each in self.waiting if each.key != key]
        if any("c" in each.carried for each in rivals):
            self.rows[key] = {name: (-2, 7 if name == "d" else None) for name in DATA}
            self.versions[key] = None
            for each in rivals:
                self._put(each)
        else:
            self.waiting += rivals

    def _put(self, record: Record) -> None:
        columns = self.rows[record.key]
        for name, value in record.carried.items():
            if self._rank(record) >= columns[name][0]:
                columns[name] = (self._rank(record), value)
        if not self._versioned or rank(record.version) >= rank(self.versions[record.key]):
            self.versions[record.key] = record.version


def newest(records: Sequence[Record], *, versioned: bool) -> list[Row]:
    """Give the table as the law says, whatever the order: of each column the newest value that was carried."""
    found = []
    for key in sorted({record.key for record in records}):
        mine = [record for record in records if record.key == key]
        mine.sort(key=lambda record: rank(record.version) if versioned else 0)  # stable: later arrivals stay later
        if not any("c" in record.carried for record in mine):
            continue
        values = {"d": 7} | {name: value for record in mine for name, value in record.carried.items()}
        found.append((key, mine[-1].version, *(values.get(name) for name in DATA)))
    return found


class Deltas(Feed):
    """A feed whose deltas wait for their rows, an hour unless it is said otherwise."""

    seconds = 3600.0

    def write(self, rows: dict[str, Sequence[Row]], refusals: Sequence[Refusal] = ()) -> Any:
        def refusal(table: str, row: int, reason: str, detail: str) -> Refusal:
            return Refusal(self._name, table, reason, detail, b"record %d" % row, b"message", 1.0, row)

        patience = Patience(self._name, self.seconds, refusal)
        return msgspec.structs.replace(super().write(rows, refusals), patience=patience)

    async def settle(self) -> Counts:
        """Do what the daemon does every while."""
        self.at, counts, _ = await self._store.settle(self._name)
        return counts
