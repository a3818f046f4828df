import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from service.config.load import load
from service.transform.transform import Piece, Transform
from tests.store_feed import Feed, store_of
from tests.unit.cli.commands import CONFIG, Ended, headrace
from tests.unit.transform.making import message

RECORDS = [{"id": name, "when": {"at": "2026-01-01T10:00:00Z"}, "n": n} for name, n in (("a", 1), ("b", 12), ("c", 30))]


@pytest.fixture
async def folder(tmp_path: Path, database: str) -> AsyncIterator[Path]:
    """A folder with a configuration, whose database holds one row and two refused records."""
    (tmp_path / "config.yaml").write_text(CONFIG)
    (tmp_path / "wider.yaml").write_text(CONFIG.replace("max: 9", "max: 20"))
    config = load(tmp_path / "config.yaml", {"DATABASE_URL": database})
    source = config.feeds()["acme.polled"][1].model_copy(update={"records": None})
    transform = Transform("acme.polled", source, config.tables)
    async with store_of(database, dict(config.tables)) as store:
        await store.prepare()
        sent = message(RECORDS)
        mapped = transform.map([Piece(sent, transform.read(sent))])
        feed = Feed(store, "acme.polled")
        await feed.commit(feed.write({"goals": mapped.rows}, mapped.refusals))
        yield tmp_path


async def run(folder: Path, database: str, *arguments: str, stdin: str = "") -> Ended:
    return await asyncio.to_thread(headrace, folder, "quarantine", *arguments, stdin=stdin, DATABASE_URL=database)


async def test_the_list_groups_by_reason(folder: Path, database: str) -> None:
    code, out, err = await run(folder, database, "list")
    assert (code, err) == (0, "")
    assert [line.split()[:4] for line in out.splitlines()[1:2]] == [["2", "acme.polled", "n:", "max"]]
    assert out.endswith("2 records; headrace quarantine show ID says more\n")
    found = json.loads((await run(folder, database, "list", "--json")).out)
    assert (found["total"], found["groups"][0]["sample"]) == (2, 2)
    assert (await run(folder, database, "list", "--feed", "acme.heard")).out == "nothing is in quarantine\n"


async def test_one_is_shown_with_the_value_marked_and_what_would_become_of_it_now(folder: Path, database: str) -> None:
    code, out, _ = await run(folder, database, "show", "1")
    assert code == 0
    assert out.startswith("1 acme.polled into goals: n: max\n")
    assert '✗   "n": 12' in out
    assert "now: still refused" in out
    assert "now: would load" in (await run(folder, database, "show", "1", "-c", "wider.yaml")).out
    assert json.loads((await run(folder, database, "show", "1", "--json")).out)["reason"] == "n: max"
    code, out, err = await run(folder, database, "show", "99")
    assert (code, out, err) == (1, "", "headrace: there is no entry 99 in quarantine\n")


async def test_replay_adds_up_and_exits_1_while_something_is_refused_again(folder: Path, database: str) -> None:
    told = "2 = 1 loaded + 0 unchanged + 0 stale + 0 duplicate + 0 filtered + 1 refused again"
    dry = await run(folder, database, "replay", "--dry-run", "-c", "wider.yaml")
    assert dry == (1, f"would replay {told}\n  acme.polled: n: max (1)\n", "")
    code, out, _ = await run(folder, database, "replay", "-c", "wider.yaml", "--json")
    assert (code, json.loads(out)["loaded"], json.loads(out)["refused_again"]) == (1, 1, 1)
    assert (await run(folder, database, "replay", "--where", "n < 20")).out.startswith("replayed 0 = ")
    assert "2 records" in (await run(folder, database, "list", "--all")).out


async def test_drop_asks_first(folder: Path, database: str) -> None:
    ended = await run(folder, database, "drop", "1", stdin="n\n")
    assert (ended.code, ended.out.strip()) == (1, "")
    assert (await run(folder, database, "drop", "1", stdin="y\n")).out.strip() == "1 records dropped"
    assert (await run(folder, database, "drop", "--purge", "--yes")).out == "2 records deleted\n"
    assert (await run(folder, database, "drop", "--yes")).out == "there is nothing to drop\n"


async def test_drop_tells_machines_how_many_there_were(folder: Path, database: str) -> None:
    assert json.loads((await run(folder, database, "drop", "1", "--yes", "--json")).out) == {"dropped": 1}
    assert json.loads((await run(folder, database, "drop", "--purge", "--yes", "--json")).out) == {"deleted": 2}
    assert json.loads((await run(folder, database, "drop", "--yes", "--json")).out) == {"dropped": 0}


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["replay", "--where", "n >"], 2, "headrace: --where: Failed to parse expression 'n >'"),
        (["list", "-c", "none.yaml"], 2, "cannot read the configuration"),
    ],
)
async def test_a_wrong_command_line_exits_2(
    folder: Path, database: str, arguments: list[str], code: int, said: str
) -> None:
    ended = await run(folder, database, *arguments)
    assert ended.code == code
    assert said in ended.err


async def test_a_database_that_is_away_is_said(folder: Path) -> None:
    ended = await run(folder, "postgresql://127.0.0.1:9/x", "list")
    assert (ended.code, ended.out) == (1, "")
    assert "no connection to the database" in ended.err
    assert "Traceback" not in ended.err
