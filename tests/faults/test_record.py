"""Recording as an operator does it: a real process, a provider that comes and goes, Ctrl-C and kill -9."""

import asyncio
import os
import resource
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable
from pathlib import Path

import pytest
from aiohttp import web

from service.errors import FormatError
from service.recording.event import Event
from service.recording.reading import Recording, messages
from tests.daemon import ROOT
from tests.exchange import Exchange
from tests.proxy import Proxy
from tests.site import Asked, Site
from tests.unit.cli.commands import command

CONFIG = """\
database: {url: "${DATABASE_URL:-embedded}"}
tables:
  prices: {key: id, version: v, columns: {id: text, v: integer, p: integer}}
providers:
  exchange:
    url: ws://${ADDRESS:-127.0.0.1:9}
    headers: {X-Account: "number 12345"}
    feeds:
      live:
        kind: websocket
        into: prices
        where: type == 'price'
        subscribe: [{op: subscribe, book: A, key: "${KEY:-}", note: "for ${KEY:-}"}]
        acknowledge: {match: {type: subscribed}}
        heartbeat: {every: 50ms, send: {op: ping}}
        map: {id: id, v: v, p: p}
      hook: {kind: webhook, unverified: true, into: prices, map: {id: id, v: v, p: p}}
  site:
    url: ${SITE:-http://127.0.0.1:9}
    auth: {kind: query, name: who, value: "${KEY:-}"}
    feeds:
      polled: {kind: rest, every: 50ms, params: {page: 1, api_key: also}, into: prices, map: {id: id, v: v, p: p}}
"""
KEY = "k3y-of-ours"
PATIENCE = 30.0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "config.yaml").write_text(CONFIG)
    return tmp_path


async def record(folder: Path, *options: str, before: Callable[[], None] | None = None, **environ: str) -> Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "service", "record", *options,
        cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT), "KEY": KEY, **environ},
        stdout=PIPE, stderr=PIPE, preexec_fn=before,
    )  # fmt: skip


async def ended(process: Process) -> tuple[int, str, str]:
    async with asyncio.timeout(PATIENCE):
        out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.01)


def recorded(file: Path) -> int:
    """Count the messages that are in a file while it is written."""
    try:
        return sum(1 for _ in messages(file))
    except (OSError, FormatError):
        return 0


def kinds(events: list[Event]) -> list[str]:
    """Give the kinds of events, each row of the same as one."""
    return [event.kind for event, next_ in zip(events, [*events[1:], None], strict=True)
            if next_ is None or next_.kind != event.kind]  # fmt: skip


async def test_what_passes_in_both_directions_is_kept_in_order_with_its_time_and_without_secrets(folder: Path) -> None:
    file = folder / "live.rec"
    async with Exchange().serving() as exchange, Proxy("127.0.0.1", exchange.port) as proxy:
        process = await record(folder, "exchange.live", str(file), ADDRESS=proxy.address)
        await until(lambda: exchange.audience == 1)
        await exchange.publish(200)
        await until(lambda: recorded(file) == 200)
        proxy.cut()
        await until(lambda: exchange.opened == 2 and exchange.audience == 1)
        await exchange.publish(100)
        await until(lambda: recorded(file) == 350)  # after the reconnect it is told all 50 prices once more
        process.send_signal(signal.SIGINT)
        code, out, err = await ended(process)
    assert code == 0, err
    assert out.startswith("exchange.live: 350 messages, ")
    recording = Recording(file)
    events = list(recording.events())
    protocol = [event for event in events if event.kind != "message" and event.text != '{"op":"ping"}']
    assert [(event.kind, event.text) for event in protocol] == [
        ("open", f"ws://{proxy.address}"),
        ("sent", '{"op":"subscribe","book":"A","key":"***","note":"for ***"}'),
        ("heard", '{"type":"subscribed"}'),
        ("close", f"ws://{proxy.address}: connection lost"),
        ("open", f"ws://{proxy.address}"),
        ("sent", '{"op":"subscribe","book":"A","key":"***","note":"for ***"}'),
        ("heard", '{"type":"subscribed"}'),
        ("close", "closed by us: the recording ends"),
    ]
    assert sum(event.text == '{"op":"ping"}' for event in events) > 0
    times = [event.at for event in events]
    assert times == sorted(times)
    assert recording.header is not None
    assert recording.header.feed == "exchange.live"
    assert recording.header.settings["acknowledge"] == {"match": {"type": "subscribed"}}
    found = b"\n".join(str(event).encode() for event in [recording.header, *events])
    assert KEY.encode() not in found
    assert b"number 12345" not in found


