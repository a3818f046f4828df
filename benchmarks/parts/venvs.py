"""Environments of the peers, each pinned and hashed by a file in ``benchmarks/peers``, kept below ``.venv``."""

import asyncio
import shutil
import sys
import venv
from pathlib import Path

from benchmarks.parts.contest import ROOT, Failed

PINS = ROOT / "benchmarks" / "peers"
CACHE = ROOT / ".venv" / "peers"


async def environment(name: str) -> Path:
    """Give the folder of a peer's environment, made at the first time and when its pins change.

    Raises:
        Failed: it cannot be installed.
    """
    pins, folder = PINS / f"{name}.txt", CACHE / name
    stamp = folder / "installed.txt"
    if stamp.exists() and stamp.read_text() == pins.read_text():
        return folder
    print(f"installing {name} into {folder}", file=sys.stderr, flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    await asyncio.to_thread(venv.create, folder, with_pip=True)
    pip = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes", "-r", str(pins))
    process = await asyncio.create_subprocess_exec(folder / "bin" / "python", *pip, stderr=asyncio.subprocess.PIPE)
    _, said = await process.communicate()
    if process.returncode:
        raise Failed(f"cannot install: {said.decode()[-500:]}")
    stamp.write_text(pins.read_text())
    return folder
