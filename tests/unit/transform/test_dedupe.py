"""The window: what it leaves out changes nothing, and it forgets in time."""

from decimal import Decimal
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from service.config.tables import Table
from service.config.units import Window as Bounds
from service.model import Row
from service.store.fold import Fold
from service.transform.dedupe import Window
from service.transform.transform import Mapped

COLUMNS = {"id": "text", "at": {"type": "integer", "null": True}, "price": {"type": "decimal", "null": True}}
PLAIN = Table.model_validate({"key": "id", "columns": COLUMNS})
VERSIONED = Table.model_validate({"key": "id", "columns": COLUMNS, "version": "at"})


def sifted(window: Window, *rows: Row) -> list[Row]:
    repeats = window.sift(Mapped(list(rows), [0], [], 0, [], [("t", index) for index in range(len(rows))]))
    return [row for number, row in enumerate(rows) if number not in repeats]


def test_a_row_that_repeats_the_latest_of_its_key_is_left_out() -> None:
    window = Window(Bounds(100, None), {"t": PLAIN})
    rows = [("a", 1, None), ("b", 1, None), ("a", 1, None), ("a", 2, None)]
    assert sifted(window, *rows) == [("a", 1, None), ("b", 1, None), ("a", 2, None)]
    assert sifted(window, ("a", 2, None), ("b", 2, None)) == [("b", 2, None)]


def test_what_comes_back_after_something_else_is_news() -> None:
    window = Window(Bounds(100, None), {"t": PLAIN})
    rows = [("a", 1, None), ("a", 2, None), ("a", 1, None)]
    assert sifted(window, *rows) == rows


def test_a_row_that_the_database_refused_is_news_again() -> None:
    window = Window(Bounds(100, None), {"t": PLAIN})
    sifted(window, ("a", 1, None))
    window.forget("t", ("a", 1, None))
    assert sifted(window, ("a", 1, None)) == [("a", 1, None)]


def test_a_row_that_never_changes_goes_to_the_database_again_in_time() -> None:
    now = [0.0]
    window = Window(Bounds(100, 10.0), {"t": PLAIN}, lambda: now[0])
    passed = []
    for second in range(100):
        now[0] = float(second)
        passed += [second] * len(sifted(window, ("a", 1, None)))
    assert all(later - earlier <= 10 for earlier, later in pairwise(passed))
    assert 10 <= len(passed) <= 21


def test_after_a_pause_all_is_forgotten() -> None:
    now = [0.0]
    window = Window(Bounds(100, 10.0), {"t": PLAIN}, lambda: now[0])
    sifted(window, ("a", 1, None))
    now[0] = 10.0
    assert sifted(window, ("a", 1, None)) == [("a", 1, None)]


def test_no_more_keys_are_remembered_than_the_bound_and_a_slice() -> None:
    window = Window(Bounds(100, None), {"t": PLAIN})
    for start in range(0, 2000, 10):
        sifted(window, *((str(number), 1, None) for number in range(start, start + 10)))
    assert len(window._young) + len(window._old) <= 110


KEYS, VERSIONS = st.sampled_from("ab"), st.none() | st.integers(0, 2)
ROWS = st.tuples(KEYS, VERSIONS, st.sampled_from([None, 1, 2]))
BATCHES = st.lists(st.lists(ROWS, max_size=8), max_size=8)


def loaded(table: Table, batches: list[list[Row]]) -> dict[str, Row]:
    """Load batches as the store does: each folded, then row by row unless it is older than what is there."""
    fold, rows = Fold(table), dict[str, Row]()
    for batch in batches:
        for row in fold(batch).rows:
            there = rows.get(row[0])
            if there is None or not fold._older(row, there):
                rows[row[0]] = row
    return rows


@given(BATCHES, st.sampled_from([PLAIN, VERSIONED]), st.integers(1, 6))
def test_the_table_ends_as_it_would_without_the_window(batches: Any, table: Table, keys: int) -> None:
    window = Window(Bounds(keys, None), {"t": table})
    fewer = [sifted(window, *batch) for batch in batches]
    assert loaded(table, fewer) == loaded(table, batches)


def test_numbers_that_are_equal_but_not_the_same_are_told_apart() -> None:
    window = Window(Bounds(100, None), {"t": PLAIN})
    rows = [("a", 1, Decimal("1.5")), ("a", 1, Decimal("1.50"))]
    assert sifted(window, *rows) == rows
