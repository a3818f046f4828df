"""What every benchmark's command line shares."""

import argparse
import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from tempfile import mkdtemp

from benchmarks.parts.contest import Contestant, Failed, Run, contest
from benchmarks.parts.database import Database, database
from benchmarks.parts.providers import Provider
from benchmarks.parts.report import Section, keep
from benchmarks.parts.work import Work

Measure = Callable[[Database, bool], AsyncIterator[Section]]
Once = Callable[[], Awaitable[Run]]


async def measured(measure: Measure, *, quick: bool) -> None:
    """Measure with a PostgreSQL of its own, and keep each table as soon as it is there."""
    async with database() as base:
        async for section in measure(base, quick):
            keep(section, quick=quick)


def main(measure: Measure, about: str | None) -> None:
    """Run a benchmark by its name."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes: a minute or so")
    asyncio.run(measured(measure, quick=parser.parse_args().quick))


def once(contestant: Contestant, provider: Provider, work: Work, base: Database) -> Once:
    """Prepare a run of a contestant on a fresh database."""

    async def run() -> Run:
        await base.fresh(work)
        return await contest(contestant, provider, work, base, Path(mkdtemp(dir=base.folder)))

    return run


async def interleaved(contestants: dict[str, Once], rounds: int) -> tuple[dict[str, list[Run]], list[str]]:
    """Run all in turn, several times, so that a slow minute of the machine hits them alike.

    Returns:
        Their runs, and a note about each that failed and is left out from then on.
    """
    runs: dict[str, list[Run]] = {name: [] for name in contestants}
    failed: dict[str, str] = {}
    for _ in range(rounds):
        for name, run in contestants.items():
            if name not in failed:
                try:
                    runs[name].append(await run())
                except Failed as failure:
                    failed[name] = f"{name} failed: {str(failure).strip().splitlines()[-1][:200]}"
                    print(f"{name} failed: {failure}", flush=True)
    return {name: done for name, done in runs.items() if name not in failed}, [*failed.values()]
