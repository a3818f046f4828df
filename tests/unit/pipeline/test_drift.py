"""Drift: what is told of records that change, and which are set aside."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from service.model import Message
from service.pipeline.drift import LEARN, MAX_FIELDS, MAX_FINDINGS, MAX_NAME, SAMPLE, Drift
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


def test_however_long_a_name_is_little_of_it_is_kept_and_told() -> None:
    drift, name = watching(), "password" + "x" * 100_000
    with capture_logs() as logs:
        for _ in range(3):
            drift.look({**RECORD, name: 1, f"{'y' * 1000}.token": "secret"})
    (first, second) = drift.status()
    assert (first["field"], first["count"], first["sample"]) == (f"{name[:MAX_NAME]}…", 3, '"***"')
    assert second["sample"] == '"***"'
    assert all(len(str(line)) < 1000 for line in logs)


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


def test_the_first_records_are_all_looked_at_whether_in_one_message_or_in_many() -> None:
    for sizes in ([LEARN], [1] * LEARN, [7] * 15):
        drift = Drift("acme.scores", PATHS, is_strict=False, clock=lambda: 0.0)
        for size in sizes:
            assert drift.is_due()
            drift.sample([RECORD] * size)
        assert drift._looked_at == LEARN
        assert not drift.is_due()


def test_later_ten_are_looked_at_in_a_second_across_one_message_or_many() -> None:
    now = [0.0]
    drift = Drift("acme.scores", PATHS, is_strict=False, clock=lambda: now[0])
    assert drift.is_due()
    drift.sample([RECORD] * LEARN)
    for sizes, looked_at in (([1] * 30, 10), ([99], 10), ([4] * 30, 10), ([0] * 30, 0)):
        now[0] += 1
        before = drift._looked_at
        for size in sizes:
            if drift.is_due():
                drift.sample([RECORD] * size)
        assert drift._looked_at - before == looked_at
        assert not drift.is_due()


def test_a_long_message_uses_up_the_second() -> None:
    now = [0.0]
    drift = Drift("acme.scores", PATHS, is_strict=False, clock=lambda: now[0])
    assert drift.is_due()
    drift.sample([RECORD], 10 << 20)
    assert not drift.is_due()
    now[0] = 1.0
    assert drift.is_due()


def test_the_sample_of_a_secret_is_not_shown() -> None:
    drift = watching()
    drift.look({**RECORD, "auth": {"api_key": "s3cr3t"}, "url": "https://u:s3cr3t@host/"})
    assert "s3cr3t" not in str(drift.status())


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
