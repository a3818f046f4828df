"""Proposals for small samples: each guess with its reason, and YAML that reads back."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from service.config.load import loads
from service.errors import FormatError
from service.formats.json import Json
from service.infer.fields import walk
from service.infer.guess import guess
from service.infer.proposal import Proposal, propose
from service.infer.writing import Feed, scalar, write
from service.model import Message

FEED = Feed("acme", "things", {"url": "https://acme.example"}, {"kind": "rest", "path": "/x", "every": "60s"})
_encode = msgspec.json.Encoder(decimal_format="number").encode


def proposed(*documents: Any) -> Proposal:
    return propose([Message(_encode(document), 0.0) for document in documents], Json(), "things")


def column(values: list[Any], name: str = "c") -> tuple[str, dict[str, Any], str]:
    """Give type, options and notes proposed for the values of one column."""
    found = proposed([{"id": f"k{number}", name: value} for number, value in enumerate(values)]).columns[1]
    return found.type, found.options, "; ".join(found.notes)


@pytest.mark.parametrize(
    ("values", "kind", "options"),
    [
        ([1, 2], "integer", {}),
        ([1, 2**63], "decimal", {}),
        ([1, 2.5], "decimal", {}),
        ([0.12345678901234568, 1], "float", {}),
        ([True, False], "boolean", {}),
        (["true", "false"], "boolean", {}),
        (["2026-01-01", "2026-12-31"], "date", {}),
        (["18:30", "20:00:00"], "time", {}),
        (["2026-01-01T10:00:00Z", "2026-01-01T10:00:00+02:00"], "timestamp", {}),
        (["2026-01-01 10:00:00"], "timestamp", {"timezone": "UTC"}),
        (["31/12/2026", "01/02/2026"], "date", {"format": "%d/%m/%Y"}),
        (["12/31/2026", "01/02/2026"], "date", {"format": "%m/%d/%Y"}),
        (["31.12.2026 18:00"], "timestamp", {"format": "%d.%m.%Y %H:%M", "timezone": "UTC"}),
        (["0b0c1f2e-8f3c-4a7e-9a44-2f7c6a1b3d5e"], "uuid", {}),
        (["13.25", "7"], "decimal", {}),
        (["007", "12"], "text", {}),
        (["12", "13"], "text", {}),
        (["a", None], "text", {"null": True}),
        (["a", "  "], "text", {"null": True}),
        ([1, None, "N/A", 3], "integer", {"null": True, "on_invalid": "null"}),
        ([1, "a"], "text", {}),
        ([[1, 2], []], "json", {}),
        ([None, None], "text", {"null": True}),
    ],
)
def test_a_type_fits_all_values(values: list[Any], kind: str, options: dict[str, Any]) -> None:
    assert column(values)[:2] == (kind, options)


@pytest.mark.parametrize(
    ("name", "value", "format_"),
    [
        ("updated", 1767355200, "epoch_s"),
        ("ts", 1767355200000, "epoch_ms"),
        ("created_at", "1767355200000000", "epoch_us"),
        ("eventTime", 1767355200000000000, "epoch_ns"),
    ],
)
def test_a_number_is_a_moment_by_its_name_and_range(name: str, value: Any, format_: str) -> None:
    assert column([value], name)[:2] == ("timestamp", {"format": format_})


def test_a_number_in_range_is_no_moment_without_a_name_that_says_so() -> None:
    assert column([1767355200], "votes")[0] == "integer"


def test_few_values_are_named() -> None:
    assert column(["live", "done"] * 20)[2] == "values seen: done, live"


def test_nested_objects_become_columns_and_maps_with_data_as_keys_stay_json() -> None:
    maps = [
        {"id": f"k{n}", "teams": {"home": {"shortName": "a"}}, "odds": {f"key{n}{i}": 1 for i in range(9)}}
        for n in range(9)
    ]
    names = {found.name: found.type for found in proposed(maps).columns}
    assert names == {"id": "text", "teams_home_short_name": "text", "odds": "json"}


def test_columns_that_would_have_one_name_are_numbered() -> None:
    assert [
        found.name for found in proposed([{"a_b": 1, "a": {"b": 2}, "A B": 3, "$x": 4, "1": 5, "xmax": 6}]).columns
    ] == [
        "a_b",
        "a_b_2",
        "a_b_3",
        "x",
        "_1",
        "xmax_2",
    ]


def test_the_longest_list_of_objects_holds_the_records() -> None:
    page = {"meta": {"links": [{"rel": "next"}]}, "data": {"list": [{"id": str(n)} for n in range(5)]}}
    proposal = proposed(page)
    assert (proposal.found.path, proposal.total, proposal.table) == (("data", "list"), 5, "things")


def test_frames_of_several_kinds_are_told_apart() -> None:
    scores = [{"type": "score", "data": {"id": str(n), "home": n}} for n in range(3)]
    talk = [{"type": "heartbeat"}] * 50
    proposal = proposed(*talk, *scores)
    assert (proposal.found.where, proposal.total) == ("type == 'score'", 3)
    assert "not for heartbeat (50)" in proposal.found.notes[0]


def test_an_identifier_that_repeats_with_new_versions_is_the_key_alone() -> None:
    proposal = proposed([{"symbol": "ab"[n % 2], "price": 1.5, "ts": 1767355200000 + n} for n in range(10)])
    assert (proposal.key, proposal.version) == (("symbol",), "ts")
    assert "[symbol, ts]" in proposal.key_reason


def test_an_identifier_that_hardly_ever_lacks_is_still_the_key() -> None:
    records: list[dict[str, Any]] = [{"id": str(n), "n": n % 3} for n in range(400)]
    proposal = proposed([*records, {"n": 1}])
    assert proposal.key == ("id",)
    assert proposal.columns[0].notes == ["missing in 1 of 401, which will be refused"]
    assert proposed([*records[:20], {"n": 1}]).key != ("id",)


def test_twins_that_hardly_ever_lack_are_still_parts_of_the_key() -> None:
    pairs = [(f"h{home}", f"a{away}") for home in range(15) for away in range(15)]
    days = [{"day": day, "home": home, "away": away} for day in ("2026-01-01", "2026-01-02") for home, away in pairs]
    proposal = proposed([*days, {"day": "2026-01-03", "home": None, "away": None}])
    assert proposal.key == ("day", "home", "away")
    assert [found.options for found in proposal.columns] == [{}, {}, {}]
    assert proposal.columns[1].notes == ["missing in 1 of 451, which will be refused"]


@pytest.mark.parametrize(
    ("bad", "good", "kind"),
    [("a\0b", "ab", "text"), (Decimal("1E-20000"), Decimal("1.5"), "decimal"), (["\0"], [1, 2], "json")],
)
def test_what_no_type_can_hold_becomes_null_and_a_rare_one_is_for_the_quarantine(
    bad: Any, good: Any, kind: str
) -> None:
    records = [{"c": good}] * 300
    often = guess("c", walk([*records[:3], {"c": bad}])[0], textual=False)
    assert (often.type, often.options) == (kind, {"null": True, "on_invalid": "null"})
    assert often.note.startswith("1 of 4 have")
    rare = guess("c", walk([*records, {"c": bad}])[0], textual=False)
    assert (rare.type, rare.options) == (kind, {})
    assert rare.note.endswith("will be refused")


def test_a_counter_is_the_version_only_where_there_is_no_stamp() -> None:
    records = [{"id": str(n), "seq": n, "ts": f"2026-01-01T10:00:0{n}Z"} for n in range(9)]
    assert proposed(records).version == "ts"
    assert proposed([{"id": each["id"], "seq": each["seq"]} for each in records]).version == "seq"


def test_what_nothing_identifies_says_so() -> None:
    proposal = proposed([{"a": "x", "b": 1}] * 4)
    assert proposal.key == ("a", "b")
    assert "please choose" in proposal.key_reason
    assert proposed([{"a": None}] * 2).key == ("received_at",)


@pytest.mark.parametrize("text", ["yes", "null", "a: b", "12", "it's", "#x", "", "ü", 'say "a"', "a\nb", "- a", "60s"])
def test_a_scalar_reads_back_as_it_is(text: str) -> None:
    assert yaml.safe_load(f"k: {scalar(text)}") == {"k": text}
    assert yaml.safe_load(f"k: {{a: {scalar(text)}}}") == {"k": {"a": text}}


def test_odd_names_make_a_configuration_that_is_read(tmp_path: Path) -> None:
    odd = {"id": "a", "a.b": 1, "x y": "# no comment", "$feed": 2, "ключ": "ja", "select": True, "q'\"": 3, "": 4}
    text = write(proposed([odd, {**odd, "id": "b"}]), FEED)
    config = loads(text, str(tmp_path / "config.yaml"), {})
    assert list(config.tables["things"].columns)[:2] == ["id", "a_b"]
    assert config.feeds()["acme.things"][1].branches[0].map["feed"].from_ == ("$record.$feed",)


UNREADABLE = [rb'"\ud800"', b"[" * 5000 + b"]" * 5000, b"1e99999999999999999999", b'"\xff"']


@pytest.mark.parametrize("bad", UNREADABLE, ids=range(len(UNREADABLE)))
@pytest.mark.parametrize("around", [b"[%b]", b'{"meta": {"n": 1}, "items": [%b]}'])
def test_a_record_that_cannot_be_read_is_told_and_changes_nothing(around: bytes, bad: bytes) -> None:
    records = [b'{"id": %d, "v": 1.5}' % number for number in range(9)]
    whole, odd = (
        propose([Message(around % b", ".join(each), 0.0)], Json(), "things")
        for each in (records, [*records, b'{"id": 9, "v": %b}' % bad])
    )
    assert (odd.columns, odd.key, odd.total) == (whole.columns, whole.key, 9)
    assert (*whole.found.notes, "1 record cannot be read and will be refused") == odd.found.notes
    assert odd.found.path == whole.found.path


def test_a_name_that_no_path_can_be_written_to_is_told() -> None:
    proposal = proposed([{"id": 1, 'a"b': 2, "c": {"n\0": 3, "d": 4}}])
    assert [column.source for column in proposal.columns] == ["id", "c.d"]
    assert proposal.found.notes[-1].endswith('NUL character: a"b, c.n\0')
    assert "# left out" in write(proposal, FEED)


@pytest.mark.parametrize("document", [[], 3, {}])
def test_a_sample_without_records_is_refused(document: Any) -> None:
    with pytest.raises(FormatError, match="no object"):
        proposed(document)
