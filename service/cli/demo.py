"""``headrace demo``: everything at once, with nothing to set up."""

import asyncio
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from service.cli.logs import set_up_logging
from service.cli.options import read
from service.daemon import Daemon
from service.demo.faults import Faults
from service.demo.providers import Providers
from service.errors import StartError

BUNDLED = Path(__file__).parent.parent / "demo" / "config.yaml"


def demo(
    config: Annotated[Path | None, typer.Option("--config", "-c", help="The configuration file.")] = None,
    speed: Annotated[float, typer.Option(help="Events a second from the simulated season.")] = 20.0,
) -> None:
    """Run simulated providers, an embedded Postgres and the daemon, until Ctrl-C."""
    path = config or (Path("config.yaml") if Path("config.yaml").exists() else BUNDLED)
    try:
        code = asyncio.run(_demo(path, speed))
    except StartError as error:
        print(f"headrace: {error}", file=sys.stderr)  # noqa: T201  the one sentence that says why
        raise typer.Exit(1) from None
    raise typer.Exit(code)


async def _demo(path: Path, speed: float) -> int:
    """Run the daemon against providers whose addresses are put where the configuration asks for them."""
    async with Providers(speed=speed, faults=Faults.occasional(), keep=10_000) as providers:
        os.environ.setdefault("ACME_URL", providers.rest_url)
        os.environ.setdefault("ACME_LIVE_URL", providers.websocket_url)
        settings = read(path)
        set_up_logging(settings.log)
        daemon = Daemon(settings, path)
        async with asyncio.TaskGroup() as group:
            telling = group.create_task(_tell(daemon), name="where to look")
            code = await daemon.run()
            telling.cancel()
    return code


async def _tell(daemon: Daemon) -> None:
    """Say where to look, as soon as there is something to see."""
    overview = daemon.overview
    await overview.prepared.wait()
    page = f"http://127.0.0.1:{overview.port}"
    query = "select * from matches order by updated_at desc limit 5"
    print(  # noqa: T201  this is what the user waits for
        f"\n  Headrace is running. Look at\n"
        f"    {page}/          the dashboard\n"
        f"    {page}/status    the state and the ledger, as JSON\n"
        f"    {page}/metrics   Prometheus metrics\n"
        f"    psql \"{overview.database_url or '$DATABASE_URL'}\" -c '{query}'\n"
        f"  Ctrl-C drains and stops.\n",
        file=sys.stderr,
        flush=True,
    )
