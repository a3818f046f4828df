"""`headrace preview`: fetches a few messages and shows what would become of their records; loads nothing."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from service.cli.options import ConfigPath, as_text, console, read, source_of, stop, transform_of
from service.cli.side import show
from service.config.foreach import ForEach, Value
from service.config.settings import Config
from service.daemon import EMBEDDED_DATA, database
from service.errors import SourceLost, SourceRefused, StartError
from service.model import Message
from service.pipeline.feed import RowsOf
from service.pipeline.parents import Parents
from service.provider import Provider
from service.sources import Source
from service.store.store import Store
from service.transform.transform import Transform
from service.workbench.sample import from_file, sample
from service.workbench.trial import Trial, trials


def preview(
    feed: Annotated[str, typer.Argument(metavar="PROVIDER.FEED", help="The feed to look at.")],
    config: ConfigPath = Path("config.yaml"),
    *,
    limit: Annotated[int, typer.Option(min=1, help="Records to show; those that are refused come first.")] = 3,
    seconds: Annotated[float, typer.Option(min=0.1, help="The longest to wait for messages.")] = 15.0,
    file: Annotated[Path | None, typer.Option("--from", help="Recorded bytes to use, instead of asking.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object, for machines.")] = False,
) -> None:
    """Show raw, mapped and refused records of a feed side by side; load nothing.

    Exits 1 when a record is refused, or nothing came.
    """
    settings = read(config)
    transform = transform_of(settings, feed)
    tried = list(trials(transform, _messages(settings, transform, file, limit, seconds)))
    chosen = sorted(tried, key=lambda trial: trial.outcome != "refused")[:limit]
    columns = {name: list(table.columns) for name, table in settings.tables.items()}
    if as_json:
        typer.echo(as_text(_document(feed, tried, chosen, columns)))
    else:
        terminal = console()
        for trial in chosen:
            terminal.print(Text.assemble((f"record {trial.number + 1} ", "bold"), _headline(trial)))
            show(terminal, trial.record, trial.verdict, columns.get(trial.verdict.table or "", []))
            terminal.print()
        _sum_up(terminal, feed, tried)
    if not tried or any(trial.outcome == "refused" for trial in tried):
        raise typer.Exit(1)


def _messages(config: Config, transform: Transform, file: Path | None, limit: int, seconds: float) -> Sequence[Message]:
    try:
        if file is not None:
            return from_file(file, transform)
        return asyncio.run(_receive(config, transform, limit, seconds))
    except OSError as error:
        stop(f"{file}: {error.strerror or error}" if file is not None else str(error), 1)
    except (SourceLost, SourceRefused) as error:
        stop(f"{transform.feed}: {error.reason}", 1)
    except StartError as error:
        stop(f"{transform.feed}: the rows of `for_each` lie in the database: {error}", 1)


async def _receive(config: Config, transform: Transform, limit: int, seconds: float) -> list[Message]:
    source, name = source_of(config, transform.feed), transform.feed.partition(".")[0]
    async with (
        _rows(config, transform.feed, source) as rows,
        Provider(name, config.providers[name], config.secrets) as provider,
    ):
        return await sample(source, provider, transform, records=limit, seconds=seconds, rows=rows)


@asynccontextmanager
async def _rows(config: Config, feed: str, source: Source) -> AsyncIterator[RowsOf | None]:
    """Give what reads the rows that a feed calls for; None for one that calls for none.

    Raises:
        StartError: there is no database to read them from.
    """
    if getattr(source, "for_each", None) is None:
        yield None
        return
    if config.database.url.get_secret_value() == "embedded" and not EMBEDDED_DATA.exists():
        raise StartError("`headrace run` makes it, and loads them; until then, --from takes recorded bytes")
    prepared = asyncio.Event()
    prepared.set()
    async with database(config) as url, Store(config.database, config.tables, url, config.deletable()) as store:
        parents = Parents(feed, config, store, prepared)

        async def some(each: ForEach) -> Sequence[Mapping[str, Value]]:
            found = await parents.rows(each)
            if not found:
                raise SourceRefused("`for_each` gives no row to call for: none is there, or `where` leaves none")
            return found

        yield some


def _headline(trial: Trial) -> tuple[str, str]:
    if trial.outcome == "refused":
        return f"is refused: {trial.verdict.reason}", "bold red"
    if trial.outcome == "filtered":
        return "is left out", "yellow"
    return ("deletes its row of " if trial.deletes else "loads into ") + str(trial.verdict.table), "green"


def _sum_up(terminal: Console, feed: str, tried: Sequence[Trial]) -> None:
    """Say how many records came, and what would become of them."""
    if not tried:
        terminal.print(f"{feed}: no message came; --seconds waits longer")
        return
    outcomes = Counter(trial.outcome for trial in tried)
    deleted = f"{outcomes['deletes']} delete, " if outcomes["deletes"] else ""
    reasons = Counter(trial.verdict.reason for trial in tried if trial.verdict.reason)
    told = ", ".join(f"{reason} ({number})" for reason, number in reasons.most_common(5))
    terminal.print(
        f"{feed}: {len(tried)} records: {outcomes['loads']} load, {deleted}{outcomes['filtered']} left out, "
        f"{outcomes['refused']} refused{f': {told}' if told else ''}"
    )


def _document(
    feed: str, tried: Sequence[Trial], chosen: Sequence[Trial], columns: Mapping[str, Sequence[str]]
) -> dict[str, Any]:
    outcomes = Counter(trial.outcome for trial in tried)
    return {
        "feed": feed,
        "records": {outcome: outcomes[outcome] for outcome in ("loads", "deletes", "filtered", "refused")},
        "shown": [
            {
                "number": trial.number,
                "outcome": trial.outcome,
                "table": trial.verdict.table,
                "raw": trial.record,
                "row": _row(trial, columns),
                "reason": trial.verdict.reason or None,
                "detail": trial.verdict.detail or None,
            }
            for trial in chosen
        ],
    }


def _row(trial: Trial, columns: Mapping[str, Sequence[str]]) -> dict[str, Any] | None:
    if trial.verdict.row is None:
        return None
    return dict(zip(columns[str(trial.verdict.table)], trial.verdict.row, strict=True))
