"""Headrace as a contestant: its configuration and its command line."""

import sys
from pathlib import Path
from typing import Any, Literal

import yaml

from benchmarks.parts.contest import Contestant, Place
from benchmarks.parts.work import Work
from service.config.load import loads
from service.errors import ConfigError
from tests.postgres import free_port

Source = Literal["websocket", "json", "csv"]


def headrace(
    work: Work, *, buffer: str = "spool", source: Source = "websocket", max_bytes: str = "2GiB", port: int = 0
) -> Contestant:
    """Give the daemon, with its defaults but for the buffer; ``port`` is of its web server, 0 for any."""

    def command(place: Place) -> list[str]:
        file = place.folder / "config.yaml"
        file.write_text(_text(work, place, buffer, source, max_bytes, port))
        return [sys.executable, "-m", "service", "run", "-c", str(file)]

    return Contestant(command)


def knows_csv(work: Work) -> bool:
    """Say whether this Headrace reads CSV."""
    place = Place("postgresql://127.0.0.1/bench", 1, Path("/nowhere"))
    try:
        loads(_text(work, place, "memory", "csv", "2GiB", 0), "config.yaml", {})
    except ConfigError:
        return False
    return True


def _text(work: Work, place: Place, buffer: str, source: Source, max_bytes: str, port: int) -> str:
    """Give the configuration, in the part of YAML that JSON is."""
    config = {
        "database": {"url": place.url},
        "buffer": {"kind": buffer, "path": str(place.folder / "spool"), "max_bytes": max_bytes},
        "http": {"host": "127.0.0.1", "port": port or free_port()},
        "log": {"level": "warning"},
        "tables": {"matches": {"key": ["provider", "match_id"], "version": "updated_at", "columns": work.types}},
        "providers": {"bench": _provider(work, place.port, source)},
    }
    return yaml.safe_dump(config, sort_keys=False)


def _provider(work: Work, port: int, source: Source) -> dict[str, Any]:
    common: dict[str, Any] = {"into": "matches", "map": work.map}
    if source == "websocket":
        feeds = {
            f"live{number}": {
                "kind": "websocket", "url": f"ws://127.0.0.1:{port}/{number}", "subscribe": ["go"], **common,
            }
            for number in range(work.feeds)
        }  # fmt: skip
        return {"feeds": feeds}
    poll = {"kind": "rest", "every": "1h", **common}
    if source == "json":
        feed = {**poll, "path": "/json/1", "records": "matches", "paginate": {"kind": "link"}}
    else:
        feed = {**poll, "path": "/matches.csv", "format": "csv", "map": {name: name for name in work.names}}
    return {"url": f"http://127.0.0.1:{port}", "feeds": {"matches": feed}}
