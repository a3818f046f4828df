"""Histograms of a feed's batches, in plain integers until somebody asks."""

from bisect import bisect_left
from collections.abc import Sequence

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 300.0)
ROWS = (1.0, 10.0, 100.0, 500.0, 1000.0, 2500.0, 5000.0, 10000.0)


class Histogram:
    """Counts observations by upper bound, as Prometheus wants them."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def buckets(self) -> list[tuple[str, float]]:
        """Give the cumulative counts by upper bound; the last is ``+Inf``."""
        total = 0
        result: list[tuple[str, float]] = []
        for bound, count in zip([*map(str, self.bounds), "+Inf"], self.counts, strict=True):
            total += count
            result.append((bound, total))
        return result


class Timings:
    """How large a feed's batches are, how long a commit takes, and how old the oldest message of a batch is then."""

    def __init__(self) -> None:
        self.rows = Histogram(ROWS)
        self.seconds = Histogram(SECONDS)
        self.end_to_end = Histogram(SECONDS)

    def batch(self, rows: int, seconds: float, age: float) -> None:
        """Note one committed batch: its rows, the seconds of its transaction, the age of its oldest message."""
        self.rows.observe(rows)
        self.seconds.observe(seconds)
        self.end_to_end.observe(age)
