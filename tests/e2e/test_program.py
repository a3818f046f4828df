"""The program from the outside: commands, exit codes, endpoints."""

import asyncio
import importlib.metadata
import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest

from service.demo.providers import Providers
from tests.daemon import CONFIG, ROOT, Daemon, balanced, rows
from tests.postgres import free_port


def headrace(*arguments: str, folder: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "service", *arguments],
        cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT), **environ}, capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip


def test_the_version_is_that_of_the_package(tmp_path: Path) -> None:
    done = headrace("--version", folder=tmp_path)
    assert (done.returncode, done.stdout) == (0, f"headrace {importlib.metadata.version('headrace')}\n")


def test_check_of_the_example_says_what_it_means(tmp_path: Path) -> None:
    done = headrace("check", "-c", str(CONFIG), folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "acme.fixtures" in done.stdout
    assert "acme.scores" in done.stdout
    assert "acme.scores (websocket) into matches: at least once" in done.stdout
    assert "fixtures is asked anew" in done.stdout


def test_check_never_shows_a_secret(tmp_path: Path) -> None:
    done = headrace("check", "-c", str(CONFIG), folder=tmp_path, ACME_TOKEN="s3cr3t-of-acme", HEADRACE_PORT="nonsense")
    assert done.returncode == 2
    assert "s3cr3t-of-acme" not in done.stdout + done.stderr


def test_a_wrong_configuration_exits_2_with_its_places_before_anything_starts(tmp_path: Path) -> None:
    text = CONFIG.read_text().replace("every: 5s", "everi: 5s").replace("kickoff: utcDate", "kickof: utcDate")
    (tmp_path / "config.yaml").write_text(text)
    done = headrace("run", folder=tmp_path)
    assert done.returncode == 2
    lines = text.splitlines()
    for key, suggestion in (("everi", "every"), ("kickof", "kickoff")):
        number = next(number for number, line in enumerate(lines, 1) if line.strip().startswith(f"{key}:"))
        (told,) = [line for line in done.stderr.splitlines() if f"config.yaml:{number}:" in line]
        assert suggestion in told
    assert not (tmp_path / "data").exists()


def test_schema_is_json_and_ddl_is_sql(tmp_path: Path) -> None:
    assert "providers" in json.loads(headrace("schema", folder=tmp_path).stdout)["properties"]
    ddl = headrace("ddl", "-c", str(CONFIG), folder=tmp_path)
    assert ddl.returncode == 0, ddl.stderr
    assert "CREATE TABLE" in ddl.stdout
    assert "headrace.quarantine" in ddl.stdout


async def test_a_port_in_use_is_one_sentence_and_exit_1(tmp_path: Path) -> None:
    with socket.create_server(("0.0.0.0", 0)) as taken:
        port = taken.getsockname()[1]
        done = await asyncio.to_thread(
            headrace,
            "run",
            "-c",
            str(CONFIG),
            folder=tmp_path,
            HEADRACE_PORT=str(port),
            DATABASE_URL="postgresql://x@127.0.0.1:1/x",
        )
    assert done.returncode == 1
    assert f":{port}" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_data_directory_without_rights_is_one_sentence_and_exit_1(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir(mode=0o500)
    done = headrace(
        "run", "-c", str(CONFIG), folder=tmp_path, HEADRACE_PORT="0", DATABASE_URL="postgresql://x@127.0.0.1:1/x"
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr


async def test_a_second_daemon_on_the_same_spool_is_one_sentence_and_exit_1(database: str, tmp_path: Path) -> None:
    async with Providers(speed=10) as providers:
        environ = {"DATABASE_URL": database, "ACME_URL": providers.rest_url, "ACME_LIVE_URL": providers.websocket_url}
        async with Daemon(tmp_path, environ) as daemon:
            await daemon.until(lambda status: status["ready"])
            second = await asyncio.to_thread(
                headrace, "run", "-c", str(CONFIG), folder=tmp_path, **environ, HEADRACE_PORT=str(free_port())
            )
    assert second.returncode == 1
    assert "another Headrace" in second.stderr
    assert "Traceback" not in second.stderr


async def test_the_endpoints_tell_the_state_and_guard_the_commands(database: str, tmp_path: Path) -> None:
    async with Providers(speed=50) as providers:
        environ = {"DATABASE_URL": database, "ACME_URL": providers.rest_url, "ACME_LIVE_URL": providers.websocket_url}
        async with Daemon(tmp_path, environ) as daemon:
            status = await daemon.until(lambda status: status["ready"] and status["ledger"]["loaded"] > 100)
            assert balanced(status)
            assert {feed["state"] for feed in status["feeds"].values()} == {"live"}
            for path in ("/livez", "/readyz", "/startupz"):
                assert (await daemon.get(path))[0] == 200
            code, metrics = await daemon.get("/metrics")
            assert code == 200
            assert 'headrace_records_total{feed="acme.scores",outcome="loaded"}' in metrics
            assert 'headrace_feed_up{feed="acme.fixtures"} 1.0' in metrics
            assert 'headrace_ready{check="database"} 1.0' in metrics
            told = set(re.findall(r"^# HELP (\w+)", metrics, re.MULTILINE))
            assert set(re.findall(r"\bheadrace_(?!schema)\w+", (ROOT / "docs/operations.md").read_text())) <= told
            assert "Headrace" in (await daemon.get("/"))[1]
            assert "demo" not in json.dumps(status)


async def test_the_dashboard_is_our_own_files_and_reads_what_the_status_has(database: str, tmp_path: Path) -> None:
    async with Providers(speed=50.0) as providers:
        environ = {"DATABASE_URL": database, "ACME_URL": providers.rest_url, "ACME_LIVE_URL": providers.websocket_url}
        async with Daemon(tmp_path, environ) as daemon, aiohttp.ClientSession(daemon.url) as client:
            status = await daemon.until(lambda status: all("ledger" in feed for feed in status["feeds"].values()))
            texts = {}
            for path in ("/", "/dashboard/page.js", "/dashboard/style.css"):
                async with client.get(path) as answer:
                    assert answer.status == 200
                    assert "'unsafe-inline'" not in answer.headers["Content-Security-Policy"]
                    texts[path] = await answer.text()
    page, script, style = texts.values()
    assert set(re.findall(r'(?:src|href)="([^"]+)"', page)) == {
        "data:,", "dashboard/style.css", "dashboard/page.js", "status",
    }  # fmt: skip
    assert not re.search(r"<script>|<style|style=|\son\w+=", page)
    assert not re.search(r"https?://", script + style)
    assert set(re.findall(r'\$\("([\w-]+)"\)', script)) <= set(re.findall(r'id="([\w-]+)"', page))
    assert set(re.findall(r"\bs\.(\w+)", script)) - {"textContent"} <= status.keys()
    shown = set(re.findall(r"\bf\.(\w+)", script)) - {"absent", "waiting"}  # which only feeds of their kinds have
    assert shown <= status["feeds"]["acme.scores"].keys()


async def test_an_unreachable_database_and_provider_are_shown_and_retried(database: str, tmp_path: Path) -> None:
    dead = f"127.0.0.1:{free_port()}"
    environ = {
        "DATABASE_URL": f"postgresql://u:hush-hush@{dead}/x", "ACME_URL": f"http://{dead}", "ACME_LIVE_URL": f"ws://{dead}",
    }  # fmt: skip
    async with Daemon(tmp_path, environ) as daemon:
        status = await daemon.until(lambda status: status["checks"]["database"] not in {"ok", "not tried yet"})
        assert (await daemon.get("/readyz"))[0] == 503
        assert (await daemon.get("/startupz"))[0] == 503
        assert "hush-hush" not in json.dumps(status) + daemon.log.read_text()
        assert await daemon.stop() == 0
    assert await rows(database, "select 1 as one") == [{"one": 1}]
