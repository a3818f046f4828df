import json
from pathlib import Path

import pytest

from service.model import Message
from service.recording.event import VERSION, Header, arrived
from service.recording.writing import Writer
from tests.unit.cli.commands import CONFIG, headrace

CASES = """\
cases:
  - name: a goal
    feed: acme.polled
    input: {goals: [{id: a, when: {at: "2026-01-01T10:00:00Z"}, n: 1, price: "2.10"}]}
    rows: [{id: a, at: "2026-01-01T11:00:00+01:00", price: 2.1}]
  - name: too many
    feed: acme.polled
    file: many.json
    refused: [{reason: "n: max", detail: raise tables.goals}]
  - name: another kind of frame
    feed: acme.heard
    input: '{"kind": "pong"}'
    filtered: 1
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "config.yaml").write_text(CONFIG)
    (tmp_path / "cases.yaml").write_text(CASES)
    (tmp_path / "many.json").write_text('{"goals":[{"id":"b","when":{"at":"2026-01-01T10:00:00Z"},"n":12}]}')
    return tmp_path


def test_cases_that_hold_are_ticked_and_exit_0(folder: Path) -> None:
    code, out, err = headrace(folder, "test")
    assert (code, err) == (0, "")
    assert out == "✓ a goal\n✓ too many\n✓ another kind of frame\n3 cases, 0 failed\n"


def test_a_difference_names_row_and_column_and_shows_both(folder: Path) -> None:
    (folder / "cases.yaml").write_text(
        CASES.replace("price: 2.1}", "price: 2.2, prise: 1, n: x}").replace("id: a, at", "id: b, at")
    )
    code, out, _ = headrace(folder, "test")
    assert code == 1
    assert "    row 1, price\n      expected  2.2\n      found     2.10\n" in out
    assert "    row 1, id\n      expected  b\n      found     a\n" in out
    assert "no such column; there are id, at, n, price" in out
    assert "'x', which is not a number" in out
    assert out.endswith("3 cases, 1 failed\n")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('refused: [{reason: "n: max", detail: raise tables.goals}]', "rows: [{id: b}]", "found     0; "),
        ('reason: "n: max"', 'reason: "n: min"', "found     n: max: n (n): 12 is more than the maximum 9"),
        ("detail: raise tables.goals", "detail: other", "expected  …other…"),
        ("filtered: 1", "filtered: 2", "    filtered\n      expected  2\n      found     1\n"),
    ],
)
def test_each_kind_of_failure_is_told(folder: Path, old: str, new: str, said: str) -> None:
    assert old in CASES
    (folder / "cases.yaml").write_text(CASES.replace(old, new))
    code, out, _ = headrace(folder, "test")
    assert code == 1
    assert said in out


def test_a_deletion_is_expected_by_its_key(folder: Path) -> None:
    config = CONFIG.replace("records: goals,", "records: goals, delete_when: 'n == 1',")
    (folder / "config.yaml").write_text(config)
    (folder / "cases.yaml").write_text(
        CASES.replace("rows: [{id: a,", "deleted: [{id: a,").replace(", price: 2.1}", "}")
    )
    assert headrace(folder, "test").code == 0
    (folder / "cases.yaml").write_text(CASES)
    code, out, _ = headrace(folder, "test")
    assert code == 1
    assert "    deleted\n      expected  0\n      found     1\n" in out


def test_machines_get_the_differences_as_json(folder: Path) -> None:
    (folder / "cases").mkdir()
    (folder / "cases" / "more.yaml").write_text(
        CASES.replace("file: many.json", "file: ../many.json").replace("id: a, at", "id: z, at")
    )
    code, out, _ = headrace(folder, "test", "--json")
    found = json.loads(out)
    assert (code, found["cases"], found["failed"]) == (1, 6, 1)
    assert found["results"][3]["differences"] == [{"where": "row 1, id", "expected": "z", "found": "a"}]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("feed: acme.heard", "fed: acme.heard", "cases.yaml:11:5: cases[2].fed: unknown key"),
        ("feed: acme.heard", "feed: acme.herd", "did you mean acme.heard?"),
        ("many.json", "few.json", "few.json: No such file or directory"),
        ("    file: many.json\n", "", "either `input` or `file`"),
        ("cases:", "cases: [", "cases.yaml:"),
    ],
)
def test_cases_that_cannot_be_run_exit_2_with_their_place(folder: Path, old: str, new: str, said: str) -> None:
    (folder / "cases.yaml").write_text(CASES.replace(old, new))
    code, _, err = headrace(folder, "test")
    assert code == 2
    assert said in err
    assert "Traceback" not in err


def test_without_cases_it_says_where_they_go(folder: Path) -> None:
    (folder / "cases.yaml").unlink()
    code, _, err = headrace(folder, "test")
    assert (code, err) == (
        2,
        "headrace: there are no cases: write cases.yaml, or cases/*.yaml, beside the configuration\n",
    )


def test_a_case_of_a_delta_compares_what_the_record_carries(folder: Path) -> None:
    (folder / "config.yaml").write_text(CONFIG.replace("records: goals,", "records: goals, partial: true,"))
    (folder / "cases.yaml").write_text(CASES.replace(", n: 1", "").replace("price: 2.1}", "price: 2.1, n: null}"))
    code, out, _ = headrace(folder, "test")
    assert code == 1
    assert "    row 1, n\n      expected  null\n      found     not carried by the record\n" in out
    (folder / "cases.yaml").write_text(CASES.replace(", n: 1", ""))
    assert headrace(folder, "test").code == 0


def test_a_row_of_a_feed_with_routes_may_name_its_table(folder: Path) -> None:
    routes = "routes: [{where: 'n > 1', into: more, map: {id: id, n: n}}, {into: goals, map: {id: id, at: at, n: n}}]"
    (folder / "config.yaml").write_text(
        CONFIG.replace("tables:", "tables:\n  more: {key: id, columns: {id: text, n: integer}}")
        + f"      mixed: {{kind: websocket, url: 'ws://127.0.0.1:9', {routes}}}\n"
    )
    case = "cases: [{name: which, feed: acme.mixed, input: {id: a, n: 2}, rows: [{$table: TABLE, n: 2}]}]"
    (folder / "cases.yaml").write_text(case.replace("TABLE", "more"))
    assert headrace(folder, "test").code == 0
    (folder / "cases.yaml").write_text(case.replace("TABLE", "goals"))
    code, out, _ = headrace(folder, "test")
    assert (code, "    row 1, $table\n      expected  goals\n      found     more\n" in out) == (1, True)


def test_what_is_wrong_with_cases_names_the_place_and_what_was_meant(folder: Path) -> None:
    (folder / "cases.yaml").write_text(CASES.replace("filtered: 1", "filterd: 1"))
    code, _, err = headrace(folder, "test")
    assert (code, "cases[2].filterd: unknown key; did you mean 'filtered'?" in err) == (2, True)
    (folder / "cases.yaml").write_text(CASES.replace("feed: acme.heard", "feed: acme.herd"))
    code, _, err = headrace(folder, "test")
    assert (code, err.startswith("headrace: cases.yaml: another kind of frame: there is no feed 'acme.herd'")) == (
        2,
        True,
    )


def test_a_recording_keeps_its_parameters_and_those_of_the_case_come_first(folder: Path) -> None:
    config = CONFIG.replace("map: {id: id, at: when.at,", "map: {id: $params.who, at: when.at,")
    (folder / "config.yaml").write_text(config)
    body = b'{"goals":[{"id":"b","when":{"at":"2026-01-01T10:00:00Z"},"n":1}]}'
    with Writer(folder / "one.rec", Header(VERSION, "0.1.0", "acme.polled", 1.0)) as writer:
        writer.write([arrived(Message(body, 1.0, None, {"params": {"who": "recorded"}}), 1)])
    case = "cases: [{feed: acme.polled, file: one.rec, MORE rows: [{id: WHO}]}]"
    for more, who in (("", "recorded"), ("params: {who: told},", "told")):
        (folder / "cases.yaml").write_text(case.replace("MORE", more).replace("WHO", who))
        assert headrace(folder, "test").code == 0
