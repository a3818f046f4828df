"""Spans of time: how a range is cut into steps, and written as a provider wants it."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from service.config.connectors import Settings

_UNITS = {"epoch_s": 1, "epoch_ms": 1000}


class Range(Settings):
    """The parameters that ask for a span of time; `headrace backfill --since --until` uses them."""

    since: str
    """The parameter for the beginning."""
    until: str | None = None
    """The parameter for the end, where the provider has one; a long range can then be asked for step by step."""
    format: str = "iso"
    """How moments are written: `iso` (2026-01-31T00:00:00Z), `date` (2026-01-31), `epoch_s`, `epoch_ms`, or a pattern
    of strftime. They are in UTC."""

    def params(self, since: datetime, until: datetime) -> dict[str, str | int]:
        """Give the parameters of a span."""
        params = {self.since: self._written(since)}
        if self.until is not None:
            params[self.until] = self._written(until)
        return params

    def _written(self, moment: datetime) -> str | int:
        match self.format:
            case "iso":
                return moment.isoformat().replace("+00:00", "Z")
            case "date":
                return moment.date().isoformat()
            case "epoch_s" | "epoch_ms":
                return int(moment.timestamp() * _UNITS[self.format])
            case pattern:
                return moment.strftime(pattern)


def read_moment(text: str) -> datetime:
    """Read a date or an ISO 8601 moment; without a zone it is in UTC.

    Raises:
        ValueError: it is neither.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r:.60} is no moment; write 2026-01-31 or 2026-01-31T18:30:00Z") from None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def steps(since: datetime, until: datetime, seconds: float | None) -> Iterator[tuple[datetime, datetime]]:
    """Cut a span into steps of some seconds, the last one maybe shorter; without a length it is one step."""
    while since < until:
        end = until if seconds is None else min(since + timedelta(seconds=seconds), until)
        yield since, end
        since = end
