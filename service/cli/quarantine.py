"""`headrace quarantine`: lists, shows, replays and drops refused records."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, TypeAlias, TypeVar

import typer
from rich.table import Table
from rich.text import Text

from service.cli.logs import set_up_logging
from service.cli.options import ConfigPath, as_text, console, read, stop, transform_of
from service.cli.side import AT_FAULT, marked
from service.config.settings import Config, Log
from service.daemon import database
from service.errors import FormatError, StartError, StoreLost, TableRefused
from service.masking import hidden_raw
from service.model import Counts
from service.store.review import Entry, Group, Review, Selection
from service.store.store import Store
from service.transform.custom import attempts, function_of
from service.transform.transform import Transform
from service.transform.where import Where
from service.workbench.replay import Outcome, Replay, feed_of, message_of, records_of

T = TypeVar("T")
FeedOption: TypeAlias = Annotated[
    str | None, typer.Option("--feed", metavar="PROVIDER.FEED", help="Only of this feed.")
]
ReasonOption: TypeAlias = Annotated[str | None, typer.Option("--reason", help="Only with a reason that begins so.")]
WhereOption: TypeAlias = Annotated[
    str | None, typer.Option("--where", help="Only records for which this CEL expression over their fields is true.")
]
Ids: TypeAlias = Annotated[list[int] | None, typer.Argument(metavar="[ID]...", help="Only these entries.")]
Json: TypeAlias = Annotated[bool, typer.Option("--json", help="Print one JSON object, for machines.")]
_DEFAULT = Path("config.yaml")

quarantine = typer.Typer(name="quarantine", help="Work through refused records.", no_args_is_help=True)


@quarantine.command("list")
def list_(
    config: ConfigPath = _DEFAULT,
    *,
    feed: FeedOption = None,
    reason: ReasonOption = None,
    resolved: Annotated[bool, typer.Option("--all", help="Resolved ones, too.")] = False,
    as_json: Json = False,
) -> None:
    """Count refused records by feed, table and reason."""
    selection = Selection(feed=feed, reason=reason, resolved=resolved)
    groups = _with(read(config), lambda review: review.groups(selection))
    if as_json:
        typer.echo(as_text({"groups": groups, "total": sum(group.count for group in groups)}))
        return
    if not groups:
        typer.echo("nothing is in quarantine")
        return
    console().print(_table(groups))
    typer.echo(f"{sum(group.count for group in groups)} records; headrace quarantine show ID says more")


@quarantine.command()
def show(
    entry: Annotated[int, typer.Argument(metavar="ID")], config: ConfigPath = _DEFAULT, *, as_json: Json = False
) -> None:
    """Show one refused record, the value at fault marked, and what the present configuration makes of it."""
    settings = read(config)
    wanted = Selection(ids=(entry,), resolved=True)
    found = _with(settings, lambda review: review.entries(wanted, 0, entry, 1))
    if not found:
        stop(f"there is no entry {entry} in quarantine", 1)
    if as_json:
        typer.echo(as_text(found[0]))
    else:
        _show(settings, found[0])


@quarantine.command()
def replay(
    ids: Ids = None,
    config: ConfigPath = _DEFAULT,
    *,
    feed: FeedOption = None,
    reason: ReasonOption = None,
    where: WhereOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be, and change nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Run refused records through the present configuration; the daemon may run meanwhile.

    Exits 1 when a record is refused again, or belongs to a feed that is no longer there.
    """
    settings = read(config)
    selection, expression = Selection(ids=tuple(ids or ()), feed=feed, reason=reason), _where(where)
    transforms = {name: transform_of(settings, name) for name in settings.feeds()}

    async def run(review: Review) -> Outcome:
        return await Replay(review, transforms).run(selection, expression, dry_run=dry_run)

    outcome = _with(settings, run, prepare=not dry_run)
    typer.echo(as_text(_document(outcome)) if as_json else _told(outcome, dry_run=dry_run))
    if outcome.counts.quarantined or outcome.homeless:
        raise typer.Exit(1)


