"""How far an incremental feed has come: which of two values is newer, and what lies a while before one."""

import re
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, TypeAlias

from service.config.connectors import Settings
from service.config.units import Duration
from service.lookup import DottedPath

Mark: TypeAlias = str | int
"""A value that orders changes, in the provider's own form: a number, an ISO 8601 moment, or other text."""

_NUMBER = re.compile(r"-?[0-9]{1,30}(\.[0-9]{1,30})?")
_EPOCH_UNITS = ((10**17, 10**9), (10**14, 10**6), (10**11, 10**3), (0, 1))
"""From which size on a number counts how many units a second: nano-, micro-, milliseconds, seconds."""


class Incremental(Settings):
    """Asks only for what changed since the newest record that was received."""

    field: DottedPath
    """Dotted path, within a record, to what orders changes: a timestamp or a number."""
    param: str
    """The parameter that carries the newest value."""
    start: str | int | None = None
    """The value of the first poll; without it, the first poll asks for everything."""
    lookback: Duration = 0.0
    """How far to reach back before the newest value, for changes that the provider publishes late."""

    def params(self, cursor: Mark | None) -> dict[str, Mark]:
        """Give the parameter that asks for what lies behind the cursor; there is none where everything is asked for."""
        since = self.start if cursor is None else reach_back(cursor, self.lookback)
        return {} if since is None else {self.param: since}


def newest(values: Iterable[Any]) -> Mark | None:
    """Give the newest of some values; None when there is none. What is neither text nor number is passed over.

    So is what is of another kind than most are (of as many, than the first is): one ``n/a`` among moments must not
    become the cursor, behind which there would never be anything.
    """
    marks = [(*_order(mark), mark) for value in values if (mark := _mark(value)) is not None]
    if not marks:
        return None
    ((usual, _),) = Counter(kind for kind, _, _ in marks).most_common(1)
    return max((mark for mark in marks if mark[0] == usual), key=lambda mark: mark[1])[2]


def reach_back(mark: Mark, seconds: float) -> Mark:
    """Give the mark of a moment that lies some seconds earlier, written in the same form.

    A number is taken for an epoch in s, ms, us or ns, by its size. Text that is no moment stays as it is.
    """
    if not seconds:
        return mark
    if _NUMBER.fullmatch(str(mark)):
        number = Decimal(str(mark))
        unit = next(unit for size, unit in _EPOCH_UNITS if abs(number) >= size)
        earlier = number - int(seconds * unit)
        return int(earlier) if isinstance(mark, int) else f"{earlier:f}"
    try:
        moment = datetime.fromisoformat(str(mark)) - timedelta(seconds=seconds)
    except (ValueError, OverflowError):
        return mark
    return _like(str(mark), moment)


def _mark(value: Any) -> Mark | None:
    if isinstance(value, Decimal):
        return str(value)
    return value if isinstance(value, str | int) and not isinstance(value, bool) and value != "" else None


def _order(mark: Mark) -> tuple[str, Any]:
    """Give the kind of a value, and what it is compared by with others of its kind."""
    text = str(mark)
    if _NUMBER.fullmatch(text):
        return "number", Decimal(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return "text", text
    # A provider that writes no zone writes the same one everywhere: which, does not matter to the order.
    return "moment", moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _like(example: str, moment: datetime) -> str:
    """Write a moment as the example is written: its separator, its fraction of a second, its Z."""
    if len(example) == len("2026-01-01"):
        return moment.date().isoformat()
    fraction = re.search(r"[.,](\d+)", example)
    precision = "seconds" if fraction is None else "milliseconds" if len(fraction[1]) <= 3 else "microseconds"
    text = moment.isoformat(example[10], precision)
    return text.replace("+00:00", "Z") if example.endswith("Z") else text
