"""`headrace explain`: follows one key through quarantine, buffer, database and files, and says why its row is so."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from service.cli.logs import set_up_logging
from service.cli.options import ConfigPath, as_text, console, read, stop, transform_of
from service.config.settings import Config, Log
from service.daemon import database
from service.errors import StartError, StoreLost, TableRefused
from service.masking import is_secret
from service.model import Message
from service.store.kept import Kept, kept
from service.store.review import Review
from service.store.store import Store
from service.transform.transform import Transform
from service.transform.violations import masked
from service.workbench.outline import said
from service.workbench.sample import from_file
from service.workbench.story import Story
from service.workbench.trace import Trace, Tracer
from service.workbench.wanted import Finder, read_key

_STYLES = {"won": "bold green", "refused": "red", "mentioned": "red", "waiting": "yellow", "deleted": "bold yellow"}
_SHOWN = 30
"""Records that are shown in the terminal, the latest; --json has all."""


def explain(
    table: Annotated[str, typer.Argument(help="The table.")],
    key: Annotated[list[str], typer.Argument(metavar="KEY...", help="VALUE, or column=VALUE for each key column.")],
    config: ConfigPath = Path("config.yaml"),
    *,
    file: Annotated[Path | None, typer.Option("--from", help="Recorded messages to look at, too.")] = None,
    feed: Annotated[str | None, typer.Option(metavar="PROVIDER.FEED", help="The feed that the file is of.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object, for machines.")] = False,
) -> None:
    """Follow one key: every record that is known to hold it, what became of it, and why the row is what it is.

    Nothing is written; the daemon may run meanwhile. Exits 1 when the key is found nowhere.
    """
    settings = read(config)
    if table not in settings.tables:
        stop(f"there is no table {table!r} in the configuration; there are {', '.join(settings.tables)}", 2)
    try:
        wanted = read_key(table, settings.tables[table], key)
    except ValueError as error:
        stop(str(error), 2)
    transforms = {name: transform_of(settings, name) for name in settings.feeds()}
    loading = [name for name, transform in transforms.items() if table in transform.tables]
    recorded = _recorded(file, feed, loading, transforms)
    set_up_logging(Log(level="warning"))
    try:
        found, traces = asyncio.run(
            _look(settings, table, wanted, {name: transforms[name] for name in loading}, recorded)
        )
    except (StartError, StoreLost, TableRefused) as error:
        stop(str(error), 1)
    except OSError as error:
        stop(f"the spool cannot be read: {error.filename}: {error.strerror}", 1)
    story = Story(settings.tables[table], found, traces, partial=table in settings.partial())
    if as_json:
        typer.echo(as_text(_document(table, wanted, found, story)))
    elif not story.is_empty:
        _show(console(), table, wanted, found, story)
    if story.is_empty:
        stop(f"{table} {_written(wanted)}: found nowhere: not in the table, the quarantine or the buffer", 1)


def _recorded(
    file: Path | None, feed: str | None, loading: Sequence[str], transforms: Mapping[str, Transform]
) -> tuple[str, str, Sequence[Message]]:
    """Give the feed, the name and the messages of the user's file."""
    if file is None:
        return "", "", ()
    chosen = [feed] if feed is not None else loading
    if len(chosen) != 1 or chosen[0] not in loading:
        stop(f"say with --feed which feed {file} is of: {', '.join(loading) or 'none loads into this table'}", 2)
    try:
        return chosen[0], file.name, from_file(file, transforms[chosen[0]])
    except OSError as error:
        stop(f"{file}: {error.strerror or error}", 1)


async def _look(
    config: Config,
    table: str,
    key: Mapping[str, Any],
    transforms: Mapping[str, Transform],
    recorded: tuple[str, str, Sequence[Message]],
) -> tuple[Kept, list[Trace]]:
    """Look everywhere. The buffer comes first: what is loaded meanwhile is then found in the table."""
    finders = {name: Finder(each, table, config.tables[table], key) for name, each in transforms.items()}
    tracer = Tracer(config, finders, transforms)
    async with database(config) as url, Store(config.database, config.tables, url, config.deletable()) as store:
        positions = {name: await store.position(name) for name in finders}
        buffered = await tracer.in_buffer(positions)
        traces = [*await tracer.in_quarantine(Review(store)), *buffered]
        if recorded[0]:
            traces += await tracer.in_messages(*recorded)
        return await kept(store, config, table, key), traces


def _show(terminal: Console, table: str, key: Mapping[str, Any], found: Kept, story: Story) -> None:
    terminal.print(Text.assemble((table, "bold"), f" {_written(key)}"))
    for row in found.rows[:_SHOWN]:
        terminal.print(_grid([(Text(f"  {name}"), Text(_value(name, value))) for name, value in row.items()]))
        terminal.print()
    if not found.rows:
        terminal.print("  no row\n")
    if found.history:
        _history(terminal, found.history)
    if len(story.traces) > _SHOWN:
        terminal.print(f"… {len(story.traces) - _SHOWN} records before these; --json has all")
    for trace in story.traces[-_SHOWN:]:
        _record(terminal, trace)
    if story.traces:
        terminal.print()
    terminal.print(Text(story.conclusion()), soft_wrap=True)


def _record(terminal: Console, trace: Trace) -> None:
    head = f"{_clock(trace.at)}  {trace.feed}  record {trace.number + 1}  {trace.place}"
    terminal.print(Text(head, style="dim"), soft_wrap=True)
    terminal.print(
        Text.assemble((f"  {trace.outcome}", _STYLES.get(trace.outcome, "")), f": {trace.because}"), soft_wrap=True
    )


def _history(terminal: Console, history: Sequence[Mapping[str, Any]]) -> None:
    """Print what each version changed."""
    before: Mapping[str, Any] = {}
    for row in history[-_SHOWN:]:
        values = {name: value for name, value in row.items() if name not in {"valid_from", "valid_to"}}
        changed = ", ".join(
            f"{name} {_value(name, value)}" for name, value in values.items() if before.get(name) != value
        )
        is_deletion = row["valid_to"] == row["valid_from"]
        terminal.print(
            Text(f"  from {said(row['valid_from'])}: {'deleted' if is_deletion else changed}"), soft_wrap=True
        )
        before = values
    terminal.print()


def _grid(rows: Sequence[tuple[Text, Text]]) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for row in rows:
        grid.add_row(*row)
    return grid


def _value(name: str, value: Any) -> str:
    return "***" if is_secret(name) and value is not None else said(value)


def _clock(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(sep=" ", timespec="milliseconds").removesuffix("+00:00")


def _written(key: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={said(value)}" for name, value in key.items())


def _document(table: str, key: Mapping[str, Any], found: Kept, story: Story) -> dict[str, Any]:
    deleted = {"version": found.deleted_version, "at": found.deleted_at} if found.deleted_at is not None else None
    return {
        "table": table,
        "key": key,
        "rows": [masked(row) for row in found.rows],
        "history": [masked(row) for row in found.history],
        "deleted": deleted,
        "records": [
            {
                "received_at": datetime.fromtimestamp(trace.at, UTC),
                "feed": trace.feed,
                "record": trace.number + 1,
                "place": trace.place,
                "outcome": trace.outcome,
                "because": trace.because,
                "row": masked(trace.row) if trace.row is not None else None,
            }
            for trace in story.traces
        ],
        "conclusion": story.conclusion() if not story.is_empty else None,
    }
