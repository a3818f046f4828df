"""The story of a key: which of its records won, by the rules of the store."""

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from service.config.tables import Table
from service.store.deltas import Delta, Merging
from service.store.fold import Fold
from service.store.kept import Kept, Wait
from service.workbench.story import Story
from service.workbench.trace import Outcome, Trace

COLUMNS = {"id": "text", "at": {"type": "integer", "null": True}, "n": "integer", "x": {"type": "json", "null": True}}
VERSIONED = Table.model_validate({"key": "id", "version": "at", "columns": COLUMNS})
PLAIN = Table.model_validate({"key": "id", "columns": COLUMNS})


def row(at: int | None, n: int = 0, x: str | None = None) -> dict[str, Any]:
    return {"id": "a", "at": at, "n": n, "x": x}


def trace(when: float, at: int | None, n: int = 0, outcome: Outcome = "won", **more: Any) -> Trace:
    return Trace(when, "buffer", "acme.f", 0, outcome, b"%r" % when, "", row(at, n), **more)


def outcomes(story: Story) -> list[str]:
    return [each.outcome for each in story.traces]


versions = st.none() | st.integers(0, 3)


@given(st.lists(st.tuples(versions, st.integers(0, 2)), min_size=1, max_size=8), st.sampled_from([VERSIONED, PLAIN]))
def test_the_row_that_the_store_would_leave_is_explained_by_the_record_that_it_came_from(
    records: list[tuple[int | None, int]], table: Table
) -> None:
    left = Fold(table)([tuple(row(at, n).values()) for at, n in records]).rows[-1]
    final = dict(zip(COLUMNS, left, strict=True))
    story = Story(table, Kept([final]), [trace(when, at, n) for when, (at, n) in enumerate(records)])
    (winner,) = [each for each in story.traces if each.outcome == "won"]
    assert winner.row == final
    assert story.conclusion().startswith("The row is what record 1 of acme.f ")
    for each in story.traces:
        if each.outcome == "stale":
            assert each.row is not None
            assert final["at"] is not None
            assert each.row["at"] is None or each.row["at"] < final["at"]


def test_json_with_other_digits_or_order_is_the_same() -> None:
    made = Trace(1, "buffer", "acme.f", 0, "won", b"", "", row(1, x='{"a":2.10,"b":1}'))
    assert outcomes(Story(VERSIONED, Kept([row(1, x='{"b": 1, "a": 2.1}')]), [made])) == ["won"]


def test_a_record_that_is_found_twice_counts_once_and_another_at_the_same_moment_does_not() -> None:
    first, again, other = trace(1, 1), trace(1, 1), trace(1, 2)
    other.raw = b"other"
    assert outcomes(Story(VERSIONED, Kept([row(2)]), [first, again, other])) == ["replaced", "won"]


def test_a_newer_row_that_nobody_remembers_makes_what_is_known_stale() -> None:
    story = Story(VERSIONED, Kept([row(9)]), [trace(1, 5)])
    assert [(each.outcome, each.because) for each in story.traces] == [("stale", "version 5 < 9 of the row")]
    assert story.conclusion().startswith("The row, of version 9, was made by a record that is not known here")
    assert story.conclusion().endswith(". 1 record was older.")


def test_a_deletion_wins_until_a_newer_record_comes() -> None:
    gone = trace(2, 2, deletes=True)
    assert outcomes(Story(VERSIONED, Kept([]), [trace(1, 1), gone, trace(3, 1)])) == ["replaced", "deleted", "stale"]
    gone = trace(2, 2, deletes=True)
    assert outcomes(Story(VERSIONED, Kept([row(3)]), [gone, trace(3, 3)])) == ["replaced", "won"]


def test_each_record_of_an_append_table_is_a_row() -> None:
    table = Table.model_validate({"mode": "append", "key": "id", "columns": COLUMNS})
    story = Story(table, Kept([row(1), row(1)]), [trace(1, 1), trace(2, 1)])
    assert outcomes(story) == ["added", "added"]
    assert story.conclusion() == "Every record is a row of its own: there are 2."


def test_a_table_that_is_only_updated_gets_no_row() -> None:
    table = Table.model_validate({"mode": "update", "key": "id", "columns": COLUMNS})
    assert outcomes(Story(table, Kept([]), [trace(1, 1)])) == ["filtered"]


def test_why_there_is_no_row_is_told_by_the_latest_that_could_have_made_one() -> None:
    refused = trace(1, 1, outcome="refused")
    refused.because = "n is too large"
    story = Story(VERSIONED, Kept([]), [refused])
    assert story.conclusion().startswith("There is no row: what came for it was refused: record 1 of acme.f at ")
    assert story.conclusion().endswith(": n is too large.")
    assert Story(VERSIONED, Kept([]), []).is_empty


def test_a_difference_in_a_secret_is_told_without_it() -> None:
    table = Table.model_validate({"key": "id", "columns": {"id": "text", "api_key": "text"}})
    made = Trace(1, "buffer", "acme.f", 0, "won", b"", "", {"id": "a", "api_key": "old"})
    story = Story(table, Kept([{"id": "a", "api_key": "new"}]), [made])
    assert story.traces[0].because == "the row differs: api_key is another"


deltas = st.tuples(st.integers(0, 3), st.none() | st.integers(0, 2), st.none() | st.sampled_from(["1", "2"]))


