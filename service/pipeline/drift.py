"""Drift: what changed in a feed's records since the daemon started: fields that vanish, change type or are new."""

import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
import structlog

from service.config.paths import Path, dotted
from service.transform.custom import Applied, Failure
from service.transform.transform import Piece
from service.transform.violations import kind_of, shown

log = structlog.get_logger()

LEARN = 100
"""Records that say what is usual; of later ones drift is told."""
SAMPLE_EVERY = 1.0
"""Seconds for which ``SAMPLE`` holds, so that watching costs next to nothing at any rate."""
SAMPLE = 10
"""Records that are looked at, of one message or of several; the first ``LEARN`` are, however fast they come."""
SAMPLE_BYTES = 8 << 10
"""Bytes of a message that count as a record: it is decoded whole, however few it has."""
MAX_FIELDS = 1000
"""Fields that are remembered; of a feed whose objects have more keys than that, new ones are no news."""
MAX_FINDINGS = 100
MAX_NAME = 200
"""Characters of a field's path that are shown; where all fields are watched, one with a longer path is not."""
_DEPTH = 4
_PATIENCE = 5
"""How many times longer than ever before an optional field must be away until it counts as gone."""


class Finding(msgspec.Struct):
    """One kind of drift of one field.

    Attributes:
        field: its path.
        what: ``gone``, ``type`` or ``new``.
        said: a phrase for people.
        first_seen: ISO 8601, when it was noticed.
        count: records in which it was seen, of those looked at.
        sample: a value, shortened.
    """

    field: str
    what: str
    said: str
    first_seen: str
    count: int
    sample: str


class _Watched(msgspec.Struct):
    """What is known of a field that matters: its kinds, and for how many records it stays away at most."""

    kinds: set[str]
    away: int = 0
    longest: int = 0
    always: bool = True


