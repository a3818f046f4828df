"""`headrace top`: how the running daemon does, live in the terminal."""

import asyncio
import contextlib
from pathlib import Path
from typing import Annotated

import aiohttp
import typer
from rich.console import RenderableType
from rich.live import Live
from rich.text import Text

from service.cli.options import ConfigPath, UrlOption, console, read, stop
from service.cli.picture import picture
from service.config.settings import Http
from service.errors import StartError
from service.workbench.daemon_status import address, ask


def top(
    config: ConfigPath = Path("config.yaml"),
    *,
    url: UrlOption = None,
    every: Annotated[float, typer.Option(min=0.1, help="Seconds between two looks.")] = 1.0,
) -> None:
    """Watch the running daemon until Ctrl-C; a daemon that restarts is waited for."""
    http = read(config).http
    try:
        place = url or address(http)
    except StartError as error:
        stop(str(error), 2)
    terminal = console()
    if not terminal.is_terminal:
        stop("top needs a terminal; headrace status prints the same once", 2)
    with Live(console=terminal, screen=True, auto_refresh=False) as live, contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_watch(live, http, place, every))


async def _watch(live: Live, http: Http, place: str, every: float) -> None:
    async with aiohttp.ClientSession() as session:
        while True:
            live.update(await _look(session, http, place), refresh=True)
            await asyncio.sleep(every)


async def _look(session: aiohttp.ClientSession, http: Http, place: str) -> RenderableType:
    try:
        return picture(await ask(session, place, http.token.get_secret_value()))
    except StartError as error:
        return Text(str(error), style="red")
