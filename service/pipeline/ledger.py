"""The ledger: what became of every record of a feed."""

from service.model import Commit, Counts


class Ledger:
    """The account of one feed: what is committed, from the database, and what is on its way.

    ``received = loaded + unchanged + stale + duplicate + filtered + quarantined + in_flight`` holds at every moment:
    the committed part was written in the same transaction as the rows, and records on their way are counted apart.

    Attributes:
        committed: since the feed's first message, over all runs.
        in_flight: records that are decoded but not committed.
        waiting: records that wait in the database for their row.
        tables: by table, since this process started.
        last_commit_at: seconds since the epoch, or None.
    """

    def __init__(self) -> None:
        self.committed = Counts()
        self.in_flight = 0
        self.waiting = 0
        self.session = Counts()
        self.tables: dict[str, Counts] = {}
        self.last_commit_at: float | None = None

    def open(self, commit: Commit | None) -> None:
        """Begin with what the database says."""
        if commit is not None:
            self.committed = commit.counts
            self.waiting = commit.waiting

    def decoded(self, records: int) -> None:
        """Note records that left the buffer."""
        self.in_flight += records

    def settle(self, commit: Commit, counts: Counts, tables: dict[str, Counts], received: int, at: float) -> None:
        """Note a committed batch of ``received`` records."""
        self.in_flight -= received
        self.open(commit)
        self.session.add(counts)
        self.last_commit_at = at
        for table, rows in tables.items():
            self.tables.setdefault(table, Counts()).add(rows)

    def account(self) -> dict[str, int]:
        """Give the ledger in the words of ``/status``."""
        counts, in_flight = self.committed, self.in_flight + self.waiting
        return {
            "received": counts.received + in_flight,
            "loaded": counts.loaded,
            "unchanged": counts.unchanged,
            "stale": counts.stale,
            "duplicate": counts.duplicate,
            "filtered": counts.filtered,
            "quarantined": counts.quarantined,
            "in_flight": in_flight,
        }
