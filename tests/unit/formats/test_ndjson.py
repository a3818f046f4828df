from decimal import Decimal

from service.formats import Broken
from service.formats.ndjson import Ndjson
from service.model import Message


def records(body: bytes, path: str | None = None) -> list[object]:
    return Ndjson().decode(Message(body, 0.0), path)


def test_each_line_is_a_record_and_numbers_keep_every_digit() -> None:
    assert records(b'\xef\xbb\xbf{"a": 1.10}\r\n\n  \n{"a": 2}') == [{"a": Decimal("1.10")}, {"a": 2}]
    assert records(b"") == []


def test_a_line_that_is_not_json_is_refused_alone() -> None:
    message = Message(b'{"a": 1}\n\n{"a":\n{"a": 3}\n', 0.0)
    first, broken, last = Ndjson().decode(message, None)
    assert (first, last) == ({"a": 1}, {"a": 3})
    assert isinstance(broken, Broken)
    assert broken.reason == "ndjson: line not decodable"
    assert "line 3 is not readable: Input data was truncated" in broken.detail
    assert Ndjson().raw(message, None, 1) == b'{"a":'


def test_a_path_leads_into_each_line() -> None:
    body = b'{"data": [{"a": 1}, {"a": 2}]}\n{"data": {"a": 3}}\n{}\n'
    *found, broken = records(body, "data")
    assert found == [{"a": 1}, {"a": 2}, {"a": 3}]
    assert isinstance(broken, Broken)
    assert "the object is empty" in broken.detail
    assert [Ndjson().raw(Message(body, 0.0), "data", index) for index in range(4)] == [
        b'{"a": 1}',
        b'{"a": 2}',
        b'{"a": 3}',
        b"{}",
    ]


def test_lines_are_counted_through_the_whole_body() -> None:
    cutter = Ndjson().cutter({}, None, 30)
    body = b"1\n" * 100 + b"x\n" + b"2\n" * 100
    pieces = [cutter.feed(body[at : at + 7]) for at in range(0, len(body), 7)]
    found = [
        record
        for piece in [*pieces, cutter.end()]
        if piece is not None
        for record in Ndjson().decode(Message(piece.body, 0.0, None, piece.meta), None)
    ]
    assert len(found) == 201
    assert "line 101 " in found[100].detail
