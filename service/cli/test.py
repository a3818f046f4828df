"""`headrace test`: runs the configuration's own cases offline, so that it can have a CI of its own."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from service.cli.options import ConfigPath, as_text, console, read, report, stop, transform_of
from service.config.settings import Config
from service.errors import ConfigError
from service.workbench.cases import Case, Difference, read_cases
from service.workbench.cases import run as run_case


def run_cases(
    files: Annotated[
        list[Path] | None,
        typer.Argument(help="Files of cases; by default cases.yaml and cases/*.yaml beside the configuration."),
    ] = None,
    config: ConfigPath = Path("config.yaml"),
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object, for machines.")] = False,
) -> None:
    """Run cases: recorded input, and the rows and refusals that must come of it. Exits 1 when one fails."""
    settings = read(config)
    chosen = files or [
        path for path in (config.parent / "cases.yaml", *sorted(config.parent.glob("cases/*.yaml"))) if path.exists()
    ]
    if not chosen:
        stop("there are no cases: write cases.yaml, or cases/*.yaml, beside the configuration", 2)
    results = [(path, case, _run(path, case, settings)) for path in chosen for case in _cases(path)]
    failed = sum(bool(differences) for _, _, differences in results)
    if as_json:
        told = [
            {"file": str(path), "case": case.name, "feed": case.feed, "differences": diff}
            for path, case, diff in results
        ]
        typer.echo(as_text({"cases": len(results), "failed": failed, "results": told}))
    else:
        terminal = console()
        for _, case, differences in results:
            _tell(terminal, case, differences)
        terminal.print(f"{len(results)} case{'s' if len(results) > 1 else ''}, {failed} failed")
    raise typer.Exit(1 if failed else 0)


def _cases(path: Path) -> tuple[Case, ...]:
    try:
        return read_cases(path)
    except ConfigError as error:
        report(error)
        raise typer.Exit(2) from None


def _run(path: Path, case: Case, config: Config) -> list[Difference]:
    where = f"{path}: {case.name or case.feed}: "
    try:
        return run_case(case, config, transform_of(config, case.feed, where), path.parent)
    except OSError as error:
        stop(f"{where}{case.file}: {error.strerror or error}", 2)


def _tell(terminal: Console, case: Case, differences: list[Difference]) -> None:
    """Print a case's outcome, and below it each difference, expected above found."""
    name = case.name or case.feed
    line = partial(terminal.print, soft_wrap=True)
    line(Text.assemble(("✗ ", "bold red"), name) if differences else Text.assemble(("✓ ", "green"), name))
    for difference in differences:
        line(Text(f"    {difference.where}"))
        line(Text(f"      expected  {difference.expected}", style="green"))
        line(Text(f"      found     {difference.found}", style="red"))
