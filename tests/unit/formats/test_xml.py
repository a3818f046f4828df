import codecs
import time
from typing import Any

import pytest
import xmltodict
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree
from pydantic import ValidationError

from service.errors import FormatError
from service.formats.xml import Xml
from service.model import Message

ATOM = b"""<?xml version="1.0" encoding="iso-8859-1"?>
<feed xmlns="http://www.w3.org/2005/Atom" xmlns:g="urn:g"><title>t</title>
<!-- a note --><entry g:id="1" xml:lang="de"><g:name>\xe4</g:name><tag>a</tag><tag>b</tag></entry>
<entry g:id="2">x<![CDATA[<y>]]></entry><?work now?></feed>"""


def records(body: bytes, path: str | None = None, meta: dict[str, Any] | None = None, **options: Any) -> list[Any]:
    return Xml(**options).decode(Message(body, 0.0, None, meta), path)


def refusal(body: bytes, path: str | None = None) -> str:
    with pytest.raises(FormatError) as caught:
        records(body, path)
    return str(caught.value)


def test_attributes_texts_and_repeated_children_are_as_in_xmltodict() -> None:
    body = b'<r id="7"><a>1</a><a>2</a><b x="y">t</b><c/><d> </d><e>p<f/>q</e></r>'
    expected = {
        "r": {"@id": "7", "a": ["1", "2"], "b": {"@x": "y", "#text": "t"}, "c": None, "d": None}
        | {"e": {"f": None, "#text": "pq"}}
    }
    assert records(body) == [expected]
    assert xmltodict.parse(body) == expected


TREES: st.SearchStrategy[Any] = st.recursive(
    st.builds(lambda text: ([], text), st.sampled_from(["", " ", "x", "\n é & <"])),
    lambda inner: st.tuples(st.lists(st.tuples(st.sampled_from("abc"), inner), max_size=4), st.sampled_from(["", "t"])),
    max_leaves=12,
)


@given(TREES)
def test_any_document_is_as_in_xmltodict(tree: tuple[list[Any], str]) -> None:
    def build(name: str, node: tuple[list[Any], str]) -> Any:
        element = etree.Element(name, {"k": "v"} if len(node[0]) % 2 else {})
        element.text = node[1]
        for child, inner in node[0]:
            element.append(build(child, inner))
        return element

    body = etree.tostring(build("r", tree))
    assert records(body) == [xmltodict.parse(body)]


def test_names_are_local_unless_prefixes_are_asked_for() -> None:
    first, second = records(ATOM, "feed/entry")
    assert first == {"@id": "1", "@lang": "de", "name": "ä", "tag": ["a", "b"]}
    assert second == {"@id": "2", "#text": "x<y>"}
    kept = {"@g:id": "1", "@xml:lang": "de", "g:name": "ä", "tag": ["a", "b"]}
    assert records(ATOM, "feed/entry", namespaces="keep")[0] == kept
    own = {"geo": "urn:g", "atom": "http://www.w3.org/2005/Atom"}
    mapped = {"@geo:id": "1", "@lang": "de", "geo:name": "ä", "atom:tag": ["a", "b"]}
    assert records(ATOM, "atom:feed.atom:entry", namespaces=own)[0] == mapped


def test_records_lie_at_an_element_path() -> None:
    body = b"<a><b><c>1</c><d/></b><e><c>9</c></e><b><c>2</c><c>3</c></b></a>"
    assert records(body, "a/b/c") == records(body, "a.b.c") == records(body, "/a/b/c") == ["1", "2", "3"]
    assert records(body, "a/*/c") == ["1", "9", "2", "3"]
    assert records(body, "a/b/x") == []
    assert records(body, "a")[0]["e"] == {"c": "9"}
    assert records(b"<a/>", "a/b/c") == []


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("x/b", "`records: x/b` leads nowhere: the root is <a>, not <x>"),
        ("a/x/c", "`records: a/x/c` leads nowhere: there is no <x>; there are <b>"),
    ],
)
def test_a_path_that_leads_nowhere_says_what_is_there(path: str, said: str) -> None:
    assert refusal(b"<a><b><c/></b></a>", path) == said


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "the message is empty"),
        (b" \n", "the message is empty"),
        (b'{"a": 1}', "Start tag expected"),
        (b"<a><b></a>", "tag mismatch"),
        (b"<a>", "line 1"),
        (b"<a>&x;</a>", "Entity 'x' not defined"),
        (b"<a/><b/>", "Extra content"),
        (b"<a>" * 300 + b"</a>" * 300, "Excessive depth"),
        (b"<a>" + b"x" * (11 << 20) + b"</a>", "too long"),
        (b"<a>\xff</a>", "line 1"),
    ],
)
def test_what_is_not_xml_is_refused_with_the_place(body: bytes, said: str) -> None:
    assert said in refusal(body)


