from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.config.paths import Path as PathOf
from service.config.paths import parse_path
from service.errors import FormatError
from service.formats.json import Json
from service.lookup import lookup
from service.model import Message

CASES = Path("/work/shared/feeds/json/test_parsing")
FOOTBALL = Path("/work/shared/feeds/football/poll/broken.json")


def records(body: bytes, path: str | None = None, *, single: bool = False) -> list[object]:
    return Json(single=single).decode(Message(body, 0.0), path)


def refusal(body: bytes, path: str | None = None) -> str:
    with pytest.raises(FormatError) as caught:
        records(body, path)
    return str(caught.value)


def test_a_list_holds_records_and_an_object_is_one() -> None:
    assert records(b'[{"a": 1}, {"a": 2}]') == [{"a": 1}, {"a": 2}]
    assert records(b' {"a": 1}\n') == [{"a": 1}]
    assert records(b"[]") == []


KEYS = st.sampled_from(["a", "b", "c"])
DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


@given(DOCUMENTS, st.none() | st.lists(KEYS | st.integers(0, 2), min_size=1, max_size=3).map(tuple))
def test_a_glance_sees_at_its_path_what_the_whole_document_has_there(document: object, path: PathOf | None) -> None:
    message = Message(msgspec.json.encode(document), 0.0)
    assert lookup(Json().glance(path)(message), path or ("a",)) == (lookup(document, path) if path else None)


def test_a_glance_makes_nothing_of_what_it_does_not_need() -> None:
    message = Message(b'{"next": {"at": 3, "of": 9}, "records": [{"id": 1}]}', 0.0)
    assert Json().glance(parse_path("next.at"))(message) == {"next": {"at": 3}}
    assert Json().glance(None)(message) == {}


@pytest.mark.parametrize("body", [b'{"a": 1', b"<html>", b"", b'{"a": [1,]}'])
def test_a_glance_at_what_is_no_json_says_so(body: bytes) -> None:
    with pytest.raises(FormatError):
        Json().glance(("next",))(Message(body, 0.0))


def test_a_frame_that_is_a_list_may_be_one_record() -> None:
    assert records(b'[42, "te"]', single=True) == [[42, "te"]]
    assert Json(single=True).raw(Message(b' [42, "te"]', 0.0), None, 0) == b'[42, "te"]'


def test_numbers_keep_every_digit() -> None:
    (record,) = records(b'{"d": 1.10, "e": 1e400, "i": 123456789012345678901234567890}')
    assert record == {"d": Decimal("1.10"), "e": Decimal("1e400"), "i": 123456789012345678901234567890}
    assert str(record["d"]) == "1.10"


def test_a_byte_order_mark_is_accepted_once() -> None:
    assert records(b"\xef\xbb\xbf[1]") == [1]
    assert "byte 0" in refusal(b"\xef\xbb\xbf" * 50_000)


@pytest.mark.parametrize(
    ("encoding", "content_type"),
    [
        ("utf-8", "application/json; charset=iso-8859-1"),  # as many say who send UTF-8
        ("utf-8", "application/json; charset=utf8mb4"),
        ("latin-1", "application/json; charset=ISO-8859-1"),
        ("cp1252", 'application/json; charset="windows-1252"'),
        ("shift_jis", "application/json; charset=Shift_JIS"),
        ("utf-16", "application/json"),
        ("utf-16", "application/json; charset=utf-8"),
        ("utf-16-le", "application/json; charset=utf-16le"),
    ],
)
def test_a_document_in_another_encoding_is_read_as_its_mark_or_its_content_type_says(
    encoding: str, content_type: str
) -> None:
    town = "東京" if encoding == "shift_jis" else "Malmö"
    body = msgspec.json.encode({"data": [{"town": town}, {"town": "x"}]}).decode().encode(encoding)
    message, form = Message(body, 0.0, None, {"content_type": content_type}), Json()
    read = form.typed("data", msgspec.defstruct("Shape", [("town", str)]))
    assert read is not None
    assert form.decode(message, "data") == [{"town": town}, {"town": "x"}]
    assert form.glance(None)(message) is not None
    assert len(read(message)) == 2
    raw = form.raw(message, "data", 0)
    assert form.reread(Message(raw, 0.0, None, message.meta)) == {"town": town}


