from typing import Any

import pytest

from service.transform.transform import Mapped
from tests.unit.transform.making import make, run

COLUMNS = {
    "id": "text",
    "home_score": {"type": "integer", "min": 0, "max": 200, "null": True},
    "kickoff": "timestamp",
    "status": {"type": "text", "values": ["live"]},
}
MAP = {"id": "id", "home_score": "score.home", "kickoff": {"from": ["utcDate", "date"]}, "status": "status"}
GOOD = {"id": "1", "score": {"home": 1}, "utcDate": "2026-01-02T12:00:00Z", "status": "live"}


def judged(record: Any, columns: dict[str, Any] = COLUMNS, **table: Any) -> Mapped:
    return run(make(columns, MAP, table), record)


def test_a_refusal_names_column_path_value_rule_and_remedy() -> None:
    (refusal,) = judged({**GOOD, "score": {"home": 412}}).refusals
    assert refusal.reason == "home_score: max"
    assert refusal.detail == (
        "acme.scores, record 1: home_score (score.home): 412 is more than the maximum 200 [max]; "
        "raise tables.t.columns.home_score.max or correct the provider"
    )


def test_a_refusal_lists_every_fault_of_the_record() -> None:
    (refusal,) = judged({"id": "1", "score": {"home": "x"}, "status": "odd"}).refusals
    assert refusal.reason == "home_score: number"
    for part in (
        'home_score (score.home): "x" is not a number',
        "kickoff (utcDate or date) is missing",
        'status (status): "odd"',
    ):
        assert part in refusal.detail


def test_a_missing_value_says_where_the_path_ends_and_what_is_close() -> None:
    (refusal,) = judged({**GOOD, "utcDate": None, "utcdate": "2026-01-02T12:00:00Z", "dates": 1}).refusals
    assert refusal.reason == "kickoff: required"
    assert "(there is no 'date', but 'dates')" in refusal.detail
    assert "or tables.t.columns.kickoff.null: true" in refusal.detail


def test_a_long_value_is_shortened() -> None:
    (refusal,) = judged({**GOOD, "status": "x" * 10_000}).refusals
    assert len(refusal.detail) < 300
    assert "xxx…" in refusal.detail


def test_on_invalid_null_keeps_the_record_without_the_value() -> None:
    columns = {**COLUMNS, "home_score": {**COLUMNS["home_score"], "on_invalid": "null"}}  # type: ignore[dict-item]
    mapped = judged({**GOOD, "score": {"home": 412}}, columns)
    assert mapped.rows[0][1] is None
    assert mapped.refusals == []


def test_on_invalid_null_gives_the_default_where_there_is_one() -> None:
    columns = {**COLUMNS, "status": {"type": "text", "values": ["live"], "default": "live", "on_invalid": "null"}}
    assert judged({**GOOD, "status": "odd"}, columns).rows[0][3] == "live"


def test_on_invalid_null_cannot_empty_a_column_that_may_not_be_null() -> None:
    mapped = judged({**GOOD, "status": "odd", "score": {"home": 412}}, on_invalid="null")
    assert [refusal.reason for refusal in mapped.refusals] == ["status: values"]
    assert "home_score" not in mapped.refusals[0].detail


def test_on_invalid_drop_counts_the_record_as_filtered() -> None:
    mapped = judged({**GOOD, "score": {"home": 412}}, on_invalid="drop")
    assert (mapped.rows, mapped.refusals, mapped.filtered) == ([], [], 1)


def test_a_column_decides_before_its_table() -> None:
    columns = {**COLUMNS, "status": {"type": "text", "values": ["live"], "on_invalid": "quarantine"}}
    assert judged({**GOOD, "status": "odd"}, columns, on_invalid="drop").refusals[0].reason == "status: values"


@pytest.mark.parametrize("record", [GOOD, {**GOOD, "score": None}])
def test_a_good_record_is_never_judged(record: Any) -> None:
    assert judged(record).rows


def test_what_would_make_a_value_fit_a_model_is_said_of_the_model() -> None:
    mapped = run(make({"n": {"type": "integer", "max": 5}}, table={"model": "shop.models:Sale"}), {"n": 6})
    assert "[max]; raise shop.models:Sale.n.max or" in mapped.refusals[0].detail
