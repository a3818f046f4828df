"""The command line: ``headrace COMMAND``, or ``python -m service COMMAND``."""

import importlib.metadata
import sys
from typing import Annotated

import typer

from service.cli.backfill import backfill
from service.cli.check import check
from service.cli.ddl import ddl
from service.cli.demo import demo
from service.cli.explain import explain
from service.cli.infer import infer
from service.cli.preview import preview
from service.cli.quarantine import quarantine
from service.cli.record import record
from service.cli.replay import replay
from service.cli.run import run
from service.cli.schema import schema
from service.cli.status import status
from service.cli.tap import tap
from service.cli.test import run_cases
from service.cli.top import top


def main() -> None:
    """Run the command of the command line; exit 0 fine, 1 failed, 2 wrong configuration or command line."""
    sys.path.append("")  # the user's own modules lie beside where it is started; what is installed comes first
    app = typer.Typer(
        name="headrace",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    app.callback()(_options)
    plain = (run, demo, check, infer, preview, backfill, record, replay, status, top, tap, explain, schema, ddl)
    for command in plain:
        app.command(command.__name__)(command)
    app.command("test")(run_cases)
    app.add_typer(quarantine)
    app()


def _tell(asked: bool) -> None:  # noqa: FBT001  typer hands it so
    """Print the version."""
    if asked:
        typer.echo(f"headrace {importlib.metadata.version('headrace')}")
        raise typer.Exit


def _options(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_tell, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Live provider feeds into correct, current Postgres tables."""


if __name__ == "__main__":
    main()