LAUGHS = b"".join(b'<!ENTITY l%d "%s">' % (n, b"&l%d;" % (n - 1) * 10) for n in range(1, 10))
HOSTILE = {
    "billion laughs": b'<!DOCTYPE a [<!ENTITY l0 "ha">' + LAUGHS + b"]><a><b>&l9;</b></a>",
    "laughs in an attribute": b'<!DOCTYPE a [<!ENTITY l0 "ha">' + LAUGHS + b']><a><b x="&l9;"/></a>',
    "quadratic": b'<!DOCTYPE a [<!ENTITY x "' + b"x" * 50_000 + b'">]><a><b>' + b"&x;" * 50_000 + b"</b></a>",
    "a file": b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a><b>&x;</b></a>',
    "a parameter entity": b'<!DOCTYPE a [<!ENTITY % x SYSTEM "http://127.0.0.1:9/x"> %x;]><a><b/></a>',
    "an external DTD": b'<!DOCTYPE a SYSTEM "http://127.0.0.1:9/x.dtd"><a><b/></a>',
    "a plain doctype": b"<!DOCTYPE a><a><b>1</b></a>",
}


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE.keys())
def test_entities_and_document_types_are_refused_at_once(body: bytes) -> None:
    started = time.process_time()
    refusal(body, "a/b")
    cutter = Xml().cutter({}, "a/b", 20)
    pieces = [piece for at in range(0, len(body), 5000) if (piece := cutter.feed(body[at : at + 5000])) is not None]
    last = cutter.end()
    assert pieces == []
    with pytest.raises(FormatError):
        Xml().decode(Message(last.body, 0.0, None, last.meta), "a/b")
    assert time.process_time() - started < 2


def test_a_file_is_never_read() -> None:
    assert "root:" not in refusal(HOSTILE["a file"])


@pytest.mark.parametrize(
    ("body", "meta", "options"),
    [
        ("<a>ä</a>".encode("latin-1"), {}, {"encoding": "latin-1"}),
        ("<a>ä</a>".encode("cp1252"), {"content_type": "text/xml; charset=cp1252"}, {}),
        ("<?xml version='1.0' encoding='utf-8'?><a>ä</a>".encode("latin-1"), {}, {"encoding": "iso-8859-1"}),
        (codecs.BOM_UTF8 + "<a>ä</a>".encode(), {"content_type": "text/xml; charset=latin-1"}, {"encoding": "cp1252"}),
        ("<a>ä</a>".encode("utf-16"), {"content_type": "text/xml; charset=utf-8"}, {}),
        (codecs.BOM_UTF16_BE + "<a>ä</a>".encode("utf-16-be"), {}, {}),
    ],
)
def test_the_encoding_is_that_of_the_mark_the_settings_the_type_or_the_document(
    body: bytes, meta: dict[str, Any], options: dict[str, Any]
) -> None:
    assert records(body, None, meta, **options) == [{"a": "ä"}]


def test_an_encoding_that_there_is_not_is_told() -> None:
    with pytest.raises(ValidationError, match="there is no encoding 'utf-9'"):
        Xml(encoding="utf-9")
    with pytest.raises(FormatError, match="names an encoding that there is not"):
        records(b"<a/>", None, {"content_type": "text/xml; charset=utf-9"})


def test_the_raw_record_is_an_element_that_stands_by_itself() -> None:
    raw = Xml().raw(Message(ATOM, 0.0), "feed/entry", 1)
    assert etree.fromstring(raw).tag == "{http://www.w3.org/2005/Atom}entry"
    assert records(raw) == [{"entry": records(ATOM, "feed/entry")[1]}]


def test_many_parents_and_what_lies_between_them_are_dropped_as_they_end() -> None:
    start, middle, end = b"<a><x/>", b"<b n='1'><c>1</c><y>z</y><c>2</c></b><b/><w>s</w>", b"<next>n</next></a>"
    cutter = Xml().cutter({}, "a/b/c", 100)
    found: list[Any] = []
    pieces = [cutter.feed(start), *(cutter.feed(middle[at : at + 9]) for _ in range(50) for at in range(0, 60, 9))]
    pieces += [cutter.feed(end)]
    last = cutter.end()
    for piece in [*pieces, last]:
        if piece is not None:
            assert len(piece.body) < 600
            found += Xml().decode(Message(piece.body, 0.0, None, piece.meta), "a/b/c")
    assert found == ["1", "2"] * 50
    assert Xml().document(Message(last.body, 0.0, None, last.meta))["a"]["next"] == "n"


def test_a_prefix_that_is_not_declared_is_no_crash_however_it_is_cut() -> None:
    body = b"<a x:y='1'>" + b"<b>1</b>" * 100 + b"</a>"
    assert "not defined" in refusal(body, "a/b")
    cutter = Xml().cutter({}, "a/b", 100)
    assert [cutter.feed(body[at : at + 50]) for at in range(0, len(body), 50)] == [None] * 17
    last = cutter.end()
    with pytest.raises(FormatError, match="Invalid attribute name 'x:y'"):
        Xml().decode(Message(last.body, 0.0, None, last.meta), "a/b")


def test_a_break_in_the_middle_keeps_what_was_cut_and_refuses_the_rest_once() -> None:
    cutter = Xml().cutter({}, "a/b", 200)
    pieces = [
        cutter.feed(chunk) for chunk in [b"<a>", *[b"<b>1</b>"] * 110, b"<b>2</c>", *[b"<b>3</b>"] * 100, b"</a>"]
    ]
    cut = [piece for piece in pieces if piece is not None]
    found = [record for piece in cut for record in records(piece.body, "a/b")]
    assert 50 < len(found) < 110
    last = cutter.end()
    assert len(found) + last.body.count(b"<b>1</b>") == 110
    with pytest.raises(FormatError, match="tag mismatch"):
        Xml().decode(Message(last.body, 0.0, None, last.meta), "a/b")
