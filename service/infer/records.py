"""Where the records lie in messages, and which of several kinds of record the sample is about."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from service.config.paths import Path, dotted
from service.lookup import lookup

_IDENTIFIER = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_TALK = re.compile(r"(\w+:)?(un)?subscri|heart_?beat$|[a-z]*status$|[pP][io]ng$|welcome$|hello$|connected$|ack$|info$")
"""Words by which providers say that they speak of the connection, not of their data."""
_encode = msgspec.json.Encoder(decimal_format="number").encode
_DEEP = 5
_KINDS = 20
"""Distinct values above which a field does not tell kinds of record apart."""
_ALIKE = 0.6
"""Part of their fields that two kinds share at most, if they are kinds."""


class Found(msgspec.Struct, frozen=True):
    """The records of a sample.

    Attributes:
        path: where the list of them lies in each message; None for the message itself.
        single: each message is one record, although it is a list.
        records: of the kind that the proposal is for.
        where: the condition that only those meet; None where there is one kind only.
        notes: why, in sentences.
    """

    path: Path | None
    single: bool
    records: list[Any]
    where: str | None = None
    notes: tuple[str, ...] = ()


def find(documents: Sequence[Any]) -> Found:
    """Find the records of decoded messages."""
    if any(isinstance(document, list) and not _are_objects(document) for document in documents):
        return _choose(None, True, list(documents))
    path, others = _list_path(documents)
    if path is not None:
        notes = (f"records: {dotted(path)} is the longest list of objects in the message",) if others else ()
        records = [record for document in documents for record in lookup(document, path)]
        return _choose(path, False, records, notes)
    return _choose(
        None, False, [record for each in documents for record in (each if isinstance(each, list) else [each])]
    )


def _are_objects(items: list[Any]) -> bool:
    return all(isinstance(item, dict) for item in items)


def _list_path(documents: Sequence[Any]) -> tuple[Path | None, bool]:
    """Give the path of the longest list of objects that is in every message, and whether there are others.

    Of many messages only a list without rivals is taken: a message with two lists is rather a record itself.
    """
    lengths: Counter[Path] = Counter()
    seen: Counter[Path] = Counter()
    for document in documents:
        for path, length in _lists(document, ()):
            lengths[path] += length
            seen[path] += 1
    everywhere = [path for path in lengths if seen[path] == len(documents)]
    if not everywhere or (len(documents) > 1 and len(lengths) > 1):
        return None, False
    longest = max(everywhere, key=lambda path: lengths[path])
    return (longest, len(lengths) > 1) if lengths[longest] > 1 or len(documents) > 1 else (None, False)


def _lists(value: Any, path: Path) -> Iterator[tuple[Path, int]]:
    if isinstance(value, dict) and len(path) < _DEEP:
        for key, item in value.items():
            if isinstance(item, list) and item and _are_objects(item):
                yield (*path, key), len(item)
            else:
                yield from _lists(item, (*path, key))


def _choose(path: Path | None, single: bool, records: list[Any], notes: tuple[str, ...] = ()) -> Found:  # noqa: FBT001
    """Choose the kind of record that carries most: heartbeats may be many, but say little."""
    lists = [record for record in records if isinstance(record, list)]
    objects = [record for record in records if isinstance(record, dict)]
    if _weight(lists) > _weight(objects):
        return _by_shape(path, single, lists, records, notes)
    if len(objects) < len(records):
        notes += (f"{len(records) - len(objects)} of {len(records)} records are no objects and will be refused",)
    if (field := _discriminator(objects)) is None:
        return Found(path, single, objects, None, notes)
    kinds = Counter(record[field] for record in objects)
    weights: Counter[str] = Counter()
    for record in objects:
        weights[record[field]] += _weight([record])
    (chosen, _), *others = weights.most_common()
    name = field if _IDENTIFIER.fullmatch(field) else f"record[{_quoted(field)}]"
    told = ", ".join(f"{value} ({kinds[value]})" for value, _ in others)
    notes += (f"{field} tells kinds of record apart; this is for {chosen} ({kinds[chosen]}), not for {told}",)
    members = [record for record in objects if record.get(field) == chosen]
    return Found(path, single, members, f"{name} == {_quoted(str(chosen))}", notes)


def _by_shape(
    path: Path | None,
    single: bool,  # noqa: FBT001  handed on
    lists: list[list[Any]],
    records: list[Any],
    notes: tuple[str, ...],
) -> Found:
    """Take the lists of one length and types of items: those that carry most."""
    shapes: Counter[tuple[str, ...]] = Counter()
    for record in lists:
        shapes[tuple(map(_cel_type, record))] += _weight([record])
    ((shape, _),) = shapes.most_common(1)
    members = [record for record in lists if tuple(map(_cel_type, record)) == shape]
    if len(members) == len(records):
        return Found(path, single, members, None, notes)
    tests = [
        f"type(record[{index}]) == {kind}" for index, kind in enumerate(shape) if kind in {"string", "list", "map"}
    ]
    where = " && ".join(["type(record) == list", f"size(record) == {len(shape)}", *tests])
    notes += (f"records differ in shape; this is for {len(members)} of {len(records)}, lists of {len(shape)} items",)
    return Found(path, single, members, where, notes)


def _cel_type(value: Any) -> str:
    return {str: "string", list: "list", dict: "map", type(None): "null"}.get(type(value), "number")


def _discriminator(records: Sequence[dict[str, Any]]) -> str | None:
    """Find a field whose few values go with different sets of other fields."""
    for field in records[0] if records else ():
        members: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for record in records:
            value = record.get(field)
            if isinstance(value, str):
                members[value].append(record)
        told = sum(map(len, members.values()))
        if (
            told == len(records)
            and 1 < len(members) <= min(_KINDS, told / 2)
            and _differ([_fields(kind) for kind in members.values()])
        ):
            return field
    return None


def _fields(records: list[dict[str, Any]]) -> set[str]:
    """Give the fields, and those of objects in them, that nearly all of the records have."""
    seen: Counter[str] = Counter()
    for record in records:
        seen.update(record.keys())
        seen.update(f"{key}.{inner}" for key, value in record.items() if isinstance(value, dict) for inner in value)
    return {name for name, number in seen.items() if number >= 0.9 * len(records)}


def _differ(kinds: list[set[str]]) -> bool:
    first, *others = kinds
    return any(len(first & other) < _ALIKE * len(first | other) for other in others)


def _weight(records: Sequence[Any]) -> int:
    """Give the bytes of records; talk about the connection itself weighs nothing."""
    return sum(len(_encode(record)) for record in records if not _is_talk(record))


def _is_talk(record: Any) -> bool:
    words = [value for value in record.values() if isinstance(value, str)] if isinstance(record, dict) else []
    return any(_TALK.match(word) for word in words)


def _quoted(text: str) -> str:
    """Write a text for CEL; single quotes are the ones that need no escape within YAML."""
    return f"'{text}'" if text.isprintable() and not set(text) & set("'\\") else msgspec.json.encode(text).decode()