class Drift:
    """Watches the records of one feed. What is usual is learned afresh whenever the daemon starts.

    Args:
        feed: ``provider.feed``.
        paths: of the fields that rows are made of; none: all fields that are seen at first.
        is_strict: whether every record is looked at, and one that drifts goes to quarantine. Then a field is missed
            that every record had at first; else one that stays away far longer than it ever did.
        is_sparse: whether any field may be absent, as in deltas: none is ever missed.
        clock: gives seconds.
    """

    def __init__(
        self,
        feed: str,
        paths: Sequence[Path],
        *,
        is_strict: bool,
        is_sparse: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.is_strict = is_strict
        self._is_sparse = is_sparse
        self.findings: dict[tuple[str, str], Finding] = {}
        self._feed = feed
        self._clock = clock
        self._next = 0.0
        self._left = LEARN
        self._looked_at = 0
        self._fields: set[int] = set()  # hashes: however long their names are
        self._watched = {path: _Watched(set()) for path in dict.fromkeys(paths)}
        self._watch_all = not self._watched

    def is_due(self) -> bool:
        """Say whether there is time to look at a message."""
        now = self._clock()
        if now >= self._next:
            self._next = now + SAMPLE_EVERY
            self._left = max(self._left, SAMPLE)
        return self._left > 0 and not self.is_strict

    def sample(self, records: Sequence[Any], size: int = 0) -> None:
        """Look at some of the records, spread over the message of ``size`` bytes that was decoded whole."""
        chosen = records[:: max(1, len(records) // self._left)][: self._left]
        self._left -= max(1, len(chosen), size // SAMPLE_BYTES)
        for record in chosen:
            self.look(record)

    def apply(self, pieces: list[Piece]) -> Applied:
        """Take the records that drift out of pieces."""
        applied = Applied([])
        for piece in pieces:
            kept: list[int] = []
            for at, record in enumerate(piece.records):
                if not (said := self.look(record)):
                    kept.append(at)
                    continue
                detail = f"{'. '.join(said)}; correct the map or the provider, or restart to take it for usual"
                applied.failures.append(Failure(piece.message, piece.start + at, "drift: field changed", detail))
            records = [piece.records[at] for at in kept]
            numbers = [piece.start + at for at in kept]
            applied.pieces.append(msgspec.structs.replace(piece, records=records, numbers=numbers))
        return applied

    def look(self, record: Any) -> list[str]:
        """Look at a record that was decoded whole; say how the fields that matter drifted in it."""
        if not isinstance(record, dict):
            return []
        is_usual = self._looked_at < LEARN
        self._looked_at += 1
        self._look_for_new(record, is_usual=is_usual)
        said = []
        for path, watched in self._watched.items():
            value = _at(record, path)
            drift = self._absent(path, watched, is_usual=is_usual) if value is None else None
            if value is not None:
                drift = self._present(path, watched, value, is_usual=is_usual)
            said += [drift] if drift is not None else []
        return said

    def status(self) -> list[dict[str, Any]]:
        """Give what was found, in the words of ``/status``."""
        return [msgspec.structs.asdict(finding) for finding in self.findings.values()]

    def _look_for_new(self, record: dict[str, Any], *, is_usual: bool) -> None:
        for path, value in _fields(record, ()):
            if (number := hash(path)) in self._fields:
                if (known := self.findings.get((_name(path), "new"))) is not None:
                    known.count += 1
            elif len(self._fields) < MAX_FIELDS:
                self._fields.add(number)
                if is_usual and self._watch_all and value is not None and len(dotted(path)) <= MAX_NAME:
                    self._watched[path] = _Watched(set(), longest=self._looked_at - 1, always=self._looked_at == 1)
                elif not is_usual:
                    self._note(path, "new", "is new", value)

    def _present(self, path: Path, watched: _Watched, value: Any, *, is_usual: bool) -> str | None:
        watched.longest, watched.away = max(watched.longest, watched.away), 0
        kind = kind_of(value)
        if is_usual or not watched.kinds:
            watched.kinds.add(kind)
        if kind in watched.kinds:
            return None
        return self._note(path, "type", f"is {kind}, which was {' or '.join(sorted(watched.kinds))} before", value)

    def _absent(self, path: Path, watched: _Watched, *, is_usual: bool) -> str | None:
        watched.away += 1
        if self._is_sparse:
            return None
        if is_usual or not watched.kinds:
            watched.always = False
            return None
        if self.is_strict:
            return (
                self._note(path, "gone", "is missing, which every record had before", None) if watched.always else None
            )
        if watched.away <= _PATIENCE * max(watched.longest, SAMPLE):
            return None
        return self._note(path, "gone", f"is missing from {watched.away} records in a row", None)

    def _note(self, path: Path, what: str, said: str, value: Any) -> str:
        field = _name(path)
        found = self.findings.get((field, what))
        if found is not None:
            found.count += 1
            found.said = said
        elif len(self.findings) < MAX_FINDINGS:
            now = datetime.now(UTC).isoformat(timespec="seconds")
            self.findings[field, what] = Finding(field, what, said, now, 1, shown(value, dotted(path)))
            log.warning("records changed", feed=self._feed, field=field, what=what, said=f"{field} {said}")
        return f"{field} {said}"


def _name(path: Path) -> str:
    name = dotted(path)
    return name if len(name) <= MAX_NAME else f"{name[:MAX_NAME]}…"


def _fields(value: dict[str, Any], at: Path) -> Iterator[tuple[Path, Any]]:
    """Give the fields of an object and of the objects in it, not those of lists."""
    for key, item in value.items():
        path = (*at, key)
        yield path, item
        if isinstance(item, dict) and len(path) < _DEPTH:
            yield from _fields(item, path)


def _at(record: Any, path: Path) -> Any:
    value = record
    for step in path:
        if isinstance(step, str):
            value = value.get(step) if isinstance(value, dict) else None
        else:
            value = value[step] if isinstance(value, list) and len(value) > step else None
    return value
