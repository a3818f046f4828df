"""``headrace replay``: plays a recording through the present configuration, into the tables or beside them."""

import asyncio
import contextlib
import secrets
import sys
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from service.cli.differences import show_differences
from service.cli.logs import set_up_logging
from service.cli.options import ConfigPath, as_text, console, read, source_of, stop, transform_of
from service.config.settings import Config
from service.daemon import database
from service.errors import FormatError, PositionTaken, SourceRefused, StartError, StoreLost, TableRefused
from service.model import Counts
from service.pipeline.backfill import Backfill
from service.pipeline.playback import GROUP, Playback, playback
from service.recording.reading import Recording
from service.store.difference import Difference
from service.store.scratch import Scratch
from service.store.store import Store
from service.workbench.rehearsal import Rehearsal

REFRESH = 0.25
"""Seconds between two looks at how far it is."""
_FAILURES = (SourceRefused, PositionTaken, StoreLost, TableRefused, StartError)


class Outcome(msgspec.Struct):
    """What became of a recording.

    Attributes:
        feed: that it was played as.
        messages: how many were played.
        counts: of their records.
        torn: bytes at the end of the file that were left out.
        differences: between the replayed tables and the real ones, where they were compared.
    """

    feed: str
    messages: int
    counts: Counts
    torn: int
    differences: list[Difference] | None = None

    @property
    def document(self) -> dict[str, Any]:
        """Give it for machines."""
        counts = self.counts
        terms = ("loaded", "unchanged", "stale", "duplicate", "filtered", "quarantined")
        ledger = {"received": counts.received, **{term: getattr(counts, term) for term in terms}}
        shown: dict[str, Any] = {"feed": self.feed, "messages": self.messages, "ledger": ledger}
        shown |= {"torn_bytes": self.torn}
        return shown if self.differences is None else {**shown, "differences": self.differences}


def replay(  # noqa: PLR0913  each is an option of the command
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A recording, or a capture of cryptofeed.")],
    config: ConfigPath = Path("config.yaml"),
    *,
    feed: Annotated[str | None, typer.Option(help="PROVIDER.FEED to play it as; by default the recorded one.")] = None,
    speed: Annotated[str, typer.Option(help="1 for its own time, 10 for ten times as fast, or max.")] = "max",
    schema: Annotated[str | None, typer.Option(help="Load into this schema, made if it is missing.")] = None,
    drop: Annotated[bool, typer.Option("--drop", help="Drop that schema in the end.")] = False,
    diff: Annotated[bool, typer.Option("--diff", help="Load into a scratch schema, and compare row by row.")] = False,
    limit: Annotated[int, typer.Option(min=0, help="Rows of each kind to show of a difference.")] = 10,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only map the records, and count.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit 1 on a refused record, or a difference.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object, for machines.")] = False,
) -> None:
    """Play a recording through the present configuration. The live feed's position stays where it is."""
    settings = read(config)
    name = _name(file, feed)
    source = playback(source_of(settings, name), file, _speed(speed), absent=schema is not None or diff)
    if dry_run:
        _rehearse(settings, name, file, as_json=as_json, strict=strict)
        return
    transform_of(settings, name)  # what does not fit in the configuration is told before anything starts
    if drop and schema is None:
        raise typer.BadParameter("--drop drops what --schema names")
    if schema in {settings.database.schema_, ""}:
        raise typer.BadParameter("--schema names a schema apart from the configured one")
    scratch = schema or (f"headrace_replay_{secrets.token_hex(4)}" if diff else None)
    place = Place(settings, scratch, drop=drop or schema is None, diff=limit if diff else None)
    outcome = _played(place, name, source)
    if as_json:
        typer.echo(as_text(outcome.document))
    else:
        _tell(outcome, file)
    if strict and (outcome.counts.quarantined or any(each.total for each in outcome.differences or ())):
        raise typer.Exit(1)


class Place(msgspec.Struct, frozen=True):
    """Where a recording is played to.

    Attributes:
        config: the whole.
        schema: a scratch schema; None for the real tables.
        drop: whether that is dropped in the end.
        diff: how many rows of a difference are given; None not to compare.
    """

    config: Config
    schema: str | None
    drop: bool
    diff: int | None

    @contextlib.asynccontextmanager
    async def store(self) -> AsyncIterator[Store]:
        """Open the store, its tables prepared."""
        config, schema = self.config, self.schema
        async with database(config) as url, contextlib.AsyncExitStack() as stack:
            settings = (config.database, config.tables, url, config.deletable())
            if schema is None:
                store = await stack.enter_async_context(Store(*settings))
            else:
                store = scratch = Scratch(*settings, schema)
                await stack.enter_async_context(scratch)
                if self.drop:
                    stack.push_async_callback(scratch.drop)
            await store.prepare()
            yield store


def _name(file: Path, feed: str | None) -> str:
    """Give the name of the feed that a file is played as; exit 1 if there is no such file, 2 if there is no name."""
    try:
        header = Recording(file).header
    except (OSError, FormatError) as error:
        stop(f"{file}: {error.strerror}" if isinstance(error, OSError) else str(error), 1)
    if feed is None and header is None:
        stop(f"{file} is a capture and does not say of which feed it is: name it with --feed PROVIDER.FEED", 2)
    return feed or (header.feed if header is not None else "")


