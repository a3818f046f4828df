"""What can go wrong, and who acts on it.

HeadraceError
 |-- ConfigError       the configuration is wrong: every problem at once, exit 2, before any socket opens
 |-- StartError        something outside forbids the start (port, spool, rights): one sentence, exit 1
 |-- SourceLost        network, 5xx, 429, closed socket: the feed backs off and goes on for ever
 |    |-- AnswerIgnored   an answer that a rule says to ignore: the source goes on with what comes next
 |    `-- PageInstead     a web page in place of data: as SourceLost, and the page goes to quarantine
 |-- SourceRefused     401, 403, 404, refused subscription: the feed parks at the ceiling delay, and says why
 |    |-- NothingThere    404, 410: for one row of many (`for_each`) the others go on
 |    |-- TokenRefused    the token has ended: the provider's client fetches a new one and asks again, once
 |    `-- WalkRefused     a page cannot be asked for: the walk through the pages starts anew, once
 |-- FormatError       bytes that do not decode: quarantine, with the raw bytes
 |-- StoreLost         the database is away or asks for patience: the same batch again, for ever
 |-- RowRefused        the database refused one row: that row to quarantine, the others again
 |-- TableRefused      a table is missing, changed or forbidden: its feeds park in the buffer until it heals
 |-- PositionTaken     somebody else moved this feed's position: two daemons run one feed
 `-- EntriesTaken      somebody else settled these entries of the quarantine: read them again

Anything else is a bug: the daemon drains and exits 1 with the traceback.
"""

from dataclasses import dataclass


class HeadraceError(Exception):
    """The root of every error that Headrace raises on purpose."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong in the configuration, in the words of the user's own file.

    Attributes:
        code: stable name of the kind of problem, such as ``unknown-key``.
        path: where in the document, dotted, such as ``providers.acme.feeds.scores.every``.
        message: what is wrong and, where possible, what to do.
        file: the file's name as the user gave it.
        line: 1-based; 0 when the problem has no place in the file (a file that cannot be read).
        column: 1-based; 0 as for line.
        suggestion: the close name that was probably meant, or None.
    """

    code: str
    path: str
    message: str
    file: str = ""
    line: int = 0
    column: int = 0
    suggestion: str | None = None

    def __str__(self) -> str:
        """Give the problem as one line: ``file:line:column: path: message [code]``."""
        place = f"{self.file}:{self.line}:{self.column}: " if self.line else f"{self.file}: "
        path = f"{self.path}: " if self.path else ""
        hint = f"; did you mean {self.suggestion!r}?" if self.suggestion else ""
        return f"{place}{path}{self.message}{hint} [{self.code}]"


class ConfigError(HeadraceError):
    """The configuration cannot be used; ``problems`` holds all that was found, in file order."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


class StartError(HeadraceError):
    """The daemon cannot start; the message is one clear sentence with what to do."""


class SourceLost(HeadraceError):
    """The provider cannot be reached or asked us to wait.

    Args:
        reason: one phrase for the status page, without secrets.
        retry_after: seconds that the provider asked us to wait, if it did.
    """

    def __init__(self, reason: str, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after = retry_after


class SourceRefused(HeadraceError):
    """The provider will not serve us as we are configured; asking again soon will not help."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class AnswerIgnored(SourceLost):
    """The answer is one that a rule of the configuration says to ignore: there is nothing in it for us."""


class PageInstead(SourceLost):
    """A web page came in place of data.

    Args:
        reason: as for SourceLost.
        page: its beginning.
    """

    def __init__(self, reason: str, page: bytes) -> None:
        super().__init__(reason)
        self.page = page


class NothingThere(SourceRefused):
    """The provider has nothing at the address that was asked for, and no rule says what follows from that."""


class TokenRefused(SourceRefused):
    """The provider does not accept the token, or has none for us."""


class WalkRefused(SourceRefused):
    """The page that was asked for cannot be had; the first one can."""


class FormatError(HeadraceError):
    """The bytes of a message are not what the format says."""


class StoreLost(HeadraceError):
    """The database is away, shutting down, out of room, read-only or in conflict: try again later."""


class RowRefused(HeadraceError):
    """The database refused a row.

    Args:
        table: name of the table.
        row: index of the row in the list that was handed to the store.
        reason: short and stable, to group by: ``home_score: not_null_violation``.
        detail: what the database said, in a sentence; it may quote values of the row.
        columns: whose values are to blame, as far as they are known.

    Attributes:
        also: other rows of the same write that were found to be refused. In the order of this error and then these,
            each row can be taken out of its list by its index: later rows come first.
    """

    def __init__(self, table: str, row: int, reason: str, detail: str, columns: tuple[str, ...] = ()) -> None:
        super().__init__(f"{table}: {detail}")
        self.also: tuple[RowRefused, ...] = ()
        self.table = table
        self.row = row
        self.reason = reason
        self.detail = detail
        self.columns = columns


class RowMissing(RowRefused):
    """A delta has no row, cannot make one, and may not wait for one."""


class TableRefused(HeadraceError):
    """A table does not exist, has other columns than configured, or may not be written."""


class PositionTaken(HeadraceError):
    """The committed position of a feed is not the one this daemon left there."""


class RowsTouched(HeadraceError):
    """Somebody else wrote rows in a feed's name since its last batch: a backfill, or a replay of its quarantine.

    Args:
        feed: ``provider.feed``.
        written: as in Commit, now.
    """

    def __init__(self, feed: str, written: int) -> None:
        super().__init__(f"{feed}: a backfill or a replay wrote rows of it")
        self.written = written


class EntriesTaken(HeadraceError):
    """Entries of the quarantine were settled meanwhile by somebody else."""
