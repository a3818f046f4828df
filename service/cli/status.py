"""`headrace status`: how the running daemon does, once."""

import asyncio
from pathlib import Path
from typing import Annotated, Any

import aiohttp
import typer

from service.cli.options import ConfigPath, UrlOption, as_text, console, read, stop
from service.cli.picture import picture
from service.config.settings import Http
from service.errors import StartError
from service.workbench.daemon_status import address, ask


def status(
    config: ConfigPath = Path("config.yaml"),
    *,
    url: UrlOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the document of /status.")] = False,
) -> None:
    """Say how the running daemon does. Exits 1 when it does not answer or is not ready."""
    http = read(config).http
    try:
        found = asyncio.run(_ask(http, url))
    except StartError as error:
        stop(str(error), 1)
    if as_json:
        typer.echo(as_text(found))
    else:
        console().print(picture(found))
    raise typer.Exit(0 if found.get("ready") else 1)


async def _ask(http: Http, url: str | None) -> dict[str, Any]:
    async with aiohttp.ClientSession() as session:
        return await ask(session, url or address(http), http.token.get_secret_value())