@given(st.lists(deltas, min_size=1, max_size=8))
def test_each_column_is_explained_by_the_newest_delta_that_carried_it(
    sent: list[tuple[int, int | None, str | None]],
) -> None:
    rows = [tuple(row(at, n or 0, x).values()) for at, n, x in sent]
    flags = [0b0011 | (n is not None) << 2 | (x is not None) << 3 for _, n, x in sent]
    merging = Merging(VERSIONED)
    merged = merging.merge(
        [Delta(each, carried, place) for place, (each, carried) in enumerate(zip(rows, flags, strict=True))]
    )
    final = dict(zip(COLUMNS, merged.row, strict=True))
    traces = []
    for when, (each, carried) in enumerate(zip(rows, flags, strict=True)):
        held = {name: value for n, (name, value) in enumerate(zip(COLUMNS, each, strict=True)) if carried >> n & 1}
        traces.append(Trace(when, "buffer", "acme.f", 0, "won", b"%d" % when, "", held))
    names = list(COLUMNS)
    versions = {names[number]: version for number, version in merged.versions.items()}
    story = Story(VERSIONED, Kept([final], versions=versions), traces, partial=True)
    explained: dict[str, Any] = {}
    for winner in story.traces:
        if winner.outcome == "won":
            assert winner.row is not None
            part = winner.because.partition(" of those that carry ")[2]
            explained |= {name: winner.row[name] for name in (part.split(", ") if part else winner.row)}
    assert {name: explained[name] for name in explained if name != "id"} == {
        name: final[name] for n, name in enumerate(COLUMNS) if merged.carried >> n & 1 and name != "id"
    }


def delta(when: float, **held: Any) -> Trace:
    return Trace(when, "buffer", "acme.f", 0, "won", b"%r" % when, "", {"id": "a", **held})


def test_an_older_delta_supplies_the_column_that_no_newer_one_carries() -> None:
    kept = Kept([row(2, 7, "1")], versions={"x": 1})
    story = Story(VERSIONED, kept, [delta(1, at=2, n=7), delta(2, at=1, x="1")], partial=True)
    assert [(each.outcome, each.because) for each in story.traces] == [
        ("won", "version 2 is the newest of those that carry at, n"),
        ("won", "version 1 is the newest of those that carry x"),
    ]
    assert story.conclusion().startswith("The row was made column by column: at, n by record 1 of acme.f at ")
    assert "; x by record 1 of acme.f at " in story.conclusion()


def test_what_a_delta_does_not_carry_is_no_difference_and_is_said_to_be_unknown() -> None:
    story = Story(VERSIONED, Kept([row(2, 7, "1")]), [delta(1, at=2, n=7)], partial=True)
    assert outcomes(story) == ["won"]
    assert story.conclusion().endswith("; x by none that is known here.")


def test_a_delta_whose_columns_a_newer_one_took_is_replaced_and_an_older_one_is_stale() -> None:
    sent = [delta(1, at=2, n=7), delta(2, at=3, n=8), delta(3, at=1, n=9)]
    story = Story(VERSIONED, Kept([row(3, 8)]), sent, partial=True)
    assert outcomes(story) == ["replaced", "won", "stale"]


def test_of_a_delta_that_an_unknown_record_outdid_only_what_is_still_in_the_row_counts() -> None:
    sent = [delta(1, at=2, n=7, x="1"), delta(2, at=3, n=6)]
    story = Story(VERSIONED, Kept([row(9, 5, "1")], versions={"x": 2}), sent, partial=True)
    assert outcomes(story) == ["won", "stale"]
    assert story.traces[0].because == "version 2 is the newest of those that carry x"


def test_a_column_of_the_same_value_but_another_version_is_not_of_this_delta() -> None:
    kept = Kept([row(9, 5, "1")], versions={"n": 4, "x": 2})
    story = Story(VERSIONED, kept, [delta(1, at=3, n=5), delta(2, at=2, x="1")], partial=True)
    assert [(each.outcome, each.because) for each in story.traces] == [
        ("stale", "version 3 < those of the row's columns: at 9, n 4"),
        ("won", "version 2 is the newest of those that carry x"),
    ]
    assert "; at, n by none that is known here" in story.conclusion()


def test_a_delta_in_the_waiting_room_waits_though_its_message_is_loaded() -> None:
    sent, moment = delta(1, at=2, n=7), datetime.fromtimestamp(1, UTC)
    wait = Wait(3, "acme.f", 0, {"id": "a", "at": 2, "n": 7}, sent.raw, moment, moment + timedelta(minutes=1))
    story = Story(VERSIONED, Kept([], waiting=[wait]), [sent], partial=True)
    assert [(each.place, each.outcome) for each in story.traces] == [("waiting 3", "waiting")]
    assert story.traces[0].because.startswith("for its row, until 1970-01-01 00:01:01")
    assert story.conclusion().startswith("There is no row: what came for it waits: record 1 of acme.f at ")


def test_after_a_deletion_a_delta_begins_anew() -> None:
    gone = trace(2, 2, deletes=True)
    sent = [delta(1, at=1, n=7), gone, delta(3, at=1, x="2"), delta(4, at=3, x="1")]
    story = Story(VERSIONED, Kept([row(3, 0, "1")]), sent, partial=True)
    assert outcomes(story) == ["replaced", "replaced", "stale", "won"]