def test_bytes_that_no_encoding_is_named_for_are_refused() -> None:
    body = '["Malmö"]'.encode("latin-1")
    assert "not UTF-8" in refusal(body)
    with pytest.raises(FormatError, match="encoding that there is not, 'utf-9'"):
        Json().decode(Message(body, 0.0, None, {"content_type": "application/json; charset=utf-9"}), None)


def test_records_lie_at_the_path() -> None:
    body = b'{"data": {"list": [{"a": 1}, {"a": 2}], "one": {"b": 3}}, "x": [[1], [2, 3]]}'
    assert records(body, "data.list") == [{"a": 1}, {"a": 2}]
    assert records(body, "data.one") == [{"b": 3}]
    assert records(body, "x[1]") == [2, 3]


@pytest.mark.parametrize(
    ("body", "path", "said"),
    [
        (b'{"match": []}', "matches", "there is no 'matches'; did you mean 'match'? there are the keys 'match'"),
        (b"{}", "matches", "the object is empty"),
        (b"[1]", "matches", "a list of 1 items is there"),
        (b"[1]", "[3]", "there is no 3; a list of 1 items is there"),
        (b'{"a": null}', "a", "leads to null"),
        (b'{"a": null}', "a.b", "null is there"),
        (b'{"a": true}', "a", "leads to true"),
        (b'{"a": "x"}', "a[0]", "text is there"),
    ],
)
def test_a_path_that_leads_nowhere_says_what_is_there(body: bytes, path: str, said: str) -> None:
    message = refusal(body, path)
    assert f"`records: {path}`" in message
    assert said in message


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "the message is empty"),
        (b" \n", "the message is empty"),
        (b"\xef\xbb\xbf", "the message is empty"),
        (b"<html>", "invalid character (byte 0); the message begins with '<html>'"),
        (b'{"a": 1,}', "(byte 8)"),
        (b'{"a": 1', "truncated"),
        (b"[" * 100_000, "nested too deeply"),
        (b'"\xff"', "not UTF-8"),
        (rb'{"a": "\ud83d"}', r"half a surrogate pair, \ud83d"),
        (rb'"\\ud83d\ud83d\ude00" 1', "trailing characters"),
        (b"[1e99999999999999999999]", "too large an exponent"),
        (b"1" * 5000, "Integer value out of range"),
        (b"NaN", "invalid character"),
    ],
)
def test_what_is_not_json_is_refused_with_the_place(body: bytes, said: str) -> None:
    assert said in refusal(body)


def test_the_raw_bytes_of_a_record_are_those_that_were_sent() -> None:
    message = Message(b'\xef\xbb\xbf{"data": [{"a": 1.10 },  {"a":\t2}, 3]}', 0.0)
    assert [Json().raw(message, "data", index) for index in range(3)] == [b'{"a": 1.10 }', b'{"a":\t2}', b"3"]
    assert Json().raw(Message(b' {"a": 1}\n', 0.0), None, 0) == b'{"a": 1}'


BAD = [rb'"\ud800"', rb'"\uDC00\ud800"', rb'{"\udfff": 1}', b'"\xff"', b"1e99999999999999999999", b"9" * 5000]
BAD += [b"[" * 9000 + b"]" * 9000, b'[{"]k": ' * 5000 + b'"}"' + b"}]" * 5000]


@pytest.mark.parametrize("bad", BAD, ids=range(len(BAD)))
def test_a_record_with_a_value_that_nobody_can_read_is_refused_alone(bad: bytes) -> None:
    odd = rb'{"a": "\\ud800 \ud83d\ude00"}'
    message = Message(b'{"data": [' + odd + b', {"a": ' + bad + b"}, 3]}", 0.0)
    first, broken, last = Json().decode(message, "data")
    assert (first, last) == ({"a": "\\ud800 \U0001f600"}, 3)
    assert broken.reason == "json: record not decodable"
    assert [Json().raw(message, "data", index) for index in range(3)] == [odd, b'{"a": ' + bad + b"}", b"3"]
    assert records(b'{"meta": ' + bad + b', "data": [1, 2]}', "data") == [1, 2]


