import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from service.config.settings import Http
from service.errors import StartError
from service.workbench.daemon_status import address
from tests.site import Asked, Site
from tests.unit.cli.commands import CONFIG, Ended, headrace

LEDGER = {"received": 7, "loaded": 4, "unchanged": 1, "stale": 0, "duplicate": 0, "filtered": 0, "quarantined": 2}
FEED = {"state": "parked", "last_message_at": None, "rate": 1.5, "lag_s": 0.25, "last_error": "401", "reconnects": 3}
STATUS: dict[str, Any] = {
    "version": "0.1.0",
    "uptime_s": 7300.0,
    "ready": True,
    "checks": {"database": "ok"},
    "ledger": {**LEDGER, "in_flight": 0},
    "feeds": {"acme.scores": {**FEED, "ledger": LEDGER}, "acme.new": {"state": "starting"}},
    "buffer": {"kind": "spool", "bytes": 5, "max_bytes": 100},
    "tables": {},
}


async def status(folder: Path, answer: Any, *arguments: str, **environ: str) -> tuple[Ended, list[Asked]]:
    (folder / "config.yaml").write_text(CONFIG)
    async with Site(lambda _: answer) as site:
        ended = await asyncio.to_thread(headrace, folder, "status", "--url", site.url, *arguments, **environ)
        return ended, site.asked


async def test_the_state_fits_80_columns(tmp_path: Path) -> None:
    ended, asked = await status(tmp_path, web.json_response(STATUS), TOKEN="sesame")
    assert (ended.code, ended.err) == (0, "")
    assert asked[0].headers["Authorization"] == "Bearer sesame"
    lines = [line.rstrip() for line in ended.out.splitlines()]
    assert lines[0] == "ready, up 2 h, version 0.1.0, buffer (spool) 5.0 % full"
    assert lines[3].split() == ["7", "4", "1", "0", "0", "0", "2", "0"]
    assert lines[6].split() == ["acme.scores", "parked", "never", "1.5", "0.25", "2", "3"]
    assert lines[-1] == "acme.scores: 401"
    assert max(map(len, lines)) <= 80


async def test_a_daemon_that_is_not_ready_exits_1_with_the_reason(tmp_path: Path) -> None:
    sick = {**STATUS, "ready": False, "checks": {"database": "no connection", "buffer": "ok"}}
    ended, _ = await status(tmp_path, web.json_response(sick))
    assert ended.code == 1
    assert ended.out.startswith("not ready")
    assert "database: no connection" in ended.out


async def test_machines_get_the_document_as_it_is(tmp_path: Path) -> None:
    ended, _ = await status(tmp_path, web.json_response(STATUS), "--json")
    assert json.loads(ended.out) == STATUS


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (web.json_response({"error": "x"}, status=401), "asks for a token: set http.token"),
        (web.Response(text="<html>"), "answers 200, but not as a Headrace does"),
    ],
)
async def test_another_answer_is_explained(tmp_path: Path, answer: Any, said: str) -> None:
    ended, _ = await status(tmp_path, answer)
    assert (ended.code, ended.out) == (1, "")
    assert said in ended.err


def test_no_daemon_is_said(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(CONFIG)
    ended = headrace(tmp_path, "status", PORT="9")
    assert ended.code == 1
    assert ended.err.endswith("is the daemon running?\n")


def test_top_needs_a_terminal(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(CONFIG)
    ended = headrace(tmp_path, "top")
    assert (ended.code, ended.err) == (2, "headrace: top needs a terminal; headrace status prints the same once\n")


def test_the_daemon_is_looked_for_where_it_listens() -> None:
    assert address(Http(port=80)) == "http://127.0.0.1:80"
    assert address(Http(host="db.local", port=81)) == "http://db.local:81"
    assert address(Http(host="::1", port=81)) == "http://[::1]:81"
    with pytest.raises(StartError, match="say it with --url"):
        address(Http(port=0))
