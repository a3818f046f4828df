from typing import Any

import pytest

from service.errors import FormatError
from service.formats.auto import Auto, choose
from service.model import Message
from service.transform.transform import Piece
from tests.unit.transform.making import make


@pytest.mark.parametrize(
    ("content_type", "kind"),
    [
        ("application/json", "json"),
        ("application/vnd.api+json; charset=utf-8", "json"),
        ("Application/GeoJSON+JSON", "json"),
        ("application/x-ndjson", "ndjson"),
        ("application/jsonl", "ndjson"),
        ("text/csv; header=present", "csv"),
        ("text/xml;charset=utf-8", "xml"),
        ("application/rss+xml", "xml"),
    ],
)
def test_the_content_type_goes_first(content_type: str, kind: str) -> None:
    assert choose({"content_type": content_type, "name": "x.txt"}, b"?") == kind


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b'{"a": 1}\n{"a": 2}\n', "ndjson"),
        (b"[1]\n[2]", "ndjson"),
        (b'[\n{"a": 1},\n{"a": 2}]', "json"),
        (b'{"a":\n{"b": 1}}', "json"),
        (b'{"a": 1}\n', "json"),
        (b"[[1],\n[2]]", "json"),
    ],
)
def test_lines_that_are_called_json_are_known_for_what_they_are(body: bytes, kind: str) -> None:
    meta = {"content_type": "application/json"}
    assert choose(meta, body) == kind
    assert Auto().decode(Message(body, 0.0, None, meta), None)


@pytest.mark.parametrize(
    ("name", "kind"), [("results.csv", "csv"), ("Feed.XML", "xml"), ("a.jsonl", "ndjson"), ("a.geojson", "json")]
)
def test_then_the_ending_of_the_name(name: str, kind: str) -> None:
    assert choose({"content_type": "application/octet-stream", "name": name}, b"?") == kind


@pytest.mark.parametrize(
    ("start", "kind"),
    [
        (b' \n{"a": 1}', "json"),
        (b"\xef\xbb\xbf[1]", "json"),
        (b'{"a": 1}\n{"a": 2}\n', "ndjson"),
        (b"[1, 2]\r\n\r\n[3", "ndjson"),
        (b'{\n"a": 1}', "json"),
        (b'{"a": {\n"b": 1}}', "json"),
        (b"<feed/>", "xml"),
        (b"\xef\xbb\xbf <?xml version='1.0'?><feed/>", "xml"),
        ("<feed/>".encode("utf-16"), "xml"),
        (b"<!DOCTYPE html><html>", "json"),
        (b"<HTML>", "json"),
        (b"a,b\n1,2\n", "json"),
        (b"", "json"),
        (b"\xff\x00", "json"),
    ],
)
def test_then_the_first_bytes_and_never_csv(start: bytes, kind: str) -> None:
    assert choose({}, start) == kind


def test_what_was_found_at_the_beginning_of_a_body_holds_to_its_end() -> None:
    assert choose({"content_type": "text/xml", "format": "ndjson"}, b"<") == "ndjson"


@pytest.mark.parametrize(
    ("body", "meta", "reason", "said"),
    [
        (b"{", {}, "json: not decodable", "the message is not json: "),
        (b"<a>", {}, "xml: not decodable", "the message is not xml: "),
        (b"a,a\n", {"content_type": "text/csv"}, "csv: not decodable", "the message is not csv: "),
    ],
)
def test_a_refusal_names_the_format_that_was_found(body: bytes, meta: dict[str, Any], reason: str, said: str) -> None:
    transform = make({"a": "text"}, format="auto")
    message = Message(body, 0.0, None, meta)
    with pytest.raises(FormatError) as caught:
        transform.decode(message)
    refusal = transform.undecodable(message, caught.value)
    assert refusal.reason == reason
    assert said in refusal.detail


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b'[{"a": "1", "z": 0}, {"a": "x"}, {"b": "3"}]', ""),
        (b'{"a": "1", "z": 0}\n{"a": "x"}\n{"b": "3"}\n', ""),
        (b"a,b\n1,\nx,\n,3\n", "text/csv"),
        (b"a,b\n1,\nx,\n,3\n1,2,3\n", "text/csv"),
    ],
)
def test_every_format_gives_the_same_rows_and_refusals(body: bytes, content_type: str) -> None:
    transform = make({"a": "integer"}, format="auto")
    message = Message(body, 0.0, None, {"content_type": content_type})
    mapped = transform.map([Piece(message, transform.read(message))])
    assert mapped.rows == [(1,)]
    assert [refusal.reason for refusal in mapped.refusals][:2] == ["a: number", "a: required"]
    assert mapped.refusals[0].record in {b'{"a": "x"}', b"x,"}


def test_a_document_is_given_as_its_format_gives_it() -> None:
    assert Auto().document(Message(b'{"next": 2}', 0.0)) == {"next": 2}
    assert Auto().document(Message(b"<a><next>2</next></a>", 0.0)) == {"a": {"next": "2"}}
