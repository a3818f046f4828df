"""`headrace tap`: records of the running daemon as they pass."""

import asyncio
import os
import sys
from collections.abc import Mapping
from contextlib import aclosing
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, get_args

import aiohttp
import msgspec
import typer
from rich.console import Console
from rich.text import Text

from service.cli.options import ConfigPath, UrlOption, console, read, stop
from service.errors import StartError
from service.pipeline.listener import Stage
from service.workbench.daemon_status import address
from service.workbench.daemon_tap import listen
from service.workbench.outline import outline

_decode = msgspec.json.Decoder(float_hook=Decimal).decode
_Stages = StrEnum("_Stages", {name: name for name in get_args(Stage)})  # type: ignore[misc]  # typer knows enums
_STYLES = {"refused": "bold red", "committed": "green", "mapped": "cyan"}


def tap(
    feed: Annotated[str, typer.Argument(metavar="PROVIDER.FEED", help="The feed to listen to.")],
    config: ConfigPath = Path("config.yaml"),
    *,
    url: UrlOption = None,
    stage: Annotated[_Stages, typer.Option(help="Where to look at records.")] = _Stages["mapped"],
    sample: Annotated[float | None, typer.Option(min=0, max=1, help="The share of the records to show: 0.1.")] = None,
    every: Annotated[int | None, typer.Option(min=1, help="Show the first record, and every so-many-th.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="End after so many records.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON lines; so it does through a pipe.")] = False,
) -> None:
    """Show records of the running daemon as they pass, until Ctrl-C. The feed never waits for it.

    Exits 1 when the daemon does not answer, says no, or goes away.
    """
    if sample is not None and every is not None:
        stop("either --sample or --every, not both", 2)
    if sample == 0:
        stop("--sample is a share of the records, above 0 and at most 1", 2)
    http = read(config).http
    asked = {"stage": stage.value}
    asked |= {"sample": f"{sample:.12f}"} if sample is not None else {}
    asked |= {"every": str(every)} if every is not None else {}
    terminal = console()
    shown = None if as_json or not terminal.is_terminal else terminal
    try:
        asyncio.run(_show(url or address(http), http.token.get_secret_value(), feed, asked, limit, shown))
    except StartError as error:
        stop(str(error), 1)
    except KeyboardInterrupt:
        return
    except BrokenPipeError:  # the reader of the pipe has enough; do not fail once more when Python ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


async def _show(
    url: str, token: str, feed: str, asked: Mapping[str, str], limit: int | None, terminal: Console | None
) -> None:
    async with aiohttp.ClientSession() as session, aclosing(listen(session, url, token, feed, asked)) as lines:
        async for line in lines:
            item: dict[str, Any] = _decode(line)
            if "ended" in item:
                raise StartError(f"{url}: {item['ended']}")
            if "missed" in item:
                typer.echo(f"headrace: {item['missed']} more passed too fast to be shown", err=True)
                continue
            if terminal is None:
                sys.stdout.buffer.write(line + b"\n")
                sys.stdout.buffer.flush()
            else:
                _print(terminal, item)
            limit = limit - 1 if limit is not None else None
            if limit == 0:
                return


def _print(terminal: Console, item: Mapping[str, Any]) -> None:
    """Print one record: when, at which stage, of which table, and below it what it holds."""
    at = str(item.get("received_at") or item.get("committed_at"))
    head = Text.assemble((f"{at[11:-1]} ", "dim"), (item["stage"], _STYLES.get(item["stage"], "bold")))
    if item.get("table"):
        head.append(f" {item['table']}" + (", deletes its row" if item.get("deletes") else ""))
    if "reason" in item:
        head.append(f": {item['reason']}", "red")
    terminal.print(head)
    if "detail" in item:
        terminal.print(Text(f"  {item['detail']}", style="red"), soft_wrap=True)
    for line in outline(item["row"] if "row" in item else item.get("record")):
        terminal.print(Text(f"  {line.text}"), soft_wrap=True)
