"""Folding: one winner a key, and every other row accounted for."""

from hypothesis import given
from hypothesis import strategies as st

from service.model import Row
from service.store.fold import Fold
from tests.store_feed import table

MATCHES = table("id", {"id": "text", "version": {"type": "integer", "null": True}, "score": "integer"}, "version")
BARE = table(["id", "version"], {"id": "text", "version": "integer", "score": "integer"})

ROWS = st.lists(
    st.tuples(st.sampled_from("abc"), st.one_of(st.none(), st.integers(0, 3)), st.integers(0, 1)), max_size=12
)


def test_rows_with_distinct_keys_are_passed_on_as_they_are() -> None:
    rows: list[Row] = [("a", 1, 0), ("b", 1, 0)]
    folded = Fold(MATCHES)(rows)
    assert folded.rows is rows
    assert [folded.origin(index) for index in range(2)] == [0, 1]


def test_of_equal_versions_the_last_wins_and_the_others_are_stale_or_duplicate() -> None:
    folded = Fold(MATCHES)([("a", 1, 7), ("a", 1, 5), ("a", 1, 7)])
    assert (folded.rows, folded.duplicate, folded.stale, folded.origin(0)) == ([("a", 1, 7)], 1, 1, 2)


def test_without_a_version_the_last_wins() -> None:
    folded = Fold(BARE)([("a", 1, 9), ("a", 1, 8), ("a", 2, 1)])
    assert folded.rows == [("a", 1, 8), ("a", 2, 1)]
    assert (folded.duplicate, folded.stale) == (0, 1)


@given(ROWS)
def test_every_row_wins_or_is_duplicate_or_stale(rows: list[Row]) -> None:
    folded = Fold(MATCHES)(rows)
    assert len(folded.rows) + folded.duplicate + folded.stale == len(rows)
    for index, winner in enumerate(folded.rows):
        assert rows[folded.origin(index)] is winner
        rivals = [(row[1] is not None, row[1] or 0, place) for place, row in enumerate(rows) if row[0] == winner[0]]
        assert max(rivals)[2] == folded.origin(index)
    same = sum(rows.count(winner) - 1 for winner in folded.rows)
    assert folded.duplicate == same
