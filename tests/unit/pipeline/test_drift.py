"""Drift: what is told of records that change, and which are set aside."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from service.model import Message
from service.pipeline.drift import LEARN, MAX_FIELDS, MAX_FINDINGS, SAMPLE, Drift
from service.transform.transform import Piece

PATHS = [("id",), ("score", "home"), ("legs", 0, "at")]
RECORD = {"id": "a", "score": {"home": 1, "away": 2}, "legs": [{"at": "x"}], "note": None}


def watching(*, is_strict: bool = False, paths: Any = PATHS, clock: Any = lambda: 0.0) -> Drift:
    drift = Drift("acme.scores", paths, is_strict=is_strict, clock=clock)
    for _ in range(LEARN):
        assert drift.look(RECORD) == []
    assert drift.status() == []
    return drift


def told(drift: Drift) -> dict[str, tuple[str, int]]:
    return {finding.field: (finding.what, finding.count) for finding in drift.findings.values()}


def test_a_new_field_is_told_once_and_counted() -> None:
    drift = watching()
    with capture_logs() as logs:
        for _ in range(3):
            drift.look({**RECORD, "var": {"minute": 3}})
    assert told(drift) == {"var": ("new", 3), "var.minute": ("new", 3)}
    assert [line["field"] for line in logs] == ["var", "var.minute"]
    assert drift.findings["var.minute", "new"].sample == "3"


def test_a_field_that_changes_its_type_is_told_null_is_no_type() -> None:
    drift = watching()
    assert drift.look({**RECORD, "score": {"home": "1"}}) == ["score.home is text, which was a number before"]
    drift.look({**RECORD, "score": {"home": None}})
    assert told(drift) == {"score.home": ("type", 1)}


def test_a_field_that_nobody_maps_may_change_its_type() -> None:
    drift = watching()
    drift.look({**RECORD, "score": {"home": 1, "away": "2"}})
    assert told(drift) == {}


def test_a_field_that_stays_away_is_told_in_time() -> None:
    drift = watching()
    gone = {**RECORD, "id": None}
    for _ in range(5 * SAMPLE):
        assert drift.look(gone) == []
    assert drift.look(gone) == ["id is missing from 51 records in a row"]
    assert told(drift) == {"id": ("gone", 1)}


def test_an_optional_field_may_stay_away_as_long_as_it_is_used_to() -> None:
    drift = Drift("acme.scores", [("id",)], is_strict=False)
    for number in range(1000):
        drift.look({"id": 1} if number % 90 == 0 else {})
    assert told(drift) == {}


def test_a_path_through_a_list_is_followed() -> None:
    drift = watching()
    assert drift.look({**RECORD, "legs": [{"at": 5}]}) == ["legs[0].at is a number, which was text before"]


def test_without_paths_all_fields_are_watched_that_were_there_at_first() -> None:
    drift = watching(paths=[])
    assert drift.look({**RECORD, "score": {"home": 1, "away": "2"}}) == [
        "score.away is text, which was a number before"
    ]


def test_records_that_drift_are_set_aside_and_the_others_keep_their_numbers() -> None:
    drift = watching(is_strict=True)
    message = Message(b"", 0.0)
    records = [RECORD, {**RECORD, "id": 5}, RECORD, {"id": "b"}, {**RECORD, "more": 1}]
    applied = drift.apply([Piece(message, records, 10)])
    assert [(failure.index, failure.reason) for failure in applied.failures] == [
        (11, "drift: field changed"),
        (13, "drift: field changed"),
    ]
    assert "id is a number, which was text before" in applied.failures[0].detail
    assert "score.home is missing, which every record had before" in applied.failures[1].detail
    assert (applied.pieces[0].records, applied.pieces[0].numbers) == ([RECORD, RECORD, records[4]], [10, 12, 14])


def test_samples_are_taken_once_a_second_and_across_the_message() -> None:
    now = [0.0]
    drift = Drift("acme.scores", PATHS, is_strict=False, clock=lambda: now[0])
    due = []
    for tenth in range(30):
        now[0] = tenth / 10
        due += [tenth] if drift.is_due() else []
    assert due == [0, 10, 20]
    drift.sample([RECORD] * 99 + [{**RECORD, "last": 1}])
    assert drift._looked_at == SAMPLE


@given(st.lists(st.dictionaries(st.text(max_size=3), st.integers() | st.none() | st.text(max_size=2)), max_size=30))
def test_whatever_comes_is_looked_at(records: Any) -> None:
    drift = Drift("acme.scores", PATHS, is_strict=True)
    for record in records:
        drift.look(record)


def test_what_is_remembered_is_bounded() -> None:
    drift = watching()
    for number in range(3 * MAX_FIELDS):
        drift.look({**RECORD, f"key-{number}": number})
    assert len(drift._fields) == MAX_FIELDS
    assert len(drift.findings) == MAX_FINDINGS


def test_no_field_of_a_delta_is_missed_and_another_type_still_is() -> None:
    for is_strict in (False, True):
        drift = Drift("acme.scores", PATHS, is_strict=is_strict, is_sparse=True)
        for _ in range(LEARN):
            drift.look(RECORD)
        for _ in range(100 * SAMPLE):
            assert drift.look({"id": "a"}) == []
        assert drift.look({"score": {"home": "one"}}) == ["score.home is text, which was a number before"]