def test_a_record_nested_deeper_than_is_hidden_while_cutting_is_whole_again() -> None:
    deep = b'{"k": ' * 200 + b'"}[\\""' + b"}" * 200
    message = Message(b"[" + deep + b", " + BAD[-1] + b"," + deep + b"]", 0.0)
    first, broken, last = Json().decode(message, None)
    assert first == last == Json().decode(Message(deep, 0.0), None)[0]
    assert "nested too deeply" in broken.detail
    assert Json().raw(message, None, 2) == deep


@pytest.mark.parametrize("bad", BAD, ids=range(len(BAD)))
def test_paging_goes_on_where_a_record_cannot_be_read(bad: bytes) -> None:
    message = Message(b'{"data": [1, {"a": ' + bad + b'}], "next": {"page": 7}}', 0.0)
    assert lookup(Json().glance(("next", "page"))(message), ("next", "page")) == 7


@pytest.mark.parametrize("odd", [b"x", b"\x7f"])
def test_records_that_are_nested_too_deeply_keep_their_own_bytes(odd: bytes) -> None:
    deep = [b"[" * depth + b"]" * depth for depth in (63, 64, 65, 3000, 4000)]
    texts = [rb'"\\ud800"', rb'"\ud800"', b'"' + odd + b'"']
    message = Message(b'{"x": ' + deep[3] + b', "data": [' + b", ".join(deep + texts) + b"]}", 0.0)
    kinds = [type(record).__name__ for record in Json().decode(message, "data")]
    assert kinds == ["list", "list", "list", "Broken", "Broken", "str", "Broken", "str"]
    assert [Json().raw(message, "data", index) for index in range(8)] == deep + texts


@pytest.mark.parametrize("body", [b'[1, {"a": ' + b"[" * 5000, b"[" * 5000 + b"]" * 5001, b"[1, " + b"[" * 5000 + b'"'])
def test_brackets_that_are_not_sound_are_refused_whole(body: bytes) -> None:
    assert "nested too deeply" in refusal(body)


def test_the_raw_bytes_of_another_message_are_not_mixed_up() -> None:
    first, second = Message(b"[1, 2]", 0.0), Message(b"[3, 4]", 0.0)
    assert Json().raw(first, None, 1) == b"2"
    assert Json().raw(second, None, 1) == b"4"
    assert Json().raw(first, None, 0) == b"1"


@pytest.mark.skipif(not CASES.is_dir(), reason="the JSON parsing cases are not here")
def test_all_published_parsing_cases_behave() -> None:
    wrong = []
    files = sorted(CASES.glob("*.json"))
    for file in files:
        try:
            Json().decode(Message(file.read_bytes(), 0.0), None)
            decodes = True
        except FormatError:
            decodes = False
        if (file.name[0] == "y" and not decodes) or (file.name[0] == "n" and decodes):
            wrong.append(file.name)
    assert wrong == []
    assert len(files) == 318


@pytest.mark.skipif(not CASES.is_dir(), reason="the JSON parsing cases are not here")
def test_all_published_parsing_cases_behave_the_same_in_the_middle_of_a_long_body() -> None:
    wrong = []
    for file in sorted(CASES.glob("*.json")):
        body = b'{"data": [' + b'{"a": 1}, ' * 50 + file.read_bytes() + b', {"a": 2}' * 50 + b"]}"
        found, whole = cut(body, "data")
        assert found[:40] == [{"a": 1}] * 40, file.name
        if (file.name[0] == "y" and not whole) or (file.name[0] == "n" and whole and not _fits(file.read_bytes())):
            wrong.append(file.name)
    assert wrong == []


def _fits(case: bytes) -> bool:
    """Whether a text that is no document by itself is sound between other elements, such as `1, 2` or nothing."""
    try:
        records(b"[0, " + case + b", 0]")
    except FormatError:
        return False
    return True


