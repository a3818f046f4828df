"""What can be wrong with `sequence`, `on_gap` and `snapshot`, and that all of it is said with its place."""

import pytest

from service.config.describe import describe
from service.config.load import loads
from service.errors import ConfigError

TEXT = """\
database: {{url: "postgresql://h/d"}}
buffer: {{kind: {buffer}}}
tables:
  t: {{key: [s, id], {version}columns: {{s: text, id: text, v: integer}}}}
providers:
  acme:
    url: https://acme.example
    feeds:
      live: {{kind: websocket, url: "wss://acme.example", {live}into: t, map: {{s: s, id: id, v: v}}}}
      polled: {{kind: rest, {polled}into: t, map: {{s: s, id: id, v: v}}}}
  other:
    url: https://other.example
    feeds:
      theirs: {{kind: rest, into: t, map: {{s: s, id: id, v: v}}}}
"""


def problems(live: str = "", polled: str = "", version: str = "version: v, ") -> list[tuple[str, str]]:
    try:
        loads(TEXT.format(live=live, polled=polled, version=version, buffer="spool"), "config.yaml", {})
    except ConfigError as error:
        return [(problem.code, problem.path.removeprefix("providers.acme.feeds.")) for problem in error.problems]
    return []


REPAIR = "refetch: polled"
NARROW = 'refetch: polled, params: {k: "{gap.key}", from: "{gap.first}", to: "{gap.last}"}, number: a.b'


@pytest.mark.parametrize(
    "live",
    [
        "sequence: {field: seq}, ",
        f"sequence: {{field: seq, on_gap: {{{REPAIR}, after: 5s}}}}, ",
        f"sequence: {{first: U, last: u, key: s, on_gap: {{{NARROW}}}}}, ",
        'sequence: {field: u, previous: pu, epoch: e, reset_when: "a == 1", reset_below: 2, wraps_at: 9}, ',
        f"on_gap: {{{REPAIR}}}, ",
        "sequence: {field: n, key: s}, max_subscriptions: 5, ",
    ],
)
def test_sound_sequences_are_taken(live: str) -> None:
    assert problems(live) == []


@pytest.mark.parametrize(
    ("live", "code", "path"),
    [
        ("sequence: {}, ", "wrong-value", "live.sequence"),
        ("sequence: {field: a, first: b, last: c}, ", "wrong-value", "live.sequence"),
        ("sequence: {first: b}, ", "wrong-value", "live.sequence"),
        ("sequence: {first: b, last: c, previous: d}, ", "wrong-value", "live.sequence"),
        ("sequence: {field: a, wraps_at: 5, starts_at: 5}, ", "wrong-value", "live.sequence"),
        ("sequence: {field: a..b}, ", "wrong-path", "live.sequence.field"),
        ("sequence: {field: a, reset_when: a ==}, ", "wrong-expression", "live.sequence.reset_when"),
        ("sequence: {field: a, on_gap: {refetch: poled}}, ", "unknown-feed", "live.sequence.on_gap.refetch"),
        ("sequence: {field: a, on_gap: {refetch: theirs}}, ", "unknown-feed", "live.sequence.on_gap.refetch"),
        ("on_gap: {refetch: live}, ", "unknown-feed", "live.on_gap.refetch"),
        ("on_gap: {refetch: polled, number: a}, ", "wrong-value", "live.on_gap"),
        ("on_gap: {refetch: polled, params: {a: '{gap.key}'}}, ", "idle-option", "live.on_gap.params.a"),
        (
            "sequence: {field: a, on_gap: {refetch: polled, path: '/x/{gap.kex}'}}, ",
            "unknown-place",
            "live.sequence.on_gap.path",
        ),
        (f"sequence: {{field: a}}, on_gap: {{{REPAIR}}}, ", "wrong-value", "live"),
        ("sequence: {field: a}, when_full: conflate, ", "wrong-value", "live"),
        ("sequence: {field: a}, max_subscriptions: 5, ", "sequence-in-parts", "live.sequence"),
    ],
)
def test_what_is_wrong_with_a_sequence_is_said(live: str, code: str, path: str) -> None:
    assert problems(live) == [(code, path)]


def test_a_feed_that_is_simply_asked_again_has_no_gaps() -> None:
    assert problems(polled=f"on_gap: {{{REPAIR}}}, ") == [("wrong-value", "polled")]


@pytest.mark.parametrize(
    ("polled", "version", "found"),
    [
        ("snapshot: s, ", "version: v, ", []),
        ("snapshot: [s, id], ", "version: v, ", []),
        ("snapshot: s, ", "", [("option-of-other-mode", "polled.snapshot")]),
        ("snapshot: v, ", "version: v, ", [("unknown-column", "polled.snapshot")]),
        ("snapshot: s, incremental: {field: v, param: p}, ", "version: v, ", [("wrong-value", "polled")]),
    ],
)
def test_a_snapshot_is_of_columns_of_the_key_and_has_a_version(
    polled: str, version: str, found: list[tuple[str, str]]
) -> None:
    assert problems(polled=polled, version=version) == found


def test_a_snapshot_is_no_full_set() -> None:
    assert ("wrong-value", "polled") in problems(polled="snapshot: s, absent: delete, ")


def test_a_full_set_and_requests_for_some_of_it_do_not_go_together() -> None:
    live = f"sequence: {{field: a, on_gap: {{{NARROW}}}}}, "
    assert ("option-of-other-mode", "live.sequence.on_gap") in problems(live, "absent: delete, ")
    assert problems(live, "snapshot: s, ") == []


@pytest.mark.parametrize(
    ("live", "buffer", "guarantee", "said"),
    [
        ("", "spool", "best effort", "is never received; headrace.gaps says when"),
        ("sequence: {field: a}, ", "spool", "best effort", "nor is what its numbers show to be missing"),
        (f"on_gap: {{{REPAIR}}}, ", "spool", "at least once", "where we were away (headrace.gaps), polled is asked"),
        (f"sequence: {{field: a, on_gap: {{{REPAIR}}}}}, ", "spool", "at least once", "away or numbers are missing"),
        (f"on_gap: {{{REPAIR}}}, ", "memory", "at least once", "is lost in a crash makes a gap"),
    ],
)
def test_the_guarantee_says_who_makes_up_for_gaps(live: str, buffer: str, guarantee: str, said: str) -> None:
    config = loads(TEXT.format(live=live, polled="", version="version: v, ", buffer=buffer), "config.yaml", {})
    meaning = describe(config, 0).feeds[0]
    assert meaning.guarantee == guarantee
    assert said in meaning.loss
