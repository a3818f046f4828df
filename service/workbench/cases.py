"""Cases: recorded input and the rows that a configuration must make of it, run offline."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from pydantic import Field, ValidationError, model_validator

from service.config.connectors import Settings
from service.config.document import parse
from service.config.report import Report
from service.config.settings import Config
from service.config.tables import Column
from service.config.wording import report_errors
from service.errors import ConfigError, Problem
from service.model import Message
from service.transform.checks import plain
from service.transform.kinds import KINDS
from service.transform.transform import Transform
from service.transform.violations import Violation
from service.workbench.outline import said
from service.workbench.sample import from_file
from service.workbench.trial import Trial, trials

RECEIVED_AT = 1767225600.0
"""When the messages of cases arrive: 2026-01-01T00:00:00Z, so that ``$received_at`` is the same every time."""

_TABLE = "$table"
_OUTCOMES = ("loads", "deletes", "refused", "filtered")


class Refused(Settings):
    """A refusal that is expected."""

    reason: str
    """The reason, or its beginning: `home_score` or `home_score: max`."""
    detail: str = ""
    """What the detail must contain."""


class Case(Settings):
    """Input for a feed, and what must become of it."""

    name: str = ""
    """What the case shows."""
    feed: str
    """The feed, as provider.feed."""
    input: Any = None
    """A message: text as it arrives, or a mapping or list that is sent as JSON."""
    file: Path | None = None
    """Recorded bytes, instead of `input`; relative to the file of cases."""
    params: dict[str, str] = Field(default={})
    """The parameters of the request, for `$params`."""
    rows: tuple[dict[str, Any], ...] = ()
    """The rows, in order; columns that are not named may hold anything. Of a delta only columns that it carries have a
    value. `$table` names the table of a row, for a feed with `routes`."""
    deleted: tuple[dict[str, Any], ...] = ()
    """The rows that are deleted, in order: their key and version."""
    refused: tuple[Refused, ...] = ()
    """The refusals, in order."""
    filtered: int = Field(default=0, ge=0)
    """How many records are left out."""

    @model_validator(mode="after")
    def _one_input(self) -> "Case":
        if (self.file is None) == ("input" not in self.model_fields_set):
            raise ValueError("a case needs either `input` or `file`")
        return self


class Cases(Settings):
    """A file of cases."""

    cases: tuple[Case, ...] = Field(min_length=1)
    """The cases."""


class Difference(msgspec.Struct, frozen=True):
    """One thing that is not as expected.

    Attributes:
        where: ``row 1, home``, ``refusal 2``, ``rows``.
        expected: as text.
        found: as text.
    """

    where: str
    expected: str
    found: str


def read_cases(path: Path) -> tuple[Case, ...]:
    """Read a file of cases.

    Raises:
        ConfigError: with every problem, each with its line.
    """
    try:
        document = parse(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(
            [Problem("unreadable-file", "", f"cannot read the cases: {reason}", file=str(path))]
        ) from None
    report = Report(str(path), document)
    found = None
    try:
        found = Cases.model_validate(document.data)
    except ValidationError as error:
        report_errors(error.errors(include_url=False), document.data, report, Cases)
    if found is None or report.problems():
        raise ConfigError(report.problems())
    return found.cases


def run(case: Case, config: Config, transform: Transform, folder: Path) -> list[Difference]:
    """Run a case; give what is not as expected.

    Args:
        case: whose feed is the transform's.
        config: that the transform was made of.
        transform: of the feed.
        folder: of the file of cases.

    Raises:
        OSError: the case's file cannot be read.
    """
    tried = list(trials(transform, _messages(case, transform, folder)))
    by = {outcome: [trial for trial in tried if trial.outcome == outcome] for outcome in _OUTCOMES}
    refused = by["refused"]
    differences = []
    for what, outcome, rows in (("row", "loads", case.rows), ("deleted", "deletes", case.deleted)):
        differences += _counted(f"{what}s" if what == "row" else what, len(rows), len(by[outcome]), refused)
        for number, (wanted, trial) in enumerate(zip(rows, by[outcome], strict=False), 1):
            columns = config.tables[str(trial.verdict.table)].columns
            differences += _of_row(f"{what} {number}", wanted, trial, columns)
    differences += _counted("refused", len(case.refused), len(refused), refused)
    for number, (expected, trial) in enumerate(zip(case.refused, refused, strict=False), 1):
        differences += _of_refusal(f"refusal {number}", expected, trial)
    return differences + _counted("filtered", case.filtered, len(by["filtered"]), [])


def _messages(case: Case, transform: Transform, folder: Path) -> Sequence[Message]:
    if case.file is not None:
        return [
            msgspec.structs.replace(message, received_at=RECEIVED_AT, meta=_meta(case, message.meta or {}))
            for message in from_file(folder / case.file, transform)
        ]
    body = case.input.encode() if isinstance(case.input, str) else msgspec.json.encode(case.input)
    return [Message(body, RECEIVED_AT, None, _meta(case, {}))]


def _meta(case: Case, recorded: Mapping[str, Any]) -> dict[str, Any]:
    """Give what a message is decoded and mapped with; parameters of the case stand in for those of a recording."""
    return {**recorded, "params": case.params or recorded.get("params", {})}


def _counted(what: str, expected: int, found: int, refused: Sequence[Trial]) -> list[Difference]:
    if expected == found:
        return []
    why = "".join(f"; {trial.verdict.detail}" for trial in refused[:3])
    return [Difference(what, str(expected), f"{found}{why}")]


def _of_row(where: str, wanted: Mapping[str, Any], trial: Trial, columns: Mapping[str, Column]) -> list[Difference]:
    found = dict(zip(columns, trial.verdict.row or (), strict=True))
    differences = []
    for name, value in wanted.items():
        if name == _TABLE:
            if value != trial.verdict.table:
                differences.append(Difference(f"{where}, {name}", said(value), said(trial.verdict.table)))
            continue
        if name not in columns:
            differences.append(
                Difference(f"{where}, {name}", said(value), f"no such column; there are {', '.join(columns)}")
            )
            continue
        if trial.verdict.carried is not None and name not in trial.verdict.carried:
            differences.append(Difference(f"{where}, {name}", said(value), "not carried by the record"))
            continue
        try:
            expected = _stored(columns[name], value)
        except Violation as violation:
            differences.append(Difference(f"{where}, {name}", f"{value!r}, which {violation.said}", said(found[name])))
            continue
        if not _same(columns[name], expected, found[name]):
            differences.append(Difference(f"{where}, {name}", said(expected), said(found[name])))
    return differences


def _stored(column: Column, value: Any) -> Any:
    """Give an expected value as the column stores it."""
    if value is None:
        return None
    convert = KINDS[column.type].convert(plain(column))
    if column.list and isinstance(value, list):
        return [convert(item) for item in value]
    return convert(value)


def _same(column: Column, expected: Any, found: Any) -> bool:
    if column.type == "json" and not column.list and isinstance(expected, str) and isinstance(found, str):
        return bool(msgspec.json.decode(expected) == msgspec.json.decode(found))
    return bool(expected == found)


def _of_refusal(where: str, expected: Refused, trial: Trial) -> list[Difference]:
    verdict = trial.verdict
    if not verdict.reason.startswith(expected.reason):
        return [Difference(f"{where}, reason", expected.reason, f"{verdict.reason}: {verdict.detail}")]
    if expected.detail not in verdict.detail:
        return [Difference(f"{where}, detail", f"…{expected.detail}…", verdict.detail)]
    return []
