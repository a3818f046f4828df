"""``headrace record``: keeps what a provider sends, and what we send it, with the timing of both."""

import asyncio
import importlib.metadata
import signal
import time
from pathlib import Path
from typing import Annotated

import typer
from pydantic import TypeAdapter, ValidationError
from rich.console import Console
from rich.filesize import decimal
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from service.cli.logs import set_up_logging
from service.cli.options import ConfigPath, read, source_of, stop
from service.config.settings import Config
from service.config.units import Duration, Size
from service.pipeline.recorder import Limits, Recorder, excerpt
from service.provider import Provider
from service.recording.event import VERSION, Header
from service.recording.writing import Writer
from service.sources import Source
from service.sources.file import File
from service.sources.rest import Rest

REFRESH = 0.25
"""Seconds between two looks at how far it is."""


def record(
    feed: Annotated[str, typer.Argument(metavar="PROVIDER.FEED", help="The feed to record.")],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A file that does not exist yet.")],
    config: ConfigPath = Path("config.yaml"),
    duration: Annotated[str | None, typer.Option("--for", help="Stop after this time: 10m.")] = None,
    messages: Annotated[int | None, typer.Option(min=1, help="Stop after so many messages.")] = None,
    size: Annotated[str | None, typer.Option(help="Stop when the file has this size: 100MiB.")] = None,
) -> None:
    """Keep raw messages with their timing in a file, over a connection of its own. Ctrl-C ends it, too."""
    settings = read(config)
    source = source_of(settings, feed)
    if source.listens:
        stop(f"{feed} cannot be recorded: it is posted to the daemon, which has its address", 2)
    if isinstance(source, File):
        stop(f"{feed} cannot be recorded: it reads files, which `headrace backfill --from` reads again", 2)
    if isinstance(source, Rest) and source.for_each is not None:
        stop(f"{feed} cannot be recorded: it calls for rows of a database, which a recording does not know", 2)
    limits = _limits(duration, messages, size)
    try:
        recorder, written, seconds = asyncio.run(_run(settings, feed, source, file, limits))
    except FileExistsError:
        stop(f"{file} exists already, and nothing that was recorded is overwritten: name another file", 1)
    except (OSError, ExceptionGroup) as failed:
        error: BaseException = failed
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        if not isinstance(error, OSError):
            raise
        stop(f"{file}: {error.strerror or error}; what was written before can be read", 1)
    typer.echo(
        f"{feed}: {recorder.messages:,} messages, {decimal(recorder.bytes)}, in {seconds:.1f} s;"
        f" {decimal(written)} in {file}"
    )
    if recorder.refused.is_set():
        stop(next((strand.last_error for strand in recorder.strands if strand.last_error), "refused"), 1)


def _limits(duration: str | None, messages: int | None, size: str | None) -> Limits:
    found: dict[str, float] = {}
    for option, kind, text in (("--for", Duration, duration), ("--size", Size, size)):
        try:
            if text is not None:
                found[option] = TypeAdapter(kind).validate_python(text)
        except ValidationError as error:
            raise typer.BadParameter(f"{option}: {error.errors()[0]['msg']}") from None
    return Limits(messages, int(found["--size"]) if "--size" in found else None, found.get("--for"))


async def _run(config: Config, feed: str, source: Source, file: Path, limits: Limits) -> tuple[Recorder, int, float]:
    """Record; give what was recorded, the bytes written, and the seconds that it took."""
    quiet = config.log.model_copy(update={"level": "warning"})
    set_up_logging(quiet)
    name, end, began = feed.partition(".")[0], asyncio.Event(), time.time()
    loop = asyncio.get_running_loop()
    async with Provider(name, config.providers[name], config.secrets) as provider:
        header = Header(VERSION, importlib.metadata.version("headrace"), feed, began, excerpt(source, provider))
        with Writer(file, header) as writer, _bar() as progress:
            set_up_logging(quiet)  # again, so that it goes above the bar
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(number, end.set)
            recorder = Recorder(feed, source, provider, writer, limits)
            async with asyncio.TaskGroup() as group:
                showing = group.create_task(_show(recorder, writer, progress), name="progress")
                await recorder.run(end)
                showing.cancel()
        return recorder, writer.size, time.time() - began


def _bar() -> Progress:
    terminal = Console(stderr=True)
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        TextColumn("{task.fields[messages]:,} messages, {task.fields[rate]:,.0f}/s, {task.fields[size]}"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[trouble]}", style="yellow"),
        console=terminal,
        transient=True,
        disable=not terminal.is_terminal,
    )


async def _show(recorder: Recorder, writer: Writer, progress: Progress) -> None:
    began = time.monotonic()
    task = progress.add_task(f"recording {recorder.feed}", total=None, messages=0, rate=0.0, size="", trouble="")
    while True:
        troubles = (strand.last_error for strand in recorder.strands if strand.condition == "reconnecting")
        progress.update(
            task,
            messages=recorder.messages,
            rate=recorder.messages / max(time.monotonic() - began, REFRESH),
            size=decimal(writer.size),
            trouble=next(troubles, None) or "",
        )
        await asyncio.sleep(REFRESH)
