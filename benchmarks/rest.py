"""From REST to upserted rows: Headrace beside a good script and the tools that people use for it.

Every contestant polls the same pages once, made beforehand, and merges them into a table with the same live keys. The
clock starts at the first request, so that starting a program costs nothing.

    python -m benchmarks.rest [--quick]
"""

import sys
from collections.abc import AsyncIterator, Sequence

from benchmarks.load import line
from benchmarks.parts.contest import ROOT, Contestant, Failed, Run, median
from benchmarks.parts.database import Database
from benchmarks.parts.frames import csv_file, json_pages
from benchmarks.parts.headrace import headrace, knows_csv
from benchmarks.parts.peers import Peer, dlt, peer, singer, sling
from benchmarks.parts.providers import Pages
from benchmarks.parts.report import Section
from benchmarks.parts.script import Once, interleaved, main, once
from benchmarks.parts.work import Work

COLUMNS = ["contestant", "rows/s (min..max)", "CPU us/row", "PostgreSQL CPU us/row"]


def script() -> Contestant:
    """Give the script of ours."""
    command = [sys.executable, str(ROOT / "benchmarks" / "peers" / "rest_script.py")]
    return Contestant(lambda place: [*command, place.url, f"http://127.0.0.1:{place.port}/json/1"])


async def with_peers(
    contestants: dict[str, Once], peers: dict[str, Peer], provider: Pages, work: Work, base: Database
) -> list[str]:
    """Add the peers that can be installed; return a note about each that cannot."""
    notes = []
    for name, one in peers.items():
        try:
            contestants[name] = await peer(one, provider, work, base)
        except Failed as failure:
            notes.append(f"{name} is left out: {failure}")
    return notes


def section(name: str, about: str, runs: dict[str, list[Run]], notes: Sequence[str]) -> Section:
    """Make the table."""
    return Section(
        name=name,
        columns=COLUMNS,
        rows=[line(contestant, done, None) for contestant, done in runs.items()],
        about=about,
        notes=notes,
        series={contestant: median(done, lambda run: run.rate) for contestant, done in runs.items()},
    )


async def measure(base: Database, quick: bool) -> AsyncIterator[Section]:  # noqa: FBT001  as script.Measure has it
    """Measure JSON, then CSV."""
    work, rounds = Work(10_000 if quick else 100_000), 2 if quick else 3
    sizes = f"{work.messages:,} records, {work.live:,} live keys, medians of {rounds} interleaved rounds."
    provider = Pages(json_pages(work))
    contestants = {
        "headrace, spool": once(headrace(work, source="json"), provider, work, base),
        "headrace, memory": once(headrace(work, source="json", buffer="memory"), provider, work, base),
        "good script": once(script(), provider, work, base),
    }
    peers = {"dlt, delete-insert": dlt("delete-insert"), "dlt, upsert": dlt("upsert"), "Singer": singer()}
    notes = await with_peers(contestants, peers, provider, work, base)
    contestants["headrace, spool again (A/A)"] = contestants["headrace, spool"]
    runs, failed = await interleaved(contestants, rounds)
    yield section("rest-json", f"Pages of 500 JSON records of {work.size:,} B; {sizes}", runs, [*notes, *failed])

    provider = Pages(csv_file(work))
    contestants, notes = {}, []
    if knows_csv(work):
        contestants["headrace, spool"] = once(headrace(work, source="csv"), provider, work, base)
    else:
        notes = ["Headrace is left out: this version does not read CSV."]
    notes += await with_peers(contestants, {"sling": sling()}, provider, work, base)
    runs, failed = await interleaved(contestants, rounds)
    yield section("rest-csv", f"One CSV file over HTTP; {sizes}", runs, [*notes, *failed])


if __name__ == "__main__":
    main(measure, __doc__)
