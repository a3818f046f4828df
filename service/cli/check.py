"""`headrace check`: validates the configuration, and says what it means."""

import asyncio
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.text import Text

from service.cli.connect import Try, tries
from service.cli.logs import set_up_logging
from service.cli.options import ConfigPath, read, transform_of
from service.config.describe import Meaning, TableMeaning, describe, size
from service.config.load import load
from service.config.settings import Config, Log
from service.errors import ConfigError
from service.pipeline.line import INLET_BYTES
from service.store.migrate import ddl


def check(
    config: ConfigPath = Path("config.yaml"),
    *,
    connect: Annotated[
        bool, typer.Option("--connect", help="Try the database and each feed, too; nothing is changed or loaded.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object, for machines.")] = False,
) -> None:
    """Validate the configuration and say what each feed guarantees.

    Exits 2 when it is wrong; with --connect 1 when the database or a feed fails.
    """
    if as_json:
        found = _judge(config)
        code = 0 if found["ok"] else 2
        if connect and found["ok"]:
            tried = asyncio.run(_connect(read(config), lambda _: None))
            found["connect"] = [msgspec.structs.asdict(each) for each in tried]
            found["ok"] = all(each.ok for each in tried)
            code = 0 if found["ok"] else 1
        typer.echo(json.dumps(found, indent=2))
        raise typer.Exit(code)
    console, settings = Console(soft_wrap=True, highlight=False, markup=False), read(config)
    for line in (*_lines(describe(settings, INLET_BYTES)), *_sql_lines(settings)):
        console.print(line)
    console.print(Text(f"{config} is fine", style="green"))
    if connect and not all(each.ok for each in asyncio.run(_connect(settings, lambda each: _tell(console, each)))):
        raise typer.Exit(1)


async def _connect(config: Config, tell: Callable[[Try], None]) -> list[Try]:
    """Try the database and each feed, and tell of each as soon as it is known."""
    set_up_logging(Log(level="error"))
    transforms = {name: transform_of(config, name) for name in config.feeds()}
    found = []
    async for each in tries(config, transforms):
        tell(each)
        found.append(each)
    return found


def _tell(console: Console, each: Try) -> None:
    verdict = ("ok", "green") if each.ok else ("failed", "bold red")
    console.print(Text.assemble((each.name, "bold"), ": ", verdict, f": {each.told}"))


def _judge(config: Path) -> dict[str, Any]:
    """Give the problems, or the meaning, as data."""
    try:
        settings = load(config, os.environ)
    except ConfigError as error:
        return {"ok": False, "file": str(config), "problems": [asdict(problem) for problem in error.problems]}
    meaning = asdict(describe(settings, INLET_BYTES))
    return {"ok": True, "file": str(config), "problems": [], **meaning, "sql": _sql(settings)}


def _sql(config: Config) -> str:
    """Give what makes the configured tables; nothing where the configuration has us make none."""
    database = config.database
    return ddl(config.tables, database.schema_, own_too=False) if database.migrate == "create" else ""


def _rules(table: TableMeaning) -> str:
    """Say what becomes of a record, after the number of columns."""
    key = f", key {', '.join(table.key)}" if table.key else ""
    if table.mode == "append":
        return f"{key}; every record is a new row"
    winner = f"the greatest {table.version} wins" if table.version else "the last to arrive wins"
    update = "; only rows that exist are updated" if table.mode == "update" else ""
    history = f"; every version is kept in {table.name}_history" if table.history else ""
    return f"{key}; {winner}{update}{history}"


def _sql_lines(config: Config) -> Iterator[Text]:
    sql = _sql(config)
    told = "run where something is missing; `headrace ddl` prints that of the service's own tables, too"
    yield Text.assemble(("sql", "bold"), ": ", told if sql else f"none is run: `migrate: {config.database.migrate}`")
    yield from (Text(f"  {line}".rstrip().expandtabs(4), style="dim") for line in sql.splitlines())


def _lines(meaning: Meaning) -> Iterator[Text]:
    for feed in meaning.feeds:
        yield Text.assemble((feed.name, "bold"), f" ({feed.kind}) into {feed.table}: ", (feed.guarantee, "bold"))
        yield Text(f"  {feed.loss}")
        sentences = (feed.calls, *feed.deletes, *feed.partial, feed.breaker)
        yield from (Text(f"  {sentence}") for sentence in sentences if sentence)
    for limit in meaning.limits:
        yield Text.assemble(
            (limit.provider, "bold"), ": ", ("rate_limit is exceeded", "bold yellow"), f": {limit.told}"
        )
    for table in meaning.tables:
        yield Text.assemble((table.name, "bold"), f": {table.columns} columns{_rules(table)}")
    yield Text.assemble(("database", "bold"), f": {meaning.database}")
    yield Text.assemble(("buffer", "bold"), f": {meaning.buffer}")
    yield Text.assemble(("memory", "bold"), f": queues hold at most {size(meaning.memory_bytes)}")
