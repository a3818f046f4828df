"""A rehearsal: what would become of the records of a recording, counted; nothing is loaded."""

from collections import Counter
from collections.abc import Iterable, Sequence

from service.model import Message
from service.transform.transform import Transform
from service.workbench.trial import tried


class Rehearsal:
    """Counts.

    Attributes:
        messages: how many there were.
        records: how many of them came out how: loads, deletes, refused or filtered.
        tables: records that load or delete, by table.
        reasons: records that are refused, by reason.
    """

    def __init__(self) -> None:
        self.messages = 0
        self.records: Counter[str] = Counter()
        self.tables: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()

    async def run(self, transform: Transform, groups: Iterable[Sequence[Message]]) -> None:
        """Try all messages, a group at a time.

        Raises:
            FormatError: the recording is damaged; what lies before the damage is counted.
        """
        for group in groups:
            self.messages += len(group)
            for trial in await tried(transform, group):
                self.records[trial.outcome] += 1
                if trial.verdict.row is not None:
                    self.tables[str(trial.verdict.table)] += 1
                elif trial.verdict.reason:
                    self.reasons[trial.verdict.reason] += 1
