"""The example config.yaml maps both simulated feeds to exactly the rows and refusals that the oracle knows."""

import time
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from service.config.load import load
from service.config.settings import Config
from service.demo.league import League
from service.demo.oracle import Change, Oracle, Poison
from service.demo.render import encode, rest_match, score
from service.errors import FormatError
from service.model import Message, Refusal
from service.transform.transform import Piece, Transform


@pytest.fixture
def config() -> Config:
    return load(Path(__file__).parents[3] / "config.yaml", {})


def _transform(config: Config, feed: str) -> Transform:
    return Transform(feed, config.feeds()[feed][1], config.tables)


def _rows(config: Config, transform: Transform, body: bytes) -> list[dict[str, Any]]:
    message = Message(body, time.time())
    mapped = transform.map([Piece(message, transform.decode(message))])
    assert mapped.refusals == []
    return [dict(zip(config.tables["matches"].columns, values, strict=True)) for values in mapped.rows]


def test_rest_and_websocket_give_the_rows_of_the_oracle(config: Config) -> None:
    oracle = Oracle()
    league = League(1, 0.0, oracle)
    for event in islice(league.events(), 4000):
        league.publish(event.entry)
    changes = league.changed(None)

    matches = [rest_match(change.match, change.updated_at) for change in changes]
    fixtures = _rows(config, _transform(config, "acme.fixtures"), encode({"matches": matches}))
    scores = _transform(config, "acme.scores")
    live = [
        row
        for change in changes
        for row in _rows(config, scores, encode(score(change.sequence, change.match, change.updated_at)))
    ]

    expected = [oracle.rows[change.match.id] for change in changes]
    assert fixtures == expected
    assert live == expected
    assert [str(row["odds_home"]) for row in live] == [str(row["odds_home"]) for row in expected]


def test_poison_is_refused_for_the_reason_the_oracle_names(config: Config) -> None:
    oracle = Oracle()
    league = League(1, 0.1, oracle)
    for event in islice(league.events(), 1000):
        league.publish(event.entry)
    transform = _transform(config, "acme.scores")

    def refuse(poison: Poison) -> Refusal:
        message = Message(poison.body, time.time())
        try:
            (refusal,) = transform.map([Piece(message, transform.decode(message))]).refusals
        except FormatError as error:
            return transform.undecodable(message, error)
        return refusal

    poisons = [entry for entry in oracle.log if not isinstance(entry, Change)]
    assert [refuse(poison).reason for poison in poisons] == [poison.reason for poison in poisons]
    assert len(oracle.poison) == 4
