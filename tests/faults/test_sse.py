"""An event stream that is resumed: whatever happens to the daemon, each event counts once."""

import asyncio
from pathlib import Path

from aiohttp import web

from tests.daemon import Daemon, balanced, rows
from tests.site import Asked, Site

EVENTS = 3000
CONFIG = """\
database: {url: "${DATABASE_URL}"}
buffer: {kind: "${BUFFER}", path: ./spool}
http: {host: 127.0.0.1, port: "${HEADRACE_PORT}"}
tables:
  goals:
    key: [id]
    columns: {id: integer, event: text, number: integer}
providers:
  acme:
    url: ${SITE}
    feeds:
      goals:
        kind: sse
        path: /events
        into: goals
        map: {id: id, event: $params.event, number: $params.id}
"""


async def stream(asked: Asked) -> web.StreamResponse:
    """Give the events that follow the last event id, 50 at a time, and hang up now and then."""
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(asked.request)
    first = int(asked.headers.get("Last-Event-ID", "0")) + 1
    for start in range(first, min(first + 1500, EVENTS + 1), 50):
        numbers = range(start, min(start + 50, EVENTS + 1))
        await response.write(b"".join(b'event: goal\nid: %d\ndata: {"id": %d}\n\n' % (n, n) for n in numbers))
        await asyncio.sleep(0.02)
    await response.write(b"retry: 100\n\n")
    if first > EVENTS:
        await asyncio.sleep(3600)
    return response


async def _killed(database: str, folder: Path, buffer: str) -> list[str]:
    """Kill the daemon twice while it listens; when all is loaded, give the event ids that it asked from."""
    (folder / "config.yaml").write_text(CONFIG)
    async with Site(stream) as site:
        environ = {"DATABASE_URL": database, "SITE": site.url, "BUFFER": buffer}
        async with Daemon(folder, environ, folder / "config.yaml") as daemon:
            for target in (400, 1800):
                await daemon.until(lambda status, target=target: status["ledger"]["loaded"] >= target)  # type: ignore[misc]
                await daemon.kill()
                await daemon.start()
            status = await daemon.until(lambda status: status["ledger"]["loaded"] >= EVENTS)
            assert await daemon.stop() == 0
        assert balanced(status)
        (counts,) = await rows(database, "select received, inserted, source from headrace.positions")
        assert counts["received"] == counts["inserted"] == EVENTS
        (table,) = await rows(database, "select count(*) from goals where event = 'goal' and id = number")
        assert table["count"] == EVENTS
        return [asked.headers.get("Last-Event-ID", "") for asked in site.asked]


async def test_with_a_spool_kill_9_costs_nothing_and_doubles_nothing(database: str, tmp_path: Path) -> None:
    asked = await _killed(database, tmp_path, "spool")
    assert asked[0] == ""
    assert all(asked[1:])


async def test_with_memory_it_goes_on_from_the_committed_event(database: str, tmp_path: Path) -> None:
    asked = await _killed(database, tmp_path, "memory")
    assert asked[0] == ""
    assert all(asked[1:])
