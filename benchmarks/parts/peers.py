"""Tools of others as contestants, each in an environment of its own, each with settings that suit it."""

import asyncio
import json
import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import mkdtemp

from benchmarks.parts.contest import ROOT, Contestant, Failed, Place, Run, contest, running
from benchmarks.parts.database import Database
from benchmarks.parts.providers import Provider
from benchmarks.parts.script import Once
from benchmarks.parts.venvs import environment
from benchmarks.parts.work import BASE, Work

REHEARSAL = 120.0
"""Seconds for a tool to load one record."""
SCRIPTS = ROOT / "benchmarks" / "peers"


@dataclass(frozen=True)
class Peer:
    """A tool.

    Attributes:
        pins: name of the file that pins its environment.
        shell: gives its command from that environment, the place, and the address to read.
        table: where it writes.
        path: the address's path; ``/sample`` and the same ending has one record.
        own: expressions for columns that it adds to the table.
        environ: beside the benchmark's own environment.
    """

    pins: str
    shell: Callable[[Path, Place, str], str]
    table: str
    path: str = "/json/1"
    own: dict[str, str] = field(default_factory=dict)
    environ: dict[str, str] = field(default_factory=dict)


def dlt(strategy: str) -> Peer:
    """Give dlt with its REST source."""
    return Peer(
        pins="dlt",
        # It wants a password, which the server does not ask for.
        shell=lambda venv, place, address: shlex.join([
            str(venv / "bin" / "python"), str(SCRIPTS / "dlt_rest.py"),
            place.url.replace("postgres@", "postgres:unused@"), address, strategy,
        ]),
        table="dlt.matches",
        own={"_dlt_load_id": "'preloaded'", "_dlt_id": "md5(match_id)"},
        environ={"RUNTIME__DLTHUB_TELEMETRY": "false", "RUNTIME__LOG_LEVEL": "ERROR"},
    )  # fmt: skip


def singer() -> Peer:
    """Give a tap of ours, piped into Meltano's target for Postgres."""

    def shell(venv: Path, place: Place, address: str) -> str:
        config = place.folder / "target.json"
        settings = {
            "sqlalchemy_url": place.url.replace("postgresql:", "postgresql+psycopg:"),
            "default_target_schema": "singer", "load_method": "upsert", "use_copy": True, "validate_records": False,
            "add_record_metadata": False, "activate_version": False,
        }  # fmt: skip
        config.write_text(json.dumps(settings))
        tap = [sys.executable, str(SCRIPTS / "singer_tap.py"), address]
        return f"{shlex.join(tap)} | {shlex.join([str(venv / 'bin' / 'target-postgres'), '--config', str(config)])}"

    return Peer(pins="singer", shell=shell, table="singer.matches")


def sling() -> Peer:
    """Give sling, which reads the file by HTTP."""

    def shell(venv: Path, place: Place, address: str) -> str:
        program = next(venv.glob("lib/*/site-packages/sling_linux_amd64/bin/sling-linux-amd64"))
        program.chmod(0o755)
        return shlex.join([
            str(program), "run", "--src-stream", address, "--tgt-conn", f"{place.url}?sslmode=disable",
            "--tgt-object", "sling.matches", "--mode", "incremental", "--primary-key", "provider,match_id",
            # Left to itself it takes the versions for dates.
            "--columns", json.dumps({"kickoff": "timestampz", "updated_at": "timestampz"}),
        ])  # fmt: skip

    return Peer(
        pins="sling",
        shell=shell,
        table="sling.matches",
        path="/matches.csv",
        environ={"SLING_DISABLE_TELEMETRY": "true", "SLING_LOADED_AT_COLUMN": "false"},
    )


async def peer(tool: Peer, provider: Provider, work: Work, base: Database) -> Once:
    """Install a tool and prepare its runs: it makes its table from one record, which then gets the live keys.

    Raises:
        Failed: it cannot be installed.
    """
    venv = await environment(tool.pins)

    def contestant(path: str) -> Contestant:
        def command(place: Place) -> list[str]:
            run = tool.shell(venv, place, f"http://127.0.0.1:{place.port}{path}")
            # The shell stays until it is told: what CPU its children took can then be read.
            return ["sh", "-c", f"{run} && {{ read _ || true; }}"]

        return Contestant(command, tool.table, {"HOME": str(base.folder), **tool.environ})

    async def run() -> Run:
        await base.fresh(work)
        folder = Path(mkdtemp(dir=base.folder))
        ending = Path(tool.path).suffix
        await _rehearse(contestant(f"/sample{ending}"), provider, base, folder)
        names = [*BASE, *tool.own]
        values = ", ".join([*BASE, *tool.own.values()])
        fill = f"INSERT INTO {tool.table} ({', '.join(names)}) SELECT {values} FROM public.matches"
        await base.execute(f"TRUNCATE {tool.table}", fill, f"VACUUM ANALYZE {tool.table}", "CHECKPOINT")
        return await contest(contestant(tool.path), provider, work, base, folder)

    return run


async def _rehearse(contestant: Contestant, provider: Provider, base: Database, folder: Path) -> None:
    place = Place(base.url, provider.port, folder)
    with provider:
        async with running(contestant, place, base) as process:
            assert process.stdin is not None
            process.stdin.close()  # what the shell would wait for
            try:
                async with asyncio.timeout(REHEARSAL):
                    await process.wait()
            except TimeoutError:
                raise Failed(f"the rehearsal took longer than {REHEARSAL:.0f} s") from None
        if process.returncode:
            raise Failed(f"ended with {process.returncode}: {(folder / 'log').read_text()[-2000:]}")
