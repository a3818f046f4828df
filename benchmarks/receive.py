"""Receiving alone: messages per second and CPU per message from a socket to the hand that takes them.

Headrace's source, up to where the pipeline begins, beside other libraries, which have nothing to do but give each
message. 200 B and 1.5 KB, plain and over TLS. Headrace runs twice (A/A), so that the noise can be seen. Then a test: a
receiver that pauses reading over TLS, and resumes, must get every frame.

    python -m benchmarks.receive [--quick]
"""

import asyncio
import json
import os
import ssl
import statistics
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import trustme

from benchmarks.parts.contest import ROOT, Failed
from benchmarks.parts.database import Database
from benchmarks.parts.firehose import Firehose
from benchmarks.parts.report import Section
from benchmarks.parts.script import main
from benchmarks.parts.venvs import environment

SIZES = (200, 1500)
PATIENCE = 60.0
"""Seconds after which a receiver that does not have every byte has failed."""
STALLED = 15.0
"""The same for a receiver that pauses."""
PAUSED = ((100, 1500), (100, 60_000), (20_000, 1500))
"""Messages and bytes of each in the test that pauses. Few small ones fit into what libraries hold beyond the socket."""
COLUMNS = ["receiver", *(f"{size} B{over}" for size in SIZES for over in ("", ", TLS"))]


@dataclass(frozen=True)
class Receiver:
    """A program that receives.

    Attributes:
        script: the end of its name in ``peers``.
        variant: which way it receives.
        pins: its environment, if it has one of its own.
    """

    script: str
    variant: str = "-"
    pins: str | None = None


RECEIVERS = {
    "headrace": Receiver("headrace"),
    "websockets, bytes": Receiver("websockets", "bytes"),
    "websockets, text": Receiver("websockets", "text"),
    "aiohttp": Receiver("aiohttp"),
    "picows": Receiver("picows", "-", "picows"),
    "picows, no aiofastnet": Receiver("picows", "plain", "picows"),
    "headrace again (A/A)": Receiver("headrace"),
}
PAUSING = {
    "headrace": Receiver("headrace", "pause"),
    "picows": Receiver("picows", "pause", "picows"),
    "picows, no aiofastnet": Receiver("picows", "pause-plain", "picows"),
}


async def receive(
    receiver: Receiver, hose: Firehose, messages: int, size: int, ca: Path | None, patience: float = PATIENCE
) -> Mapping[str, float]:
    """Run a receiver to its end; give seconds and CPU seconds.

    Raises:
        Failed: it did not get every byte, or ended otherwise.
    """
    folder = await environment(receiver.pins) if receiver.pins is not None else None
    program = folder / "bin" / "python" if folder is not None else Path(sys.executable)
    script = ROOT / "benchmarks" / "peers" / f"receive_{receiver.script}.py"
    arguments = [str(script), hose.url, str(messages), str(size), receiver.variant]
    arguments += [str(ca)] if ca is not None else []
    process = await asyncio.create_subprocess_exec(
        program, *arguments, env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(patience):
            out, err = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.communicate()
        raise Failed(f"not all {messages:,} messages in {patience:.0f} s") from None
    if process.returncode or not out:
        raise Failed(f"ended with {process.returncode}: {err.decode()[-500:]}")
    found: dict[str, float] = json.loads(out)
    return found


async def measure(base: Database, quick: bool) -> AsyncIterator[Section]:  # noqa: FBT001  as script.Measure has it
    """Measure."""
    messages, rounds = (50_000, 3) if quick else (300_000, 5)
    context, ca = _trust(base.folder)
    runs: dict[str, dict[str, list[Mapping[str, float]]]] = {name: {} for name in RECEIVERS}
    failed: dict[str, str] = {}
    for size in SIZES:
        for over, secure in (("", None), (", TLS", context)):
            with Firehose(messages, size, secure) as hose:
                for _ in range(rounds):
                    for name in [name for name in RECEIVERS if name not in failed]:
                        try:
                            run = await receive(RECEIVERS[name], hose, messages, size, ca if secure else None)
                        except Failed as failure:
                            failed[name] = f"{name} failed: {str(failure).strip().splitlines()[-1][:200]}"
                            continue
                        runs[name].setdefault(f"{size} B{over}", []).append(run)
    sound = {name: done for name, done in runs.items() if name not in failed}
    yield Section(
        name="receive",
        columns=COLUMNS,
        rows=[[name, *(_cell(done[column], messages) for column in COLUMNS[1:])] for name, done in sound.items()],
        about=f"CPU us per message (messages/s), medians of {rounds} interleaved rounds of {messages:,} messages.",
        notes=list(failed.values()),
    )
    yield await _paused(context, ca)


async def _paused(context: ssl.SSLContext, ca: Path) -> Section:
    rows: dict[str, list[str]] = {name: [name] for name in PAUSING}
    for messages, size in PAUSED:
        with Firehose(messages, size, context) as hose:
            for name, receiver in PAUSING.items():
                try:
                    await receive(receiver, hose, messages, size, ca, STALLED)
                except Failed as failure:
                    rows[name].append(f"no: {str(failure).strip().splitlines()[-1][:120]}")
                else:
                    rows[name].append("yes")
    return Section(
        name="receive-paused",
        columns=["every frame of", *(f"{messages:,} of {size:,} B" for messages, size in PAUSED)],
        rows=list(rows.values()),
        about="Over TLS; reading is paused every few frames, for 10 ms.",
    )


def _cell(runs: Sequence[Mapping[str, float]], messages: int) -> str:
    cpu = statistics.median(run["cpu"] for run in runs) / messages * 1e6
    return f"{cpu:.2f} ({messages / statistics.median(run['seconds'] for run in runs):,.0f})"


def _trust(folder: Path) -> tuple[ssl.SSLContext, Path]:
    """Give the sender's side of TLS, and the file with the authority that receivers trust."""
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(folder / "ca.pem")
    return context, folder / "ca.pem"


if __name__ == "__main__":
    main(measure, __doc__)