async def test_after_kill_9_all_but_the_last_block_can_be_read(folder: Path) -> None:
    file = folder / "live.rec"
    async with Exchange().serving() as exchange:
        process = await record(folder, "exchange.live", str(file), ADDRESS=f"127.0.0.1:{exchange.port}")
        await until(lambda: exchange.audience == 1)
        await exchange.publish(1000)
        await until(lambda: recorded(file) == 1000)
        await exchange.publish(10)
        process.kill()
        await process.communicate()
    bodies = [message.body for message in messages(file)]
    assert bodies[:1000] == [b'{"type":"price","id":"k%d","v":%d,"p":%d,"seq":%d,"epoch":1}' % (n * 7 % 50, n, n * 3, n)
                             for n in range(1, 1001)]  # fmt: skip


async def test_it_ends_with_just_so_many_messages(folder: Path) -> None:
    file = folder / "live.rec"
    async with Exchange().serving() as exchange:
        options = ("exchange.live", str(file), "--messages", "123")
        process = await record(folder, *options, ADDRESS=f"127.0.0.1:{exchange.port}")
        await until(lambda: exchange.audience == 1)
        await exchange.publish(500)
        assert (await ended(process))[0] == 0
    assert recorded(file) == 123


@pytest.mark.parametrize("limit", [("--for", "200ms"), ("--size", "1KiB")])
async def test_it_ends_after_a_time_or_at_a_size(folder: Path, limit: tuple[str, str]) -> None:
    file = folder / "polled.rec"
    number = 0

    def answer(_asked: Asked) -> web.Response:
        nonlocal number
        number += 1
        return web.json_response({"id": f"x{number}", "v": number, "p": 1})

    async with Site(answer) as site:
        url = site.url
        code, _, err = await ended(await record(folder, "site.polled", str(file), *limit, SITE=url))
    assert (code, err) == (0, "")
    events = list(Recording(file).events())
    assert kinds(events)[:4] == ["sent", "heard", "message", "sent"]
    assert events[0].text == f"GET {url}/?page=1&api_key=***"
    assert events[1].text == "200 application/json; charset=utf-8"
    assert events[2].meta is not None
    assert events[2].meta["params"] == {"page": "1", "api_key": "***"}
    assert events[2].meta["content_type"].startswith("application/json")
    assert KEY not in str(events)


async def test_a_provider_that_refuses_us_ends_it_with_the_reason(folder: Path) -> None:
    async with Site(lambda _asked: web.Response(status=403, text=f"not for {KEY}")) as site:
        code, _, err = await ended(await record(folder, "site.polled", "polled.rec", SITE=site.url))
    assert code == 1
    assert "403: not for ***" in err.splitlines()[-1]
    (*_, last) = Recording(folder / "polled.rec").events()
    assert last.kind == "close"
    assert last.text is not None
    assert last.text.endswith("403: not for ***")


async def test_a_disk_that_is_full_ends_it_and_what_was_written_can_be_read(folder: Path) -> None:
    file = folder / "live.rec"
    async with Exchange().serving() as exchange:
        process = await record(
            folder, "exchange.live", str(file), ADDRESS=f"127.0.0.1:{exchange.port}",
            before=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (8 << 10, 8 << 10)),
        )  # fmt: skip
        await until(lambda: exchange.audience == 1)
        await exchange.publish(10)
        await until(lambda: recorded(file) == 10)
        while process.returncode is None:
            await exchange.publish(200)
            await asyncio.sleep(0.05)
        code, _, err = await ended(process)
    assert code == 1
    assert "File too large; what was written before can be read" in err
    assert "Traceback" not in err
    assert recorded(file) >= 10


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("config.yaml", "config.yaml exists already, and nothing that was recorded is overwritten"),
        ("none/x.rec", "none/x.rec: No such file or directory"),
    ],
)
async def test_a_file_that_cannot_be_begun_is_told_in_a_sentence(folder: Path, file: str, said: str) -> None:
    code, _, err = await ended(await record(folder, "exchange.live", file, COLUMNS="300"))
    assert code == 1
    assert said in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("exchange.hook", "x.rec"), "exchange.hook cannot be recorded: it is posted to the daemon"),
        (("exchange.lives", "x.rec"), "did you mean exchange.live?"),
        (("exchange.live", "x.rec", "--for", "soon"), "is not a duration"),
    ],
)
def test_what_cannot_be_recorded_is_told_before_anything_starts(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: tuple[str, ...],
    said: str,
) -> None:
    assert command(monkeypatch, folder, "record", *options) == 2
    assert said in capsys.readouterr().err
    assert not (folder / "x.rec").exists()
