"""How cost grows: with the number of feeds, the columns, the live keys, the size of a message.

One thing changes at a time. The base (1 feed, 12 columns, 200,000 live keys, 1.4 KB) stands in three of the groups:
what differs between those is noise.

    python -m benchmarks.growth [--quick]
"""

from collections.abc import AsyncIterator
from dataclasses import replace

from benchmarks.parts.contest import Run, median
from benchmarks.parts.database import Database
from benchmarks.parts.frames import frames
from benchmarks.parts.headrace import headrace
from benchmarks.parts.providers import Sockets
from benchmarks.parts.report import Section
from benchmarks.parts.script import interleaved, main, once
from benchmarks.parts.work import Work

COLUMNS = ["what grows", "rows/s", "MB/s", "CPU us/row", "PostgreSQL CPU us/row", "start", "peak memory"]

SMALLEST = 250
"""Bytes of the smallest message that fills twelve columns."""


def variants(base: Work, *, quick: bool) -> dict[str, Work]:
    """Give the works, by what a reader calls them."""
    grown: dict[str, Work] = {}
    for feeds in (1, 20, 200):
        grown[f"{feeds} feed{'s' * (feeds > 1)}"] = replace(base, feeds=feeds)
    for columns in (12, 50, 100):
        grown[f"{columns} columns"] = replace(base, columns=columns, size=2800)
    for live in (1_000, 200_000, 1_000_000, *(() if quick else (10_000_000,))):
        grown[f"{live:,} live keys"] = replace(base, live=live)
    for size, part in ((SMALLEST, 1), (1_400, 1), (16_000, 4)):
        grown[f"{size:,} B a message"] = replace(base, size=size, messages=base.messages // part)
    return grown


def line(name: str, work: Work, runs: list[Run], size: float) -> list[str]:
    """Give the row of a table; ``size`` is of a message, in bytes, as it was sent."""
    rate = median(runs, lambda run: run.rate)
    return [
        name,
        f"{rate:,.0f}",
        f"{rate * size / 1e6:.0f}",
        f"{median(runs, lambda run: run.cpu) / work.messages * 1e6:.1f}",
        f"{median(runs, lambda run: run.postgres) / work.messages * 1e6:.1f}",
        f"{median(runs, lambda run: run.startup):.1f} s",
        f"{median(runs, lambda run: run.peak):.0f} MiB",
    ]


async def measure(base: Database, quick: bool) -> AsyncIterator[Section]:  # noqa: FBT001  as script.Measure has it
    """Measure one variant after the other: their frames would not fit into memory together."""
    common, rounds = Work(20_000 if quick else 60_000), 1 if quick else 3
    rows, notes = [], []
    for name, work in variants(common, quick=quick).items():
        made = frames(work)
        size = sum(len(frame) for feed in made for frame in feed) / work.messages
        provider = Sockets(made)
        runs, failed = await interleaved({name: once(headrace(work), provider, work, base)}, rounds)
        notes += failed
        if name in runs:
            rows.append(line(name, work, runs[name], size))
        if work.live > common.live:
            await base.forget(work)
    turns = f"medians of {rounds} rounds" if rounds > 1 else "one round"
    yield Section(
        name="growth",
        columns=COLUMNS,
        rows=rows,
        about=f"Headrace with the spool, {common.messages:,} messages (16 KB: a quarter), {turns};"
        " the tables with 12 to 100 columns get messages of 2,800 B. Start: from the start of the process until all"
        " feeds have subscribed.",
        notes=notes,
    )


if __name__ == "__main__":
    main(measure, __doc__)