def cut(body: bytes, path: str | None) -> tuple[list[object], bool]:
    """Give the records of a body that is cut every 100 bytes, and whether all pieces decode."""
    cutter = Json().cutter({}, path, 100)
    pieces = [cutter.feed(body[at : at + 30]) for at in range(0, len(body), 30)]
    found: list[object] = []
    whole = True
    for piece in [*pieces, cutter.end()]:
        try:
            found += [] if piece is None else records(piece.body, path)
        except FormatError:
            whole = False
    return found, whole


@pytest.mark.parametrize(
    "body",
    [
        b"[" + b"1, " * 100 + b"]",
        b"[" + b"1, " * 100,
        b"[" + b"1, " * 100 + b"2] 3",
        b"[" + b"1, " * 100 + b"2}",
        b"[" + b"1, " * 50 + b", " + b"1, " * 50 + b"2]",
        b"[" + b"1, " * 50 + b"1 2, " + b"1, " * 50 + b"2]",
        b"[" + b"1, " * 50 + b"NaN, " + b"1, " * 50 + b"2]",
    ],
)
def test_a_long_list_that_is_broken_keeps_what_was_cut_and_hides_nothing(body: bytes) -> None:
    found, whole = cut(body, None)
    assert not whole
    assert len(found) > 20
    assert set(map(str, found)) <= {"1", "2"}


def test_a_comma_before_the_end_is_wrong_wherever_the_body_is_cut() -> None:
    for count in range(50, 110):
        found, whole = cut(b"[" + b"1, " * count + b"]", None)
        assert not whole, count
        assert set(found) == {1}


def test_the_last_piece_has_what_stands_around_the_list() -> None:
    body = b'{"page": 1, "data": [' + b'{"a": "]"}, ' * 99 + b'{"a": 2}], "next": 7}'
    cutter = Json().cutter({}, "data", 100)
    pieces = [cutter.feed(body[at : at + 30]) for at in range(0, len(body), 30)]
    assert sum(piece is not None for piece in pieces) > 9
    document = Json().document(Message(cutter.end().body, 0.0))
    assert (document["page"], document["next"]) == (1, 7)
    assert document["data"][-1] == {"a": 2}


@pytest.mark.parametrize("path", [None, "[1].x", "a.b[2]", '"a.b".c', "[0][1]"])
def test_any_path_leads_to_the_list_in_every_piece(path: str | None) -> None:
    document: object = [{"n": number} for number in range(60)]
    for step in reversed(parse_path(path) if path else ()):
        before: list[object] = [{"x": [[], "x"]}, {"b": 1}]
        document = {"z": {"c": [1]}, step: document, "y": 0} if isinstance(step, str) else [*before[:step], document, 8]
    found, whole = cut(msgspec.json.encode(document), path)
    assert whole
    assert found == [{"n": number} for number in range(60)]


def test_one_record_is_not_cut() -> None:
    for body, path, single in [(b'{"a": [1, 2, 3]}' * 1, None, False), (b"[1, [2, 3]]", None, True)]:
        cutter = Json(single=single).cutter({}, path, 3)
        assert cutter.feed(body) is None
        assert cutter.end().body == body


@pytest.mark.skipif(not FOOTBALL.is_file(), reason="the recorded payloads are not here")
def test_what_a_provider_really_published_is_refused_with_its_place() -> None:
    assert "(byte " in refusal(FOOTBALL.read_bytes())


@given(st.binary() | st.text().map(str.encode) | st.lists(st.sampled_from(b'[]{}",:01e.-\\u')).map(bytes))
def test_any_bytes_give_records_or_a_format_error(body: bytes) -> None:
    for path in (None, "a", "a[0].b"):
        try:
            found = records(body, path)
        except FormatError:
            continue
        for index, record in enumerate(found):
            raw = Json().raw(Message(body, 0.0), path, index)
            assert msgspec.json.Decoder(float_hook=Decimal).decode(raw) == record
