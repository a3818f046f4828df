"""``headrace run``: the daemon."""

import asyncio
import sys
from pathlib import Path

import typer

from service.cli.logs import set_up_logging
from service.cli.options import ConfigPath, read
from service.daemon import Daemon
from service.errors import StartError


def run(config: ConfigPath = Path("config.yaml")) -> None:
    """Run the daemon until SIGTERM or SIGINT, which drain it."""
    settings = read(config)
    set_up_logging(settings.log)
    try:
        code = asyncio.run(Daemon(settings, config).run())
    except StartError as error:
        print(f"headrace: {error}", file=sys.stderr)  # noqa: T201  the one sentence that says why
        raise typer.Exit(1) from None
    raise typer.Exit(code)
