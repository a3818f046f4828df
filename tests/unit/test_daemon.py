"""The daemon as an object: what a whole process shows only by chance."""

import asyncio
from pathlib import Path

from service.config.load import loads
from service.daemon import Daemon

CONFIG = """
database: {{url: "{database}"}}
buffer: {{kind: memory}}
http: {{host: 127.0.0.1, port: 0}}
tables: {{t: {{key: id, columns: {{id: text}}}}}}
providers:
  acme: {{feeds: {{all: {{kind: file, path: "{folder}/none.ndjson", into: t, map: {{id: id}}}}}}}}
"""


async def test_a_signal_on_the_last_stretch_of_the_way_out_does_no_harm(tmp_path: Path, database: str) -> None:
    daemon = Daemon(loads(CONFIG.format(database=database, folder=tmp_path), "test", {}))
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        running = group.create_task(daemon.run())
        while not daemon.overview.prepared.is_set():
            await asyncio.sleep(0.01)
        daemon.stop()
        assert await running == 0
    daemon.stop()  # as a signal that comes while the store closes: the deadline is behind us
