import asyncio
import csv
import os
import signal
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from xml.etree import ElementTree as ET

import asyncpg
import orjson
import psutil
import pytest

from benchmarks.parts.chart import bars
from benchmarks.parts.contest import ROOT, Failed
from benchmarks.parts.database import onlooker
from benchmarks.parts.encode import encoded
from benchmarks.parts.firehose import Firehose
from benchmarks.parts.frames import STAMP, csv_file, frames, json_pages
from benchmarks.parts.work import START, Work
from benchmarks.receive import RECEIVERS, _trust, receive

WORK = Work(messages=700, live=300)


async def _copied(connection: "asyncpg.Connection[asyncpg.Record]", data: bytes) -> None:
    async def once() -> AsyncIterator[bytes]:
        yield data

    await connection.copy_to_table("copied", source=once(), format="binary")


async def test_rows_encoded_beforehand_arrive_as_those_that_the_driver_encodes(database: str) -> None:
    rows = [WORK.row(number) for number in range(50)]
    rows.append((*rows[0][:1], "é\u4e2d", *rows[0][2:6], None, -(2**63), -0.5, None, 2**63 - 1, START))
    connection = await asyncpg.connect(database)
    await connection.execute(WORK.ddl())
    await connection.execute("create table copied (like matches)")
    await connection.execute("create table driven (like matches)")
    await _copied(connection, encoded(rows))
    await connection.copy_records_to_table("driven", records=rows)
    assert await connection.fetchval("select count(*) from copied") == len(rows)
    assert await connection.fetch("table copied except table driven") == []
    await connection.close()


async def test_the_onlooker_is_content_only_with_the_newest_version_of_every_row(database: str) -> None:
    connection = await asyncpg.connect(database)
    await connection.execute(WORK.ddl())
    await connection.execute(WORK.preload())
    newest = {WORK.key(number): WORK.row(number) for number in range(WORK.messages)}
    await connection.execute("delete from matches where match_id = any($1)", list(newest))
    await connection.copy_records_to_table("matches", records=newest.values())
    async with onlooker(database, WORK) as eye:
        assert await eye.done()
        await connection.execute(
            "update matches set updated_at = updated_at - interval '1 us' where match_id = $1", next(iter(newest))
        )
        assert not await eye.done()
    await connection.close()


def test_frames_pages_and_files_hold_every_message_once() -> None:
    work = Work(messages=1_203, live=300, feeds=3, columns=14)
    sent = [orjson.loads(frame[4:]) for feed in frames(work) for frame in feed]
    pages = json_pages(work)
    path: str | None = "/json/1"
    paged = []
    while path is not None:
        _, body, path = pages[path]
        paged += orjson.loads(body)["matches"]
    _, text, _ = csv_file(work)["/matches.csv"]
    lines = list(csv.DictReader(text.decode().splitlines()))
    assert sorted(message["ts"] for message in sent) == [message["ts"] for message in paged]
    assert [line["updated_at"] for line in lines] == [
        (START + timedelta(microseconds=number + 1)).isoformat() for number in range(work.messages)
    ]
    assert [line["match_id"] for line in lines] == [message["match"]["id"] for message in paged]


@pytest.mark.parametrize("size", [1_400, 16_000])
def test_a_frame_is_as_large_as_asked_and_its_version_stands_where_the_stamp_goes(size: int) -> None:
    frame = frames(Work(messages=1, size=size))[0][0]
    assert size * 0.95 < len(frame) < size * 1.05
    assert int.from_bytes(frame[2:4], "big") == len(frame) - 4
    assert frame[STAMP].decode() == orjson.loads(frame[4:])["ts"]


def test_one_message_in_five_adds_a_key_and_the_others_update_live_ones() -> None:
    keys = [WORK.key(number) for number in range(100)]
    new = [key for key in keys if int(key[1:]) >= WORK.live]
    assert len(new) == 20
    assert len(set(keys)) == 100


def test_a_chart_is_an_image_that_names_every_figure() -> None:
    drawn = ET.fromstring(bars({"one <group>": {"headrace, spool": 1234.0, "other": 617.0}}, "rows per second"))
    said = [element.text for element in drawn.iter() if element.text and element.text.strip()]
    widths = [int(element.attrib["width"]) for element in drawn.iter("{http://www.w3.org/2000/svg}rect")]
    assert {"headrace, spool", "1,234", "other", "617"} <= set(said)
    assert widths[0] == 2 * widths[1]


RUN_FOR_EVER = """
import asyncio, sys
from pathlib import Path
from benchmarks.parts.contest import Contestant, Place, running
from benchmarks.parts.database import database
from benchmarks.parts.providers import Pages

async def main():
    async with database() as base:
        with Pages({}) as provider:
            place = Place(base.url, provider.port, base.folder)
            async with running(Contestant(lambda place: ["sleep", "600"]), place, base) as process:
                print(process.pid, provider._process.pid, base.folder, flush=True)
                await asyncio.Future()
asyncio.run(main())
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_a_benchmark_that_is_killed_leaves_no_process_and_no_folder(number: signal.Signals) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", RUN_FOR_EVER, env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stdout is not None
    contestant, provider, folder = (await process.stdout.readline()).decode().split()
    postmaster = int((Path(folder) / "postgres" / "postmaster.pid").read_text().split()[0])
    process.send_signal(number)
    await process.wait()
    async with asyncio.timeout(30):
        while await asyncio.to_thread(Path(folder).exists) or any(
            map(psutil.pid_exists, [int(contestant), int(provider), postmaster])
        ):
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("secure", [False, True])
async def test_a_receiver_is_sent_every_byte_and_says_what_that_took(tmp_path: Path, secure: bool) -> None:
    context, ca = _trust(tmp_path)
    with Firehose(300, 1500, context if secure else None) as hose:
        for name in ("headrace", "websockets, text"):
            took = await receive(RECEIVERS[name], hose, 300, 1500, ca if secure else None)
            assert took["seconds"] > 0
        with pytest.raises(Failed, match="450000 bytes arrived of 450300"):
            await receive(RECEIVERS["headrace"], hose, 300, 1501, ca if secure else None)
