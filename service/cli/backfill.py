"""``headrace backfill``: loads what a feed carried before, from files or by asking for a range of time."""

import asyncio
import difflib
import sys
import time
from pathlib import Path
from typing import Annotated

import typer
from pydantic import TypeAdapter, ValidationError
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from service.cli.logs import set_up_logging
from service.cli.options import ConfigPath, read
from service.config.connectors import discover
from service.config.feeds import FeedSettings
from service.config.settings import Config, Log
from service.config.units import Duration
from service.daemon import database
from service.errors import PositionTaken, SourceRefused, StartError, StoreLost, TableRefused
from service.pipeline.backfill import Backfill, by_spans, from_files
from service.pipeline.extent import Extent, FileExtent, SpanExtent
from service.pipeline.line import Line
from service.recording.reading import is_recording
from service.sources import Source
from service.spans import read_moment
from service.store.store import Store

REFRESH = 0.25
"""Seconds between two looks at how far it is."""
_FAILURES = (SourceRefused, PositionTaken, StoreLost, TableRefused, StartError)


def backfill(
    feed: Annotated[str, typer.Argument(metavar="PROVIDER.FEED", help="The feed whose records these are.")],
    config: ConfigPath = Path("config.yaml"),
    path: Annotated[str | None, typer.Option("--from", help="A file, a pattern, or - for standard input.")] = None,
    since: Annotated[str | None, typer.Option(help="Ask the provider for what came after this moment.")] = None,
    until: Annotated[str | None, typer.Option(help="... and before this one; by default now.")] = None,
    step: Annotated[str | None, typer.Option(help="Ask for so much time at once: 1d.")] = None,
    form: Annotated[str | None, typer.Option("--format", help="The format of the files.")] = None,
) -> None:
    """Load what a feed carried before, beside the live feed. Interrupted, the same command goes on where it was."""
    settings = read(config)
    known = settings.feeds()
    if feed not in known:
        close = difflib.get_close_matches(feed, known, 1)
        raise typer.BadParameter(f"there is no feed {feed!r}" + (f"; did you mean {close[0]!r}?" if close else ""))
    if (path is None) == (since is None):
        raise typer.BadParameter("say what to load: --from a file, or --since a moment")
    chosen = known[feed][1]
    source, what, extent = _files(chosen, path, form) if path is not None else _range(chosen, since or "", until, step)
    set_up_logging(_quiet(settings.log))
    try:
        asyncio.run(_run(settings, feed, what, source, extent))
    except KeyboardInterrupt:
        print("headrace: interrupted; the same command goes on from here", file=sys.stderr)  # noqa: T201  to the user
        raise typer.Exit(1) from None
    except (ExceptionGroup, *_FAILURES) as error:
        failure: BaseException = error
        while isinstance(failure, BaseExceptionGroup):
            failure = failure.exceptions[0]
        if not isinstance(failure, _FAILURES):
            raise
        print(f"headrace: {failure}", file=sys.stderr)  # noqa: T201  the one sentence that says why
        raise typer.Exit(1) from None


def _files(feed: FeedSettings, path: str, form: str | None) -> tuple[Source, str, Extent]:
    formats = discover("service.formats")
    if form is not None and form not in formats:
        raise typer.BadParameter(f"there is no format {form!r}; there are {', '.join(formats)}")
    if Path(path).is_file() and is_recording(Path(path)):
        raise typer.BadParameter(f"{path} is a recording: `headrace replay {path}` plays it")
    try:
        return from_files(feed, path, form), path, FileExtent(path)
    except SourceRefused as refused:
        raise typer.BadParameter(refused.reason) from None
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def _range(feed: FeedSettings, since: str, until: str | None, step: str | None) -> tuple[Source, str, Extent]:
    try:
        start, end = read_moment(since), read_moment(until) if until is not None else None
        length = TypeAdapter(Duration).validate_python(step) if step is not None else None
        source = by_spans(feed, start, end, length)
    except ValidationError as error:
        raise typer.BadParameter(f"--step: {error.errors()[0]['msg']}") from None
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    if end is not None and end <= start:
        raise typer.BadParameter("--until must lie after --since")
    return source, f"{start.isoformat()}..{end.isoformat() if end is not None else ''}", SpanExtent(start, end)


def _quiet(log: Log) -> Log:
    """Let the bar say what goes well."""
    return log.model_copy(update={"level": "error" if log.level == "error" else "warning"})


async def _run(config: Config, feed: str, what: str, source: Source, extent: Extent) -> None:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[rows]:,} records, {task.fields[rate]:,.0f}/s"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[trouble]}", style="yellow"),
    )
    async with (
        database(config) as url,
        Store(config.database, config.tables, url, config.deletable()) as store,
    ):
        await store.prepare()
        work = Backfill(feed, what, source, config, store)
        with Progress(*columns, console=Console(stderr=True)) as progress:
            set_up_logging(_quiet(config.log))  # again, so that it goes above the bar
            async with asyncio.TaskGroup() as group:
                showing = group.create_task(_show(work.line, extent, progress), name="progress")
                await work.run()
                showing.cancel()
    counts = work.line.ledger.session
    typer.echo(
        f"{feed}: {counts.received:,} records read; {counts.loaded:,} loaded, {counts.unchanged:,} unchanged,"
        f" {counts.stale:,} stale, {counts.duplicate:,} duplicate, {counts.filtered:,} filtered,"
        f" {counts.quarantined:,} in quarantine"
    )


async def _show(line: Line, extent: Extent, progress: Progress) -> None:
    """Move the bar to where the rows stand; what an earlier run did counts as done, but not for the rate."""
    await line.started.wait()
    loader, feed, started = line.loader, line.feed, time.monotonic()
    if loader is None or feed is None:
        return
    begun = extent.done(loader.standing)
    task = progress.add_task(line.name, total=extent.total, completed=int(begun), rows=0, rate=0.0, trouble="")
    try:
        while True:
            rows = line.ledger.session.settled
            progress.update(
                task,
                completed=extent.done(loader.standing),
                rows=rows,
                rate=rows / max(time.monotonic() - started, REFRESH),
                trouble=loader.trouble or (feed.last_error if feed.state in {"reconnecting", "parked"} else "") or "",
            )
            await asyncio.sleep(REFRESH)
    finally:
        progress.update(task, completed=extent.done(loader.standing), rows=line.ledger.session.settled)