@quarantine.command()
def drop(
    ids: Ids = None,
    config: ConfigPath = _DEFAULT,
    *,
    feed: FeedOption = None,
    reason: ReasonOption = None,
    where: WhereOption = None,
    purge: Annotated[bool, typer.Option("--purge", help="Delete them, instead of marking them as resolved.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Give refused records up. The ledger counts them as quarantined for good."""
    settings = read(config)
    selection, expression = Selection(ids=tuple(ids or ()), feed=feed, reason=reason, resolved=purge), _where(where)
    transforms = {name: transform_of(settings, name) for name in settings.feeds()}

    async def choose(review: Review) -> list[int]:
        return [entry.id async for page in Replay(review, transforms).pages(selection, expression) for entry in page]

    chosen = _with(settings, choose)
    verb = "delete" if purge else "drop"
    if chosen and not yes and not typer.confirm(f"{verb} {len(chosen)} records?", default=False, err=True):
        raise typer.Exit(1)
    done = _with(settings, lambda review: review.drop(chosen, purge=purge)) if chosen else 0
    told = "deleted" if purge else "dropped"
    if as_json:
        typer.echo(as_text({told: done}))
    else:
        typer.echo(f"{done} records {told}" if chosen else f"there is nothing to {verb}")


def _with(config: Config, work: Callable[[Review], Awaitable[T]], *, prepare: bool = False) -> T:
    """Do work with the quarantine of the configured database; say why it cannot be had, exit 1."""

    async def run() -> T:
        async with _store(config) as store:
            if prepare:
                await store.prepare()
            return await work(Review(store))

    set_up_logging(Log(level="warning"))
    try:
        return asyncio.run(run())
    except (StartError, StoreLost, TableRefused) as error:
        stop(str(error), 1)


@asynccontextmanager
async def _store(config: Config) -> AsyncIterator[Store]:
    async with (
        database(config) as url,
        Store(config.database, config.tables, url, config.deletable(), config.partial()) as store,
    ):
        yield store


def _where(expression: str | None) -> Where | None:
    try:
        return None if expression is None else Where(expression)
    except ValueError as error:
        stop(f"--where: {str(error).splitlines()[0]}", 2)


def _table(groups: list[Group]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name, right in (("count", True), ("feed", False), ("reason", False), ("last", False), ("sample", True)):
        table.add_column(name, justify="right" if right else "left", header_style="dim", overflow="fold")
    for group in groups:
        last = group.last.strftime("%m-%d %H:%M")
        table.add_row(str(group.count), group.feed, group.reason, last, str(group.sample))
    return table


def _show(config: Config, entry: Entry) -> None:
    terminal = console()
    settled = f"resolved {entry.resolved_at:%Y-%m-%d %H:%M} UTC" if entry.resolved_at else "waiting"
    terminal.print(
        Text.assemble((f"{entry.id} ", "bold"), entry.feed, f" into {entry.table_name}: ", (entry.reason, "bold red"))
    )
    terminal.print(f"received {entry.received_at:%Y-%m-%d %H:%M:%S} UTC, {entry.attempts} attempts since, {settled}")
    terminal.print(Text(f"{AT_FAULT} {entry.detail}", style="red"))
    terminal.print()
    feed = feed_of(entry.feed)
    if feed not in config.feeds():
        terminal.print(Text(_raw(entry)))
        terminal.print("the present configuration has no such feed")
        return
    transform = transform_of(config, feed)
    column = entry.reason.rpartition(": ")[0]
    branches = [each for each in config.feeds()[feed][1].branches if each.into == entry.table_name]
    mapping = {name: value.from_ for each in branches for name, value in each.map.items() if value.from_}
    try:
        record = None if entry.record is None else transform.reread(message_of(entry))
    except FormatError:
        record = None
    terminal.print(Text(_raw(entry)) if record is None else marked(record, mapping, [column]))
    terminal.print()
    terminal.print(_now(transform, entry))


def _now(transform: Transform, entry: Entry) -> Text:
    """Say what the present configuration makes of an entry."""
    message = message_of(entry)
    try:
        records = records_of(transform, entry)
    except FormatError as error:
        return Text(f"now: still does not decode: {error}", style="red")
    function = function_of(transform)
    verdicts = [each for _, record in records for each in asyncio.run(attempts(transform, function, message, record))]
    refused = [verdict for verdict in verdicts if verdict.reason]
    if refused:
        return Text(f"now: still refused: {refused[0].detail}", style="red")
    loads = any(verdict.row is not None for verdict in verdicts)
    return Text(
        f"now: would load; headrace quarantine replay {entry.id}" if loads else "now: would be left out", style="green"
    )


def _raw(entry: Entry) -> str:
    raw = entry.record if entry.record is not None else entry.message or b""
    text = hidden_raw(raw[:20_000].decode(errors="replace"))[:2000]
    return "".join(character if character.isprintable() or character == "\n" else "�" for character in text)


def _told(outcome: Outcome, *, dry_run: bool) -> str:
    """Sum up a replay; the figures add up to the first."""
    counts = outcome.counts
    terms = _terms(counts)
    told = " + ".join(f"{number} {term}" for term, number in terms.items())
    lines = [f"{'would replay' if dry_run else 'replayed'} {counts.received} = {told}"]
    lines += [f"  {feed}: {reason} ({number})" for (feed, reason), number in sorted(outcome.again.items())]
    lines += [f"  {feed}: {number} stay: no such feed" for feed, number in sorted(outcome.homeless.items())]
    return "\n".join(lines)


def _terms(counts: Counts) -> dict[str, int]:
    names = ("loaded", "unchanged", "stale", "duplicate", "filtered")
    return {name: getattr(counts, name) for name in names} | {"refused again": counts.quarantined}


def _document(outcome: Outcome) -> dict[str, object]:
    again = [{"feed": feed, "reason": reason, "count": number} for (feed, reason), number in outcome.again.items()]
    terms = {name.replace(" ", "_"): number for name, number in _terms(outcome.counts).items()}
    return {"replayed": outcome.counts.received, **terms, "again": again, "no_such_feed": outcome.homeless}
