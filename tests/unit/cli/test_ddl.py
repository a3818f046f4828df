import asyncio
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from service.cli.ddl import ddl
from tests.sql import execute

CONFIG = """\
database: {{url: "{url}"}}
tables:
  goals: {{key: id, columns: {{id: text, note: {{type: text, null: true, default: 'a\\b'}}}}, indexes: [[note]]}}
providers:
  acme:
    url: https://acme.example
    feeds: {{polled: {{kind: rest, into: goals, map: {{id: id}}}}}}
"""


def run(*arguments: str) -> tuple[int, str, str]:
    app = typer.Typer()
    app.command("ddl")(ddl)
    result = CliRunner().invoke(app, arguments)
    return result.exit_code, result.stdout, result.stderr


async def in_a_thread(*arguments: str) -> tuple[int, str, str]:
    return await asyncio.to_thread(run, *arguments)


@pytest.fixture
def file(tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "config.yaml"
    file.write_text(CONFIG.format(url=database))
    return file


def test_without_a_database_all_is_printed(file: Path) -> None:
    file.write_text(CONFIG.format(url="postgresql://nobody@127.0.0.1:1/nowhere"))
    code, out, err = run()
    assert (code, err) == (0, "")
    assert "CREATE TABLE public.goals (\n" in out
    assert "CREATE INDEX ON public.goals (note);\n" in out
    assert "DEFAULT 'a\\b'" in out
    assert "CREATE SCHEMA IF NOT EXISTS headrace;\n" in out
    assert "CREATE TABLE IF NOT EXISTS headrace.positions (\n" in out


async def test_with_a_database_only_what_it_lacks_is_printed_and_running_it_leaves_nothing(
    file: Path, database: str
) -> None:
    await execute(database, "CREATE TABLE goals (id text PRIMARY KEY)")
    code, out, _ = await in_a_thread("--connect")
    assert code == 0
    assert out.startswith("CREATE SCHEMA IF NOT EXISTS headrace;\n\nALTER TABLE public.goals ADD COLUMN note TEXT ")
    assert "CREATE TABLE public.goals" not in out
    assert (await in_a_thread("--connect"))[1] == out
    await execute(database, out)
    assert await in_a_thread("--connect") == (0, "-- nothing is missing\n", "")


async def test_what_must_be_done_by_hand_goes_to_stderr_with_exit_1(file: Path, database: str) -> None:
    await execute(database, "CREATE TABLE goals (id integer PRIMARY KEY)")
    code, out, err = await in_a_thread("--connect")
    assert code == 1
    assert err == (
        "goals.id is INTEGER, which cannot hold text; "
        "by hand: ALTER TABLE public.goals ALTER COLUMN id TYPE TEXT USING id::text::TEXT\n"
    )
    assert "ADD COLUMN note" in out


def test_a_database_that_is_away_is_one_sentence_and_exit_1(file: Path) -> None:
    file.write_text(CONFIG.format(url="postgresql://nobody:geheim@127.0.0.1:1/nowhere"))
    code, out, err = run("--connect")
    assert (code, out) == (1, "")
    assert err.startswith("no connection to the database: ")
    assert err.count("\n") == 1
    assert "geheim" not in err
