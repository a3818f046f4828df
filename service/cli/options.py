"""What commands share: the option that names the configuration, how it is read, and how feeds are named."""

import os
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, NoReturn, TypeAlias, cast

import msgspec
import typer
from rich.console import Console

from service.config.load import load
from service.config.settings import Config
from service.errors import ConfigError
from service.sources import Source
from service.transform.transform import Transform

_encode = msgspec.json.Encoder(decimal_format="number", enc_hook=str).encode

ConfigPath: TypeAlias = Annotated[
    Path, typer.Option("--config", "-c", help="The configuration file.", show_default=True)
]
UrlOption: TypeAlias = Annotated[
    str | None, typer.Option("--url", help="Where the daemon answers; by default as http.port says.")
]


def read(path: Path) -> Config:
    """Read the configuration; after printing all that is wrong with it, exit 2."""
    try:
        return load(path, os.environ)
    except ConfigError as error:
        report(error)
        raise typer.Exit(2) from None


def source_of(config: Config, feed: str, where: str = "") -> Source:
    """Give a feed's settings by its full name; after saying that there is none, and where it is named, exit 2."""
    feeds = config.feeds()
    if feed not in feeds:
        close = get_close_matches(feed, feeds, n=1)
        hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(feeds)}"
        stop(f"{where}there is no feed {feed!r} in the configuration; {hint}", 2)
    return cast("Source", feeds[feed][1])


def transform_of(config: Config, feed: str, where: str = "") -> Transform:
    """Make a feed's transform; after printing what does not fit in the configuration, exit 2."""
    source = source_of(config, feed, where)
    try:
        return Transform(feed, source, config.tables, config.deletable())
    except ConfigError as error:
        report(error)
        raise typer.Exit(2) from None


def console() -> Console:
    """Give the terminal, or the pipe, that results go to; NO_COLOR is respected."""
    return Console(highlight=False, soft_wrap=False, emoji=False, markup=False)


def as_text(document: object) -> str:
    """Write a document as JSON for machines, with the digits of its numbers."""
    return msgspec.json.format(_encode(document), indent=2).decode()


def stop(message: str, code: int) -> NoReturn:
    """Say in one sentence why the command ends, and end it."""
    typer.echo(f"headrace: {message}", err=True)
    raise typer.Exit(code)


def report(error: ConfigError) -> None:
    """Print problems to stderr, one a line, and their number."""
    for problem in error.problems:
        typer.echo(str(problem), err=True)
    count = len(error.problems)
    typer.echo(f"{count} problem{'s' if count > 1 else ''}", err=True)
