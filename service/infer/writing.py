"""A proposal as YAML to paste into config.yaml, its reasons beside it as comments."""

import re
from collections.abc import Iterator, Mapping
from textwrap import wrap
from typing import Any

import msgspec

from service.config.paths import dotted
from service.infer.proposal import ColumnProposal, Proposal

_PLAIN = re.compile(r"[A-Za-z_./][\w./@+-]*(?: [\w./@+-]+)*|\d+(?:ms|s|m|h|d)")
_WORDS = {"null", "true", "false", "yes", "no", "on", "off", "y", "n"}
_WIDTH = 100


class Feed(msgspec.Struct, frozen=True):
    """The feed that a proposal is for.

    Attributes:
        provider: its provider's name.
        name: its own.
        provider_settings: further keys of the provider, as config.yaml has them.
        settings: further keys of the feed.
        notes: what to know about them.
    """

    provider: str
    name: str
    provider_settings: Mapping[str, Any] = {}
    settings: Mapping[str, Any] = {}
    notes: tuple[str, ...] = ()


def write(proposal: Proposal, feed: Feed) -> str:
    """Write a proposal."""
    return "\n".join([*_table(proposal), "", *_feed(proposal, feed), ""])


def scalar(value: Any) -> str:
    """Write a value so that YAML reads it back as it is."""
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
        return value
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {scalar(item)}' for key, item in value.items())}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(scalar, value))}]"
    return msgspec.json.encode(value).decode()


def _table(proposal: Proposal) -> Iterator[str]:
    yield "tables:"
    yield f"  {scalar(proposal.table)}:"
    yield from _comment(f"key: {proposal.key_reason}", 4)
    yield f"    key: {scalar(list(proposal.key))}"
    if proposal.version is None:
        yield from _comment(f"version: {proposal.version_reason}", 4)
    else:
        yield from _comment(f"version: {proposal.version_reason}", 4)
        yield f"    version: {scalar(proposal.version)}"
    yield "    columns:"
    lines = [
        (f"      {scalar(column.name)}: {_column(column)}", "; ".join(column.notes)) for column in proposal.columns
    ]
    for line, note in lines:
        if note and len(line) + len(note) + 4 > _WIDTH:
            yield from _comment(note, 6)
        yield f"{line}  # {note}" if note and len(line) + len(note) + 4 <= _WIDTH else line


def _column(column: ColumnProposal) -> str:
    return scalar({"type": column.type, **column.options}) if column.options else column.type


def _feed(proposal: Proposal, feed: Feed) -> Iterator[str]:
    found = proposal.found
    yield "providers:"
    yield f"  {scalar(feed.provider)}:"
    for key, value in feed.provider_settings.items():
        yield f"    {key}: {scalar(value)}"
    yield "    feeds:"
    yield f"      {scalar(feed.name)}:"
    for note in (*feed.notes, *found.notes):
        yield from _comment(note, 8)
    for key, value in feed.settings.items():
        yield f"        {key}: {scalar(value)}"
    if found.single:
        yield f"        format: {scalar({'kind': 'json', 'single': True})}"
    elif proposal.kind != "json":
        yield f"        format: {proposal.kind}"
    if found.path is not None:
        yield f"        records: {scalar(dotted(found.path))}"
    if found.where is not None:
        yield f"        where: {scalar(found.where)}"
    yield f"        into: {scalar(proposal.table)}"
    yield "        map:"
    for column in proposal.columns:
        yield f"          {scalar(column.name)}: {scalar(column.source)}"


def _comment(text: str, indent: int) -> list[str]:
    clean = "".join(character if character.isprintable() else " " for character in text)
    return [f"{' ' * indent}# {line}" for line in wrap(clean, _WIDTH - indent - 2)]
