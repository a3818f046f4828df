"""`headrace preview`: fetches a few messages and shows what would become of their records; loads nothing."""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from service.cli.options import ConfigPath, as_text, console, read, stop, transform_of
from service.cli.receive import receive
from service.cli.side import show
from service.config.settings import Config
from service.errors import SourceLost, SourceRefused, StartError
from service.model import Message
from service.provider import Provider
from service.transform.transform import Transform
from service.transform.violations import masked
from service.workbench.sample import from_file
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
    if file is None and getattr(settings.feeds()[feed][1], "listens", False):
        stop(f"{feed} is given its messages: --from takes recorded bytes, and `headrace tap` shows those that come", 1)
    messages = _messages(settings, transform, file, limit, seconds)
    tried = trials(transform, messages)
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
        _sum_up(terminal, feed, tried, len(messages))
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
    name = transform.feed.partition(".")[0]
    async with Provider(name, config.providers[name], config.secrets) as provider:
        return await receive(config, transform, provider, records=limit, seconds=seconds)


def _headline(trial: Trial) -> tuple[str, str]:
    if trial.outcome == "refused":
        return f"is refused: {trial.verdict.reason}", "bold red"
    if trial.outcome == "filtered":
        return "is left out", "yellow"
    return ("deletes its row of " if trial.deletes else "loads into ") + str(trial.verdict.table), "green"


def _sum_up(terminal: Console, feed: str, tried: Sequence[Trial], messages: int) -> None:
    """Say how many records came, and what would become of them."""
    if not tried:
        empty = "what came holds no record; if it should, correct `records`"
        terminal.print(f"{feed}: {empty if messages else 'no message came; --seconds waits longer'}")
        return
    outcomes = Counter(trial.outcome for trial in tried)
    deleted = f"{outcomes['deletes']} delete, " if outcomes["deletes"] else ""
    reasons = Counter(trial.verdict.reason for trial in tried if trial.verdict.reason)
    told = ", ".join(f"{reason} ({number})" for reason, number in reasons.most_common(5))
    number = "1 record" if len(tried) == 1 else f"{len(tried)} records"
    terminal.print(
        f"{feed}: {number}: {outcomes['loads']} load, {deleted}{outcomes['filtered']} left out, "
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
                "raw": masked(trial.record),
                "row": _row(trial, columns),
                "reason": trial.verdict.reason or None,
                "detail": trial.verdict.detail or None,
            }
            for trial in chosen
        ],
    }


def _row(trial: Trial, columns: Mapping[str, Sequence[str]]) -> dict[str, Any] | None:
    verdict = trial.verdict
    if verdict.row is None:
        return None
    named = zip(columns[str(verdict.table)], verdict.row, strict=True)
    return {
        name: "***" if verdict.is_secret(name) and value is not None else masked(value)
        for name, value in named
        if verdict.carried is None or name in verdict.carried
    }
