"""When somebody listened: the union over copies, the intersection over parts."""

from hypothesis import given
from hypothesis import strategies as st

from service.pipeline.coverage import Away, Back, Coverage


def test_a_connection_that_is_lost_was_heard_up_to_its_last_sign_of_life() -> None:
    coverage = Coverage(1, 1)
    assert coverage.begin(set()) == [Away(None)]
    assert coverage.confirmed(0, 0, 5.0) == [Back(5.0)]
    assert coverage.lost(0, 0, 8.0, resumes=False) == [Away(8.0)]
    assert coverage.lost(0, 0, None, resumes=False) == []  # an attempt that came to nothing
    assert coverage.confirmed(0, 0, 12.0) == [Back(12.0)]
    assert coverage.end({(0, 0): 20.0}, set()) == [Away(20.0)]


def test_a_part_with_another_copy_is_heard_unless_that_one_came_too_late() -> None:
    coverage = Coverage(1, 2)
    coverage.begin(set())
    coverage.confirmed(0, 0, 1.0)
    coverage.confirmed(0, 1, 2.0)
    assert coverage.lost(0, 0, 5.0, resumes=False) == []
    coverage.confirmed(0, 0, 9.0)
    # The second copy, too, had been dead since 4.0, which only shows now.
    assert coverage.lost(0, 1, 4.0, resumes=False) == [Away(5.0), Back(9.0)]
    assert coverage.lost(0, 0, 10.0, resumes=False) == [Away(10.0)]


def test_a_feed_is_heard_again_when_all_its_parts_are() -> None:
    coverage = Coverage(2, 1)
    coverage.begin(set())
    assert coverage.confirmed(0, 0, 1.0) == []
    assert coverage.confirmed(1, 0, 2.0) == [Back(2.0)]
    assert coverage.lost(0, 0, 5.0, resumes=False) == [Away(5.0)]
    assert coverage.lost(1, 0, 4.0, resumes=False) == [Away(4.0)]
    assert coverage.confirmed(0, 0, 6.0) == []
    assert coverage.confirmed(1, 0, 7.0) == [Back(7.0)]


def test_what_the_provider_resumes_is_no_gap_unless_it_refuses_to() -> None:
    coverage = Coverage(1, 1)
    assert coverage.begin({0}) == []
    assert coverage.confirmed(0, 0, 1.0) == [Back(1.0)]  # a gap that an earlier run left open ends here
    assert coverage.lost(0, 0, 5.0, resumes=True) == []
    assert coverage.confirmed(0, 0, 7.0) == []
    assert coverage.lost(0, 0, 8.0, resumes=True) == []
    coverage.confirmed(0, 0, 9.0)
    assert coverage.refused(0, 0) == [Away(8.0)]
    assert coverage.confirmed(0, 0, 11.0) == [Back(11.0)]
    assert coverage.end({(0, 0): 12.0}, {0}) == []


def test_resuming_does_not_bring_back_what_a_silent_subscription_missed() -> None:
    coverage = Coverage(1, 1)
    coverage.begin({0})
    coverage.confirmed(0, 0, 1.0)
    coverage.lost(0, 0, 4.0, resumes=True)
    coverage.confirmed(0, 0, 5.0)
    assert coverage.lost(0, 0, 7.0, resumes=True, stale=True) == [Away(7.0)]
    assert coverage.lost(0, 0, 9.0, resumes=True) == []
    assert coverage.confirmed(0, 0, 10.0) == [Back(10.0)]


def test_a_gap_of_an_earlier_run_ends_once_all_parts_are_heard_those_that_resume_included() -> None:
    coverage = Coverage(2, 1)
    assert coverage.begin({1}) == [Away(None)]
    assert coverage.confirmed(0, 0, 1.0) == []
    assert coverage.refused(1, 0) == [Away(None)]
    assert coverage.confirmed(1, 0, 3.0) == [Back(3.0)]
    assert coverage.confirmed(1, 0, 4.0) == []


@given(st.lists(st.tuples(st.integers(0, 1), st.floats(0.1, 5), st.floats(0, 1)), min_size=1, max_size=12))
def test_no_moment_that_no_copy_covered_is_taken_for_heard(spells: list[tuple[int, float, float]]) -> None:
    """Each copy listens, falls silent some time into its spell, and is found lost at the end of it."""
    coverage = Coverage(1, 2)
    coverage.begin(set())
    now, covered, gaps, start = [0.0, 0.5], [], list[tuple[float, float]](), None
    events = []
    for copy, length, part in spells:
        events.append((now[copy], 0, copy, now[copy]))
        events.append((now[copy] + length, 1, copy, now[copy] + length * part))
        covered.append((now[copy], now[copy] + length * part))
        now[copy] += length + 0.25
    last = 0.0
    for at, kind, copy, value in sorted(events):
        found = coverage.lost(0, copy, value, resumes=False) if kind else coverage.confirmed(0, copy, value)
        for mark in found:
            if isinstance(mark, Away):
                assert mark.since is not None
                start = mark.since if start is None else min(start, mark.since)
            elif start is not None:
                gaps.append((start, mark.at))
                start = None
        last = at
    if start is not None:
        gaps.append((start, last))
    first = min(begin for begin, _ in covered)
    for moment in [first + (last - first) * step / 97 for step in range(97)]:
        is_heard = any(begin <= moment <= end for begin, end in covered)
        assert is_heard or any(begin <= moment <= end for begin, end in gaps)
