import pytest

from service.config.describe import describe, size
from service.config.load import loads
from service.config.settings import Config

TEXT = """\
database: {{url: "postgresql://user:hunter2@db.example:6432/sport", schema: live}}
buffer: {{kind: {buffer}, max_bytes: 1GiB}}
tables:
  goals: {{key: [id, at], version: at, columns: {{id: text, at: timestamp, n: integer}}}}
  cards: {{key: id, columns: {{id: text}}}}
providers:
  acme:
    url: https://acme.example
    feeds:
      polled: {{kind: rest, into: cards, map: {{id: id}}}}
      heard: {{kind: websocket, url: "wss://acme.example", into: goals, map: {{id: a, at: b, n: c}}}}
"""


def read(buffer: str) -> Config:
    return loads(TEXT.format(buffer=buffer), "config.yaml", {})


@pytest.mark.parametrize(
    ("buffer", "feed", "guarantee", "loss"),
    [
        ("spool", 0, "exactly once", "goes on from the committed position"),
        ("memory", 0, "exactly once", "goes on from the committed position"),
        ("spool", 1, "best effort", "while the connection is down is never received"),
        ("memory", 1, "best effort", "loses what was received"),
    ],
)
def test_each_feed_has_its_guarantee_and_what_can_be_lost(buffer: str, feed: int, guarantee: str, loss: str) -> None:
    meaning = describe(read(buffer), 8 << 20).feeds[feed]
    assert meaning.guarantee == guarantee
    assert loss in meaning.loss


def test_tables_are_described_with_key_and_version() -> None:
    goals, cards = describe(read("spool"), 0).tables
    assert (goals.name, goals.key, goals.version, goals.columns) == ("goals", ("id", "at"), "at", 3)
    assert cards.version is None


def test_a_buffer_in_memory_counts_as_memory() -> None:
    assert describe(read("spool"), 8 << 20).memory_bytes == 16 << 20
    assert describe(read("memory"), 8 << 20).memory_bytes == (1 << 30) + (16 << 20)


def test_the_database_is_named_without_its_password() -> None:
    assert describe(read("spool"), 0).database == "PostgreSQL at db.example:6432/sport, schema live"


@pytest.mark.parametrize(("count", "text"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (2 << 30, "2 GiB")])
def test_sizes_are_written_as_people_do(count: int, text: str) -> None:
    assert size(count) == text


PARTIAL = """\
tables:
  goals: {key: id, version: at, columns: {id: text, at: timestamp, n: integer, side: {type: text, default: home}}}
  cards: {key: id, mode: update, columns: {id: text, n: integer}}
providers:
  acme:
    url: https://acme.example
    feeds:
      lacking: {kind: rest, partial: true, into: goals, map: {id: id, at: at, side: s}}
      able: {kind: rest, partial: true, wait_for_row: 0s, into: goals, map: {id: id, at: at, n: n}}
      only: {kind: rest, routes: [{into: cards, partial: true, map: {id: id, n: n}}]}
"""


def test_it_is_said_what_deltas_mean_for_a_feed() -> None:
    lacking, able, only = describe(loads(PARTIAL, "config.yaml", {}), 0).feeds
    assert lacking.partial[0] == (
        "Partial: only the columns that a record carries are written, and the newest at wins for each of them."
    )
    assert lacking.partial[1] == (
        "A record whose row does not exist cannot make one, without n; "
        "it waits 30 s for it and then goes to quarantine."
    )
    assert able.partial[1:] == (
        "A record whose row does not exist makes one if it carries id, at, n; else it goes to quarantine.",
    )
    (said,) = only.partial
    assert said.startswith(
        "Partial in cards: only the columns that a record carries are written, and what arrived last"
    )


BREAKERS = """\
tables: {goals: {key: id, columns: {id: text}}}
providers:
  acme:
    url: https://acme.example
    feeds:
      usual: {kind: rest, into: goals, map: {id: id}}
      other: {kind: rest, breaker: 200, into: goals, map: {id: id}}
      never: {kind: rest, breaker: off, into: goals, map: {id: id}}
"""


def test_it_is_said_what_parks_a_feed() -> None:
    said = [feed.breaker for feed in describe(loads(BREAKERS, "config.yaml", {}), 0).feeds]
    assert said[0] == "Parks once more than half of its last 1000 records are refused, until corrected or resumed."
    assert "of its last 200 records" in said[1]
    assert said[2] == "Is not parked, however many of its records are refused: `breaker: off`."
