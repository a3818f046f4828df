"""What bad rows cost the batch that they are in: a batch of 1,000 rows, clean and with ten bad ones.

It commits to the store as the loader does: rows that the database refuses are taken out, put into quarantine, and the
rest is committed. Clean batches run twice (A/A).

    python -m benchmarks.poison [--quick]
"""

import statistics
import time
from collections.abc import AsyncIterator, Sequence

from benchmarks.parts.database import Database
from benchmarks.parts.report import Section
from benchmarks.parts.script import main
from benchmarks.parts.work import Work
from service.config.settings import Database as Settings
from service.errors import RowRefused
from service.model import Commit, Counts, Refusal, Row
from service.store.store import Store
from service.store.write import Write

COLUMNS = ["batch of 1,000 rows", "commit (quartiles)", "against clean"]
FEED = "bench.poison"
ROWS, BAD = 1_000, 10
FORBIDDEN = 199
BODY = b"x" * 1_400


def refusal(reason: str) -> Refusal:
    """Give what goes to quarantine for a bad row."""
    return Refusal(FEED, "matches", reason, "a sentence about it", BODY, BODY, time.time())


def spoilt(rows: list[Row], work: Work, column: str, value: object) -> list[Row]:
    """Give every hundredth row a bad value."""
    place = work.names.index(column)
    step = ROWS // BAD
    return [
        (*row[:place], value, *row[place + 1 :]) if number % step == step // 2 else row
        for number, row in enumerate(rows)
    ]


class Committer:
    """Commits one batch after another, as the loader does."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._at: Commit | None = None
        self._sequence = 0

    async def commit(self, rows: Sequence[Row], refusals: Sequence[Refusal] = ()) -> float:
        """Commit; give the seconds that it took."""
        left, out = list(rows), list(refusals)
        first, self._sequence = self._sequence + 1, self._sequence + ROWS
        started = time.perf_counter()
        while True:
            counts = Counts(received=len(left) + len(out), quarantined=len(out))
            write = Write(FEED, {"matches": left}, out, self._at, "lane", first, self._sequence, None, counts)
            try:
                self._at, _, _ = await self._store.commit(write)
            except RowRefused as refused:
                for each in (refused, *refused.also):
                    del left[each.row]
                    out.append(refusal(each.reason))
            else:
                return time.perf_counter() - started


async def measure(base: Database, quick: bool) -> AsyncIterator[Section]:  # noqa: FBT001  as script.Measure has it
    """Measure all kinds of batch in turn, each time with new versions of new keys' rows."""
    rounds = 10 if quick else 40
    work = Work(ROWS * 5 * (rounds + 1))
    await base.fresh(work)
    await base.execute(f"ALTER TABLE matches ADD CHECK (home_score IS DISTINCT FROM {FORBIDDEN})")
    batches = (list(batch) for batch in work.batches(ROWS))
    times: dict[str, list[float]] = {}
    async with Store(Settings(), {"matches": work.table}, base.url) as store:
        await store.prepare()
        committer = Committer(store)
        for _ in range(rounds + 1):
            mapping = [refusal("home_score: max")] * BAD
            cases: dict[str, tuple[Sequence[Row], Sequence[Refusal]]] = {
                "clean": (next(batches), ()),
                "10 refused by the map": (next(batches)[BAD:], mapping),
                "10 refused by COPY (NUL in a text)": (spoilt(next(batches), work, "home", "a\0b"), ()),
                "10 refused by a CHECK": (spoilt(next(batches), work, "home_score", FORBIDDEN), ()),
                "clean again (A/A)": (next(batches), ()),
            }
            for name, (rows, refusals) in cases.items():
                times.setdefault(name, []).append(await committer.commit(rows, refusals))
    clean = statistics.median(times["clean"][1:])
    yield Section(
        name="poison",
        columns=COLUMNS,
        rows=[_line(name, taken[1:], clean) for name, taken in times.items()],
        about=f"Commits to the store, {rounds} interleaved rounds after one to warm up; {work.live:,} live keys.",
    )


def _line(name: str, taken: list[float], clean: float) -> list[str]:
    low, middle, high = statistics.quantiles(taken, n=4)
    return [name, f"{1000 * middle:.1f} ms ({1000 * low:.1f}..{1000 * high:.1f})", f"{middle / clean:.2f}"]


if __name__ == "__main__":
    main(measure, __doc__)
