"""What commands share: the option that names the configuration, and how it is read."""

import os
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from service.config.load import load
from service.config.settings import Config
from service.errors import ConfigError

ConfigPath: TypeAlias = Annotated[
    Path, typer.Option("--config", "-c", help="The configuration file.", show_default=True)
]


def read(path: Path) -> Config:
    """Read the configuration; after printing all that is wrong with it, exit 2."""
    try:
        return load(path, os.environ)
    except ConfigError as error:
        report(error)
        raise typer.Exit(2) from None


def report(error: ConfigError) -> None:
    """Print problems to stderr, one a line, and their number."""
    for problem in error.problems:
        typer.echo(str(problem), err=True)
    count = len(error.problems)
    typer.echo(f"{count} problem{'s' if count > 1 else ''}", err=True)
