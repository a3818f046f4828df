"""Versions rise, poison is known by reason, and the oracle agrees with its own log."""

import json
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise

from service.demo.league import Event, League
from service.demo.oracle import Change, Oracle, Poison, row
from service.demo.render import POISON
from service.demo.season import OPENING

_NOON = datetime(2026, 8, 1, 12, tzinfo=UTC)


def _run(seed: int, events: int, poison: float = 0.0) -> tuple[League, Oracle, list[Event]]:
    oracle = Oracle()
    league = League(seed, poison, oracle, clock=lambda: _NOON)
    published = list(islice(league.events(), events))
    for event in published:
        league.publish(event.entry)
    return league, oracle, published


def test_the_same_seed_and_clock_give_the_same_frames() -> None:
    assert _run(5, 2000, 0.1)[2] == _run(5, 2000, 0.1)[2]


def test_versions_and_numbers_rise_strictly_even_when_the_clock_stands() -> None:
    _, oracle, _ = _run(5, 2000, 0.1)

    changes = [entry for entry in oracle.log if isinstance(entry, Change)]
    versions = [change.updated_at for change in changes]

    assert [entry.sequence for entry in oracle.log] == list(range(1, OPENING + 2001))
    assert all(later > earlier for earlier, later in pairwise(versions))
    assert versions[0] == _NOON
    assert versions[1] == _NOON + timedelta(microseconds=1)


def test_the_rows_are_what_replaying_the_log_gives() -> None:
    _, oracle, _ = _run(9, 3000, 0.05)

    replayed = {entry.match.id: row(entry) for entry in oracle.log if isinstance(entry, Change)}

    assert oracle.rows == replayed
    assert oracle.published == len(oracle.log) == OPENING + 3000


def test_poison_of_every_reason_is_counted_and_loses_no_state() -> None:
    _, oracle, events = _run(2, 4000, 0.05)
    clean = [event.entry.match for event in events if isinstance(event.entry, Change)]
    _, _, unspoilt = _run(2, len(clean))

    assert set(oracle.poison) == set(POISON)
    assert oracle.poison.total() == sum(isinstance(entry, Poison) for entry in oracle.log)
    assert 100 < oracle.poison.total() < 300
    assert clean == [event.entry.match for event in unspoilt if isinstance(event.entry, Change)]


def test_each_poison_is_spoilt_in_the_way_its_reason_says() -> None:
    _, oracle, _ = _run(2, 4000, 0.05)
    bodies = {entry.reason: entry.body for entry in oracle.log if isinstance(entry, Poison)}

    assert json.loads(bodies["home_score: max"])["data"]["h"] == 999
    assert json.loads(bodies["home_score: number"])["data"]["h"] == "three"
    assert "id" not in json.loads(bodies["match_id: required"])["data"]
    assert bodies["json: not decodable"].startswith(b'{"type":"score"')
    assert not bodies["json: not decodable"].endswith(b"}}")


def test_changed_gives_the_newest_states_above_a_version_in_order() -> None:
    league, oracle, _ = _run(4, 1000)
    everything = league.changed(None)
    middle = everything[200].updated_at

    assert {change.match.id: row(change) for change in everything} == oracle.rows
    assert everything == sorted(everything, key=lambda change: change.updated_at)
    assert league.changed(middle) == everything[201:]
    assert league.changed(everything[-1].updated_at) == []


def test_a_bounded_log_keeps_the_newest_entries_and_still_counts_all() -> None:
    oracle = Oracle(keep=10)
    League(1, 0.0, oracle)

    assert len(oracle.log) == 10
    assert oracle.log[-1].sequence == oracle.published == len(oracle.rows) == OPENING
