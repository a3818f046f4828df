"""From a WebSocket to upserted rows: Headrace beside the limit of the same server and scripts written by hand.

All contestants meet the same table with live keys and the same messages: four of five update a live key, one adds a
new one; 1.4 KB, 12 columns. PostgreSQL runs with fsync on. The limit runs twice (A/A), so that the noise can be seen.

    python -m benchmarks.load [--quick]
"""

import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

from benchmarks.parts.contest import ROOT, Contestant, Run, median
from benchmarks.parts.database import Database
from benchmarks.parts.frames import frames
from benchmarks.parts.headrace import headrace
from benchmarks.parts.limit import limit
from benchmarks.parts.providers import Sockets
from benchmarks.parts.report import Section
from benchmarks.parts.script import Once, interleaved, main, once
from benchmarks.parts.work import Work

COLUMNS = ["contestant", "rows/s (min..max)", "of the limit", "CPU us/row", "PostgreSQL CPU us/row"]
SLOWER = 20
"""The plain script gets a part of the messages: it would take minutes."""


def by_hand(name: str) -> Contestant:
    """Give a script of ours as a contestant."""
    script = str(ROOT / "benchmarks" / "peers" / f"{name}.py")
    return Contestant(lambda place: [sys.executable, script, place.url, str(place.port)])


def line(name: str, runs: Sequence[Run], best: float | None) -> list[str]:
    """Give the row of a table."""
    rates = [run.rate for run in runs]
    rate = median(runs, lambda run: run.rate)
    return [
        name,
        f"{rate:,.0f} ({min(rates):,.0f}..{max(rates):,.0f})",
        *([f"{rate / best:.2f}"] if best is not None else []),
        f"{median(runs, lambda run: run.cpu / run.messages) * 1e6:.1f}",
        f"{median(runs, lambda run: run.postgres / run.messages) * 1e6:.1f}",
    ]


async def measure(base: Database, quick: bool) -> AsyncIterator[Section]:  # noqa: FBT001  as script.Measure has it
    """Measure."""
    work, rounds = Work(20_000 if quick else 300_000), 3 if quick else 5
    few = replace(work, messages=work.messages // SLOWER)
    sender, short = Sockets(frames(work)), Sockets(frames(few))

    async def bare() -> Run:
        await base.fresh(work)
        return await limit(work, base)

    contestants: dict[str, Once] = {
        "limit": bare,
        "headrace, spool": once(headrace(work), sender, work, base),
        "headrace, memory": once(headrace(work, buffer="memory"), sender, work, base),
        "good script": once(by_hand("good_script"), sender, work, base),
        "plain script, row by row": once(by_hand("plain_script"), short, few, base),
        "limit again (A/A)": bare,
    }
    runs, notes = await interleaved(contestants, rounds)
    best = median(runs["limit"], lambda run: run.rate)
    yield Section(
        name="load",
        columns=COLUMNS,
        rows=[line(name, done, best) for name, done in runs.items()],
        about=f"{work.messages:,} messages of {work.size:,} B (the plain script {few.messages:,}), {work.live:,} live"
        f" keys, medians of {rounds} interleaved rounds.",
        notes=notes,
        series={name: median(done, lambda run: run.rate) for name, done in runs.items() if "A/A" not in name},
    )


if __name__ == "__main__":
    main(measure, __doc__)
