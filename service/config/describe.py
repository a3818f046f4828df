"""What a configuration means: what each feed guarantees and can lose, where rows go, memory."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from service.config.feeds import FeedSettings
from service.config.foreach import ForEach
from service.config.pace import Exceeded, exceeded
from service.config.settings import BufferSettings, Config
from service.config.tables import Mode

Guarantee = Literal["exactly once", "at least once", "best effort"]


@dataclass(frozen=True, slots=True)
class FeedMeaning:
    """What a feed does.

    Attributes:
        name: ``provider.feed``.
        kind: of its source.
        table: that its rows go to; of several, their names after one another.
        guarantee: how often a message takes effect in the worst case, once it was received.
        loss: one sentence on what can be lost, and when.
        calls: one sentence on the rows that it calls for; empty where it calls for none.
        deletes: one sentence for each way in which it deletes or marks rows.
        partial: what deltas mean for it, in sentences; none where its records are whole rows.
        breaker: one sentence on what parks it.
    """

    name: str
    kind: str
    table: str
    guarantee: Guarantee
    loss: str
    calls: str
    deletes: tuple[str, ...]
    partial: tuple[str, ...]
    breaker: str


@dataclass(frozen=True, slots=True)
class TableMeaning:
    """What a table is.

    Attributes:
        name: of the table.
        key: the columns that identify a row.
        mode: upsert, append or update.
        version: the column that says which of two is newer; None when the last to arrive wins.
        history: whether every version is kept.
        columns: their number.
    """

    name: str
    mode: Mode
    key: tuple[str, ...]
    version: str | None
    history: bool
    columns: int


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a configuration does.

    Attributes:
        database: where rows go, without credentials.
        buffer: what holds messages until they are loaded.
        feeds: in the order of the file.
        tables: in the order of the file.
        limits: rate limits of providers that their feeds exceed.
        memory_bytes: the most that all queues hold in memory at once, besides the rows of the batches.
    """

    database: str
    buffer: str
    feeds: tuple[FeedMeaning, ...]
    tables: tuple[TableMeaning, ...]
    limits: tuple[Exceeded, ...]
    memory_bytes: int


def describe(config: Config, inlet_bytes: int) -> Meaning:
    """Say what a configuration means.

    Args:
        config: a valid one.
        inlet_bytes: the most that waits in memory between one feed and the buffer.
    """
    feeds = config.feeds()
    in_memory = config.buffer.max_bytes if config.buffer.kind == "memory" else 0
    return Meaning(
        database=_database(config),
        buffer=_buffer(config.buffer),
        feeds=tuple(_feed(name, feed, config) for name, (_provider, feed) in feeds.items()),
        tables=tuple(
            TableMeaning(name, table.mode, table.key, table.version, table.history, len(table.columns))
            for name, table in config.tables.items()
        ),
        limits=tuple(exceeded(config)),
        memory_bytes=in_memory + inlet_bytes * len(feeds),
    )


def size(count: int) -> str:
    """Write a number of bytes as people do: ``512 B``, ``64 MiB``, ``1.5 GiB``."""
    number, units = float(count), ["B", "KiB", "MiB", "GiB", "TiB"]
    while number >= 1024 and len(units) > 1:
        number, units = number / 1024, units[1:]
    return f"{number:.1f}".removesuffix(".0") + f" {units[0]}"


def _feed(name: str, feed: FeedSettings, config: Config) -> FeedMeaning:
    guarantee, loss = _guarantee(feed, durable=config.buffer.kind != "memory")
    deletes = tuple(_deletes(feed, config))
    kind = str(feed.model_dump(include={"kind"})["kind"])
    tables = ", ".join(dict.fromkeys(branch.into for branch in feed.branches))
    calls = _calls(getattr(feed, "for_each", None))
    partial = tuple(_partial(feed, config))
    return FeedMeaning(name, kind, tables, guarantee, loss, calls, deletes, partial, _breaker(feed.breaker))


def _calls(each: ForEach | None) -> str:
    if each is None:
        return ""
    which = f"table {each.table}" if each.table else f"feed {each.feed}" if each.feed else "query"
    where = f" with {each.where}" if each.where else ""
    return f"Calls once for each row of the {which}{where}, {each.concurrency} at a time, at most {each.max_rows}."


