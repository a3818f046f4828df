"""The proposal: a table and a map for a sample, with the reasons for each choice."""

from collections.abc import Sequence
from typing import Any

import msgspec

from service.config.paths import Path, dotted, parse_path
from service.config.tables import ColumnType
from service.errors import FormatError
from service.formats import Format
from service.infer.fields import Field, walk
from service.infer.guess import Guess, guess
from service.infer.identity import Candidate, choose_key, choose_version
from service.infer.names import column_name, identifies, snake
from service.infer.reading import read
from service.infer.records import Found
from service.model import Message

_TEXTUAL = {"csv", "xml"}
"""Formats in which every value is text."""
_NAMED = 8
"""Fields that are left out and told by name."""
_LOOSE_KEY = 8
"""Columns of the key where nothing identifies a record."""


class ColumnProposal(msgspec.Struct):
    """One column.

    Attributes:
        name: of the column.
        source: the path, as a map has it.
        type: of the column.
        options: further ones, as config.yaml has them.
        notes: why.
    """

    name: str
    source: str
    type: ColumnType
    options: dict[str, Any]
    notes: list[str]


class Proposal(msgspec.Struct):
    """A table and how records get there.

    Attributes:
        table: its name.
        key: of the table; may be empty where the sample holds no record.
        key_reason: why this key.
        version: of the table, or None.
        version_reason: why this version, or why none.
        columns: in the order of the fields.
        kind: of the format.
        found: where the records are, and which of them are meant.
        total: how many records there are of that kind.
    """

    table: str
    key: tuple[str, ...]
    key_reason: str
    version: str | None
    version_reason: str
    columns: list[ColumnProposal]
    kind: str
    found: Found
    total: int


def propose(messages: Sequence[Message], decoder: Format, name: str) -> Proposal:
    """Propose a table and a map for the records of messages.

    Args:
        messages: at least one.
        decoder: the format that they are in.
        name: of the table, unless the path of the records gives a better one.

    Raises:
        FormatError: no message decodes, or none holds an object or a list.
    """
    found = read(messages, decoder)
    walked = [field for field in walk(found.records) if field.path]
    fields = [field for field in walked if _can_be_written(field.path)]
    found = _less_unwritable(found, [field.path for field in walked if field not in fields])
    if not fields:
        raise FormatError("there is no object or list in it that could be a record")
    kind = str(decoder.model_dump()["kind"])
    guessed = _guessed(fields, textual=kind in _TEXTUAL)
    candidates = [Candidate(name, field.path, each.type, field) for name, field, each in guessed if each.is_faithful]
    version = choose_version(candidates)
    key = choose_key(candidates, found.records, version.columns[0] if version else None)
    for candidate in candidates:
        candidate.field.required |= key is not None and candidate.name in key.columns
    table = next((snake(step) for step in reversed(found.path or ()) if isinstance(step, str)), "")
    proposal = Proposal(
        table=table
        if table not in {"", "data", "items", "results", "records", "rows", "list"}
        else snake(name) or "records",
        key=key.columns if key else (),
        key_reason=key.reason if key else "nothing identifies a record: please choose",
        version=version.columns[0] if version else None,
        version_reason=version.reason
        if version
        else "no field tells which of two records is newer: the last to arrive wins",
        columns=[_column(name, field, each) for name, field, each in guessed],
        kind=kind,
        found=found,
        total=len(found.records),
    )
    return proposal if key else _loose(proposal)


def _guessed(fields: Sequence[Field], *, textual: bool) -> list[tuple[str, Field, Guess]]:
    """Give each field with the name and the type of its column."""
    guessed: list[tuple[str, Field, Guess]] = []
    taken: set[str] = set()
    for field in fields:
        name = column_name(field.path, taken)
        taken.add(name)
        # An identifier that hardly ever lacks is one; the provider's rare slip is for the quarantine.
        field.required = identifies(name) < 2 and field.hardly_lacks
        guessed.append((name, field, guess(name, field, textual=textual)))
    return guessed


def _column(name: str, field: Field, found: Guess) -> ColumnProposal:
    options, notes = dict(found.options), [found.note] if found.note else []
    missing = field.records - field.present
    if field.required and missing:
        notes.append(f"missing in {missing} of {field.records}, which will be refused")
    if field.optional:
        options["null"] = True
        if field.present:
            notes.append(f"null in {missing} of {field.records}")
    return ColumnProposal(name, _source(field.path), found.type, options, notes)


def _can_be_written(path: Path) -> bool:
    """Whether a map can lead to the field: a name with a double quote or NUL in it has no way to be written."""
    try:
        return parse_path(_source(path)) in {path, ("$record", *path)}
    except ValueError:
        return False


def _less_unwritable(found: Found, paths: Sequence[Path]) -> Found:
    """Note the fields that are not in the proposal."""
    if not paths:
        return found
    names = ", ".join(".".join(map(str, path)) for path in paths[:_NAMED]) + (", …" if len(paths) > _NAMED else "")
    note = f"left out, for no path can be written to a name with a double quote or a NUL character: {names}"
    return msgspec.structs.replace(found, notes=(*found.notes, note))


def _source(path: Path) -> str:
    """Write a path for a map; a first name that begins with ``$`` would be the envelope's."""
    text = dotted(path)
    return f"$record.{text}" if text.startswith("$") else text


def _loose(proposal: Proposal) -> Proposal:
    """Take all columns that are never null for the key, or the time of receipt where there is none."""
    fixed = [
        column.name
        for column in proposal.columns
        if not column.options.get("null") and column.type not in {"json", "float", "boolean"}
    ]
    if not fixed:
        proposal.columns.append(ColumnProposal("received_at", "$received_at", "timestamp", {}, ["when it arrived"]))
        fixed = ["received_at"]
    proposal.key = tuple(fixed[:_LOOSE_KEY])
    proposal.key_reason = "nothing identifies a record: all that is never null; please choose"
    return proposal
