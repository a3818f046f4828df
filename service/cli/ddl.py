"""`headrace ddl`: prints the SQL of the tables, or what a database lacks of it."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Annotated

import typer

from service.cli.options import ConfigPath, read
from service.config.settings import Config
from service.daemon import EMBEDDED_DATA
from service.errors import StartError, StoreLost, TableRefused
from service.store.embedded import embedded_postgres
from service.store.migrate import ddl as sql
from service.store.rights import needs
from service.store.store import Store


def ddl(
    config: ConfigPath = Path("config.yaml"),
    *,
    connect: Annotated[
        bool, typer.Option("--connect", help="Ask the database, and print only what it lacks; nothing is changed.")
    ] = False,
) -> None:
    """Print the SQL that makes the configured tables and the service's own.

    With --connect: what `migrate: create` would run. Exit code 1 when something must be done by hand first.
    """
    settings = read(config)
    if not connect:
        typer.echo(sql(settings.tables, settings.database.schema_), nl=False)
        return
    try:
        text, refused = asyncio.run(missing(settings))
    except (StartError, StoreLost, TableRefused) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    for each in refused:
        typer.echo(each, err=True)
    typer.echo(text or ("" if refused else "-- nothing is missing\n"), nl=False)
    if refused:
        raise typer.Exit(1)


async def missing(config: Config) -> tuple[str, list[str]]:
    """Give the SQL that the database of a configuration lacks, and what must be done by hand; see Store.missing.

    Raises:
        StartError, StoreLost, TableRefused: the database cannot be asked.
    """
    async with AsyncExitStack() as stack:
        url = config.database.url.get_secret_value()
        if url == "embedded":
            url = await stack.enter_async_context(embedded_postgres(EMBEDDED_DATA))
        store = await stack.enter_async_context(Store(config.database, config.tables, url))
        return await store.missing(needs(config))