def _deletes(feed: FeedSettings, config: Config) -> Iterator[str]:
    for branch in feed.branches:
        if branch.delete_when is not None:
            where = f" in {branch.into}" if feed.routes else ""
            yield f"Deletes the row{where} of a record for which `{branch.delete_when}` holds."
    if feed.snapshot:
        columns = ", ".join(feed.snapshot)
        yield f"Each answer is a snapshot of one {columns}: rows of it that are absent and not newer are deleted."
    if feed.absent is not None:
        (branch,) = feed.branches
        scope = [
            f"{column} = {value.const if not value.from_ else value.from_[0]}"
            for column, value in branch.map.items()
            if column in config.tables[branch.into].key and value.is_constant
        ]
        which = f" (of those with {', '.join(scope)})" if scope else ""
        what = "deleted" if feed.absent == "delete" else "marked in absent_since"
        yield f"Rows that are no longer in its full set{which} are {what}."


def _partial(feed: FeedSettings, config: Config) -> Iterator[str]:
    for branch in feed.branches:
        if not branch.partial:
            continue
        table = config.tables[branch.into]
        mapped = branch.map or table.columns
        where = f" in {branch.into}" if feed.routes else ""
        law = f"the newest {table.version}" if table.version else "what arrived last"
        yield f"Partial{where}: only the columns that a record carries are written, and {law} wins for each of them."
        if table.mode == "update":
            continue
        needs = [name for name, column in table.columns.items() if not column.null and column.default is None]
        lacks = [name for name in needs if name not in mapped]
        made = f"makes one if it carries {', '.join(needs)}"
        if lacks:
            made = f"cannot make one, without {', '.join(lacks)}"
        wait = f"waits {feed.wait_for_row:g} s for it and then goes" if feed.wait_for_row else "goes"
        yield f"A record{where} whose row does not exist {made}; {'' if lacks else 'else '}it {wait} to quarantine."


def _breaker(records: int) -> str:
    if not records:
        return "Is not parked, however many of its records are refused: `breaker: off`."
    return f"Parks once more than half of its last {records} records are refused, until corrected or resumed."


def _guarantee(feed: FeedSettings, *, durable: bool) -> tuple[Guarantee, str]:
    missed = _missed(feed)
    if feed.replayable:
        safe = "Nothing that was received is lost: after a crash it goes on from the committed position"
        return "exactly once", f"{safe}; {missed}."
    if feed.repair is not None:
        safe = "takes effect exactly once, kill -9 or not" if durable else "and is lost in a crash makes a gap"
        return "at least once", f"What was received {safe}; {missed}."
    if durable:
        return "best effort", f"What was received takes effect exactly once, kill -9 or not; {missed}."
    return "best effort", f"A crash loses what was received and is not yet in the database, and {missed}."


def _missed(feed: FeedSettings) -> str:
    """Say what is never received, or who makes up for it."""
    if not feed.pushed:
        return feed.missed
    if feed.repair is None:
        numbers = ", nor is what its numbers show to be missing" if feed.sequence is not None else ""
        return f"{feed.missed}{numbers}; headrace.gaps says when"
    numbers = " or numbers are missing" if feed.sequence is not None else ""
    return (
        f"where we were away{numbers} (headrace.gaps), {feed.repair.refetch} is asked anew: the table becomes what the "
        "provider has, though not each change in between is seen"
    )


def _buffer(buffer: BufferSettings) -> str:
    place = "in memory, lost with the process" if buffer.kind == "memory" else f"files under {buffer.path}"
    return f"{buffer.kind}: {place}, at most {size(buffer.max_bytes)}"


def _database(config: Config) -> str:
    url = config.database.url.get_secret_value()
    if url == "embedded":
        return f"embedded PostgreSQL, schema {config.database.schema_}"
    try:
        parts = urlsplit(url)
        place = f"{parts.hostname or 'localhost'}:{parts.port or 5432}{parts.path}"
    except ValueError:  # a port that is no number; the store says so when it connects
        place = "the configured URL"
    return f"PostgreSQL at {place}, schema {config.database.schema_}"