def _speed(text: str) -> float | None:
    if text == "max":
        return None
    try:
        speed = float(text.removesuffix("x"))
    except ValueError:
        speed = 0.0
    if not 0 < speed < float("inf"):
        raise typer.BadParameter(f"--speed is a number such as 1 or 10, or max; {text!r} is neither")
    return speed


def _rehearse(config: Config, name: str, file: Path, *, as_json: bool, strict: bool) -> None:
    """Map all records and print what would become of them."""
    rehearsal, recording = Rehearsal(), Recording(file)
    damage = None
    try:
        asyncio.run(rehearsal.run(transform_of(config, name), recording.groups(GROUP)))
    except FormatError as error:
        damage = str(error)
    counts = rehearsal.records
    if as_json:
        document = {"feed": name, "messages": rehearsal.messages, "records": counts, "tables": rehearsal.tables}
        typer.echo(as_text({**document, "reasons": rehearsal.reasons, "torn_bytes": recording.torn}))
    else:
        typer.echo(f"{name}: {rehearsal.messages:,} messages of {file}")
        terms = (("loads", "load"), ("deletes", "delete"), ("filtered", "left out"), ("refused", "refused"))
        typer.echo(_sum(counts.total(), [(counts[outcome], said) for outcome, said in terms]))
        for table, count in rehearsal.tables.most_common():
            typer.echo(f"  {count:,} into {table}")
        for reason, count in rehearsal.reasons.most_common(20):
            typer.echo(f"  {count:,} refused: {reason}")
        _tell_torn(recording.torn, file)
    if damage is not None:
        stop(damage, 1)
    if strict and counts["refused"]:
        raise typer.Exit(1)


def _played(place: Place, name: str, source: Playback) -> Outcome:
    """Play; say in a sentence why that failed, and exit 1."""
    try:
        return asyncio.run(_play(place, name, source))
    except KeyboardInterrupt:
        stop("interrupted; a replay always begins with the first message, and rows that are there do no harm", 1)
    except (ExceptionGroup, *_FAILURES) as error:
        failure: BaseException = error
        while isinstance(failure, BaseExceptionGroup):
            failure = failure.exceptions[0]
        if not isinstance(failure, _FAILURES):
            raise
        stop(str(failure), 1)


async def _play(place: Place, name: str, source: Playback) -> Outcome:
    quiet = place.config.log.model_copy(update={"level": "warning"})
    set_up_logging(quiet)
    async with place.store() as store:
        work = Backfill(name, source.path.name, source, place.config, store, why="replay")
        with _bar() as progress:
            set_up_logging(quiet)  # again, so that it goes above the bar
            async with asyncio.TaskGroup() as group:
                showing = group.create_task(_show(work, source, progress), name="progress")
                await work.run()
                showing.cancel()
        inlet = work.line.inlet
        messages = inlet.messages if inlet is not None else 0
        outcome = Outcome(name, messages, work.line.ledger.session, source.torn)
        if isinstance(store, Scratch) and place.diff is not None:
            outcome.differences = await store.differences(work.line.tables, place.diff)
        return outcome


def _bar() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[rows]:,} records, {task.fields[rate]:,.0f}/s"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[trouble]}", style="yellow"),
        console=Console(stderr=True),
    )


async def _show(work: Backfill, source: Playback, progress: Progress) -> None:
    """Move the bar with what was read of the file."""
    line, began, size = work.line, time.monotonic(), source.path.stat().st_size
    task = progress.add_task(line.name, total=size, rows=0, rate=0.0, trouble="")

    def update() -> None:
        rows = line.ledger.session.settled
        trouble = line.loader.trouble if line.loader is not None else None
        rate = rows / (time.monotonic() - began)
        progress.update(task, completed=source.done, rows=rows, rate=rate, trouble=trouble or "")

    try:
        while True:
            update()
            await asyncio.sleep(REFRESH)
    finally:
        update()


def _tell(outcome: Outcome, file: Path) -> None:
    counts = outcome.counts
    typer.echo(f"{outcome.feed}: played {outcome.messages:,} messages of {file}")
    terms = ("loaded", "unchanged", "stale", "duplicate", "filtered")
    said = [(getattr(counts, term), term) for term in terms]
    typer.echo(_sum(counts.received, [*said, (counts.quarantined, "refused")]))
    _tell_torn(outcome.torn, file)
    if outcome.differences is not None:
        show_differences(console(), outcome.differences)


def _sum(total: int, terms: Sequence[tuple[int, str]]) -> str:
    """Write a sum whose terms anybody can add up."""
    return f"{total:,} records = {' + '.join(f'{count:,} {said}' for count, said in terms)}"


def _tell_torn(torn: int, file: Path) -> None:
    if torn:
        print(f"headrace: the last {torn:,} bytes of {file} are an incomplete block, and left out", file=sys.stderr)  # noqa: T201  to the user
