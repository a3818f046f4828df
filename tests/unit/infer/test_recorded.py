"""What is proposed for real recorded payloads is a configuration that loads them."""

import gzip
import re
from pathlib import Path
from typing import Any, cast

import pytest

from service.config.connectors import discover
from service.config.load import load
from service.errors import FormatError
from service.formats import Format
from service.infer.proposal import Proposal, propose
from service.infer.writing import Feed, write
from service.model import Message
from service.transform.transform import Piece, Transform
from service.workbench.detect import format_of
from service.workbench.sample import read_bytes

FEEDS = Path("/work/shared/feeds")
RECORDED = sorted(
    path
    for part in (
        "football/*.json",
        "football/poll/[0-9]*.json",
        "quakes/*.json",
        "results/poll/0[126].csv.gz",
        "json/test_parsing/[iy]_number_*.json",
        "json/test_parsing/y_string_null_escape.json",
        "live/*.gz",
    )
    for path in FEEDS.glob(part)
)
FRAME = re.compile(rb"[\d.]+: (.*)")
FEED = Feed("acme", "recorded", {"url": "https://acme.example"}, {"kind": "rest", "path": "/x", "every": "60s"})

pytestmark = pytest.mark.skipif(not RECORDED, reason="the recorded payloads are not here")


def messages_of(path: Path) -> list[Message]:
    if path.parent.name != "live":
        return [Message(read_bytes(path), 0.0)]
    lines = gzip.decompress(path.read_bytes()).splitlines()  # frames with their time; what the client sent has its URL
    return [Message(frame[1], 0.0) for line in lines if (frame := FRAME.fullmatch(line))]


def decoder_of(path: Path) -> Format:
    kind = "json" if path.parent.name == "live" else format_of(b"", path.name)
    if kind not in discover("service.formats"):
        pytest.skip(f"there is no format {kind} yet")
    return cast("Format", discover("service.formats")[kind]())


def reload(proposal: Proposal, tmp_path: Path) -> Transform:
    """Write the proposal, read it back as a configuration, and make the feed's transform."""
    file = tmp_path / "config.yaml"
    file.write_text(write(proposal, FEED))
    config = load(file, {})
    return Transform("acme.recorded", config.feeds()["acme.recorded"][1], config.tables)


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: "-".join(path.parts[4:]))
def test_a_proposal_loads_at_least_99_percent_of_what_it_was_made_from(path: Path, tmp_path: Path) -> None:
    messages, decoder = messages_of(path), decoder_of(path)
    try:
        proposal = propose(messages, decoder, "recorded")
    except FormatError:
        assert path.stem in {"03", "i_number_huge_exp"}  # that is no JSON, or a number that nobody can read
        return
    transform = reload(proposal, tmp_path)
    rows, refused = [], 0
    for message in messages:
        mapped = transform.map([Piece(message, transform.read(message))])
        rows += mapped.rows
        refused += len(mapped.refusals)
    assert len(rows) >= 0.99 * proposal.total
    assert refused <= 0.01 * len(rows)
    columns = [column.name for column in proposal.columns]
    key = [columns.index(name) for name in proposal.key]
    if proposal.version is None and "nothing identifies" not in proposal.key_reason:
        assert len({tuple(row[index] for index in key) for row in rows}) >= 0.99 * len(rows)


@pytest.mark.parametrize("state", range(1, 12))
def test_a_proposal_from_one_state_of_a_season_loads_the_next_states(state: int, tmp_path: Path) -> None:
    season = [FEEDS / "football" / "poll" / f"{number:02}.json" for number in range(state, 13) if number != 3]
    first, *later = [Message(path.read_bytes(), 0.0) for path in season]
    transform = reload(propose([first], decoder_of(season[0]), "season"), tmp_path)
    for message in later:
        mapped = transform.map([Piece(message, transform.read(message))])
        assert len(mapped.refusals) <= 0.01 * len(mapped.rows)


def proposed(path: str) -> Proposal:
    return propose(messages_of(FEEDS / path), decoder_of(FEEDS / path), "recorded")


def types(proposal: Proposal) -> dict[str, Any]:
    return {column.name: (column.type, column.options) for column in proposal.columns}


def test_quakes_have_an_id_a_version_and_times_in_milliseconds() -> None:
    proposal = proposed("quakes/2.5_week.json")
    assert (proposal.table, proposal.key, proposal.version) == ("features", ("id",), "properties_updated")
    assert types(proposal)["properties_time"] == ("timestamp", {"format": "epoch_ms"})
    assert types(proposal)["properties_mag"] == ("decimal", {})
    assert types(proposal)["geometry_coordinates"] == ("json", {})


def test_matches_are_told_apart_by_their_teams_not_by_a_date_that_moves() -> None:
    proposal = proposed("football/de.1.json")
    assert (proposal.key, proposal.version) == (("team1", "team2"), None)
    assert types(proposal)["date"] == ("date", {})
    assert types(proposal)["status"] == ("text", {"null": True})


def test_of_a_capture_the_data_is_taken_and_the_talk_is_not() -> None:
    proposal = proposed("live/BITSTAMP.ws.1.0.gz")
    assert proposal.found.where == "event == 'data'"
    assert (proposal.key, proposal.version) == (("channel",), "data_microtimestamp")
    assert proposed("live/KRAKEN.ws.49.0.gz").found.single
