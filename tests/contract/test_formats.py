"""What every format promises: whole or cut, in whatever chunks it comes, a body gives the same records."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from service.config.connectors import discover
from service.errors import FormatError
from service.formats import Broken, Format
from service.model import Message

NAMES = ("id", "text", "more")
CHARACTERS = st.characters(exclude_categories=("Cs", "Cc", "Cn", "Co"))
TEXTS = st.text(CHARACTERS | st.sampled_from('",;\n\r\t{}[]<>&\\é€😀'), max_size=12).map(lambda text: f"x{text}x")
ROWS = st.lists(st.tuples(TEXTS, TEXTS, TEXTS), max_size=12)
CUTS = st.lists(st.integers(1, 60), max_size=40)


@dataclass(frozen=True)
class Case:
    """A format, as configured, with a way to write bodies of it."""

    name: str
    kind: str
    options: dict[str, Any]
    records: str | None
    meta: dict[str, Any]

    @property
    def format(self) -> Format:
        return cast(
            "Format", discover("service.formats")[self.kind].model_validate({"kind": self.kind, **self.options})
        )

    def body(self, rows: Sequence[Sequence[str]]) -> bytes:
        return WRITERS[self.name.partition(" ")[0]](self, rows)

    def message(self, body: bytes, meta: dict[str, Any] | None = None) -> Message:
        return Message(body, 0.0, None, {**self.meta, **(meta or {})})

    def decode(self, body: bytes, meta: dict[str, Any] | None = None) -> list[Any]:
        return self.format.decode(self.message(body, meta), self.records)


def write_json(case: Case, rows: Sequence[Sequence[str]]) -> bytes:
    deep = [{"a": [[{}], ["]", {"b": "{"}]], "c": []}, 1, "\\"]
    document: Any = [{"deep": deep, **dict(zip(NAMES, row, strict=True))} for row in rows]
    if case.records is not None:
        document = {"before": [{"data": "]"}], "data": {"x": "[", "list": document, "y": {}}, "after": '"'}
    return json.dumps(document, ensure_ascii=False, indent=None if case.records else 1).encode()


def write_ndjson(_case: Case, rows: Sequence[Sequence[str]]) -> bytes:
    lines = [json.dumps(dict(zip(NAMES, row, strict=True)), ensure_ascii=False) for row in rows]
    return "\n\n".join([*lines, ""]).encode()


def write_csv(case: Case, rows: Sequence[Sequence[str]]) -> bytes:
    delimiter = case.options.get("delimiter", ",")
    quoted = [[f'"{cell.replace(chr(34), chr(34) * 2)}"' for cell in row] for row in rows]
    lines = [
        delimiter.join(row) + "\r\n" for row in ([list(NAMES), *quoted] if "header" not in case.options else quoted)
    ]
    return "\n".join(lines).encode(case.options.get("encoding", "utf-8"), "replace")


def write_xml(case: Case, rows: Sequence[Sequence[str]]) -> bytes:
    root = etree.Element("feed", {"version": "1"})
    etree.SubElement(root, "title").text = "a title"
    items = etree.SubElement(root, "items", nsmap={"p": "urn:p"})
    for row in rows:
        item = etree.SubElement(items, "item", {"id": row[0]})
        etree.SubElement(item, "{urn:p}text").text = row[1]
        etree.SubElement(item, "more").text = row[2]
    etree.SubElement(root, "tail").text = "the end"
    return cast("bytes", etree.tostring(root, encoding=case.options.get("encoding", "utf-8")))


WRITERS = {"json": write_json, "ndjson": write_ndjson, "csv": write_csv, "xml": write_xml}
CASES = [
    Case("json", "json", {}, None, {}),
    Case("json at a path", "json", {}, "data.list", {}),
    Case("ndjson", "ndjson", {}, None, {}),
    Case("csv", "csv", {}, None, {}),
    Case("csv in utf-16", "csv", {"encoding": "utf-16"}, None, {}),
    Case("csv in latin-1", "csv", {"encoding": "latin-1", "delimiter": ";"}, None, {}),
    Case("csv in gb18030", "csv", {"encoding": "gb18030", "delimiter": "|"}, None, {}),
    Case("csv without header", "csv", {"header": False}, None, {}),
    Case("csv with names", "csv", {"header": NAMES}, None, {}),
    Case("xml", "xml", {}, "feed/items/item", {}),
    Case("xml in utf-16", "xml", {"encoding": "utf-16"}, "feed.items.item", {}),
    Case("xml with prefixes", "xml", {"namespaces": "keep"}, "feed/*/item", {}),
    Case("json by type", "auto", {}, "data.list", {"content_type": "application/json; charset=utf-8"}),
    Case("json by look", "auto", {}, "data.list", {}),
    Case("csv by type", "auto", {}, None, {"content_type": "text/csv"}),
    Case("xml by look", "auto", {}, "feed/items/item", {}),
]
each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def chunked(body: bytes, sizes: Sequence[int]) -> Iterator[bytes]:
    """Split a body into chunks of these sizes, and one with the rest."""
    at = 0
    for size in sizes:
        yield body[at : at + size]
        at += size
    yield body[at:]


def pieces(case: Case, chunks: Iterator[bytes], size: int) -> list[Message]:
    cutter = case.format.cutter(case.meta, case.records, size)
    found = [piece for chunk in chunks if (piece := cutter.feed(chunk)) is not None]
    return [case.message(piece.body, piece.meta) for piece in [*found, cutter.end()]]


def outcome(case: Case, messages: Sequence[Message]) -> tuple[list[Any], bool]:
    """Give all records of messages, and whether all of them decoded."""
    records: list[Any] = []
    whole = True
    for message in messages:
        try:
            records += case.format.decode(message, case.records)
        except FormatError:
            whole = False
    return records, whole


@each_case
@given(rows=ROWS.filter(bool), sizes=CUTS)
@settings(max_examples=40, deadline=None)
def test_the_raw_bytes_of_a_record_can_be_read_again(case: Case, rows: list[tuple[str, ...]], sizes: list[int]) -> None:
    for message in pieces(case, chunked(case.body(rows), sizes), 40):
        for index, record in enumerate(case.format.decode(message, case.records)):
            raw = case.format.raw(message, case.records, index)
            assert case.format.reread(Message(raw, 0.0, None, case.format.beside(message, case.records))) == record


@each_case
@given(rows=ROWS, sizes=CUTS, size=st.sampled_from([1, 40, 200]))
@settings(max_examples=60, deadline=None)
def test_a_body_cut_anywhere_in_any_chunks_gives_the_records_of_the_whole(
    case: Case, rows: list[tuple[str, ...]], sizes: list[int], size: int
) -> None:
    body = case.body(rows)
    whole = case.decode(body)
    size = max(size, 40) if case.kind == "auto" else size  # one byte tells no format
    assert len(whole) == len(rows)
    assert outcome(case, pieces(case, chunked(body, sizes), size)) == (whole, True)


@each_case
def test_a_long_body_becomes_many_pieces(case: Case) -> None:
    rows = [(f"x{number}", 'text, and\n"more"', "x" * 40) for number in range(400)]
    body = case.body(rows)
    messages = pieces(case, chunked(body, [100] * 10_000), 2000)
    assert 8 < len(messages) < 80
    assert max(len(message.body) for message in messages) < 9000
    assert outcome(case, messages) == (case.decode(body), True)


@each_case
@given(data=st.data(), rows=st.lists(st.tuples(TEXTS, TEXTS, TEXTS), min_size=1, max_size=6), sizes=CUTS)
@settings(max_examples=60, deadline=None)
def test_damage_is_never_a_crash_and_harms_nothing_that_was_cut_before(
    case: Case, data: st.DataObject, rows: list[tuple[str, ...]], sizes: list[int]
) -> None:
    body = case.body(rows)
    whole = case.decode(body)
    at = data.draw(st.integers(0, len(body)))
    body = body[:at] + data.draw(st.binary(max_size=6)) + body[at + data.draw(st.integers(0, 6)) :]
    outcome(case, [case.message(body)])
    messages = pieces(case, chunked(body, sizes), 60)
    untouched = 0
    covered = pieces(case, chunked(case.body(rows)[:at], sizes), 60)[:-1]
    for before, message in zip(covered, messages, strict=False):
        if before != message:
            break
        untouched += len(case.format.decode(message, case.records))
    records, _ = outcome(case, messages)
    assert records[:untouched] == whole[:untouched]


@each_case
@given(st.binary(max_size=60) | st.text(st.sampled_from('[]{}",:<>/a1\\ \n&!-?='), max_size=40).map(str.encode), CUTS)
@settings(max_examples=100, deadline=None)
def test_any_bytes_give_records_or_a_format_error(case: Case, body: bytes, sizes: list[int]) -> None:
    message = case.message(body)
    try:
        records = case.format.decode(message, case.records)
    except FormatError:
        records = []
    for index in range(len(records)):
        assert isinstance(case.format.raw(message, case.records, index), bytes)
    outcome(case, pieces(case, chunked(body, sizes), 10))


@each_case
@given(rows=st.lists(st.tuples(TEXTS, TEXTS, TEXTS), min_size=1, max_size=5))
@settings(max_examples=30, deadline=None)
def test_the_raw_bytes_of_a_record_hold_it_and_no_other(case: Case, rows: list[tuple[str, ...]]) -> None:
    message = case.message(case.body(rows))
    kind = case.format.kind_of(message)
    records = case.format.decode(message, case.records)
    for index, record in enumerate(records):
        raw = case.format.raw(message, case.records, index)
        if kind == "xml":
            utf8 = Case("xml", "xml", {**case.options, "encoding": None}, None, {})
            assert utf8.decode(raw) == [{"item": record}]
        elif kind == "csv":
            assert raw in message.body
            names = {"header": tuple(record)}
            encoding = {key: value for key, value in case.options.items() if key != "header"}
            (again,) = Case("csv", "csv", {**encoding, **names}, None, {}).decode(raw)
            assert again == record
        else:
            assert raw in message.body
            assert Case("json", "json", {}, None, {}).decode(raw) == [record]


LONG = [c for c in CASES if c.name in {"json at a path", "ndjson", "csv", "csv in utf-16", "xml", "xml by look"}]


@pytest.mark.parametrize("case", LONG, ids=lambda case: case.name)
def test_memory_does_not_grow_with_the_body(case: Case) -> None:
    row = ["x", 'a text, and "more"', "x" * 400]
    two, three = (case.body([row] * count) for count in (2, 3))
    process = psutil.Process()

    def stream(count: int) -> tuple[int, int]:
        """Feed a long body; give records, and the growth of the process."""
        middle, found, peak = _middle(two, three), 0, 0
        cutter = case.format.cutter(case.meta, case.records)
        start = process.memory_info().rss
        for chunk in (middle.start, *[middle.record * 100] * (count // 100), middle.end):
            piece = cutter.feed(chunk)
            if piece is not None:
                found += len(case.format.decode(case.message(piece.body, piece.meta), case.records))
                peak = max(peak, process.memory_info().rss - start)
        piece = cutter.end()
        return found + len(case.format.decode(case.message(piece.body, piece.meta), case.records)), peak

    stream(5_000)
    found, peak = stream(60_000)  # about 30 MB
    assert found == 60_002
    assert peak < 10 << 20


@dataclass(frozen=True)
class Middle:
    start: bytes
    record: bytes
    end: bytes


def _middle(two: bytes, three: bytes) -> Middle:
    """Find what one more record adds to a body, and where."""
    at = (
        next(number for number in range(len(two)) if two[number] != three[number])
        if two != three[: len(two)]
        else len(two)
    )
    size = len(three) - len(two)
    return Middle(two[:at], three[at : at + size], two[at:])


def test_every_format_is_tried_here() -> None:
    assert {case.kind for case in CASES} == set(discover("service.formats"))


def test_a_record_that_cannot_be_read_says_why() -> None:
    (record,) = Case("csv", "csv", {}, None, {}).decode(b"a,b\n1\n")
    assert isinstance(record, Broken)
    assert "line 2" in record.detail
