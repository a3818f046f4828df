"""What the daemon knows of itself, for the probes, the metrics, the status page and the dashboard."""

import asyncio
import importlib.metadata
import time
from collections.abc import Mapping
from typing import Any

from service.config.settings import Config
from service.model import Buffer, Counts
from service.pipeline.line import Line

TABLE_TERMS = ("inserted", "updated", "deleted", "unchanged", "stale", "duplicate", "filtered", "absent")
"""What can become of the rows of a table."""


class Overview:
    """The state of the whole daemon, in plain values; reading it changes nothing.

    Attributes:
        started: monotonic time of the start.
        config: that runs.
        lines: one per feed.
        buffer: None until it is open.
        database: why the database cannot be used, or None when it answers.
        prepared: set once the tables exist.
        draining: whether the daemon is on its way out.
        port: of the web server, once it listens.
        database_url: of the embedded database; empty while there is none.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.started = time.monotonic()
        self.version = importlib.metadata.version("headrace")
        self.lines: list[Line] = []
        self._written: dict[str, Counts] = {}
        self._has_started = False
        self.buffer: Buffer | None = None
        self.database: str | None = "not tried yet"
        self.prepared = asyncio.Event()
        self.draining = False
        self.port = 0
        self.database_url = ""

    def line(self, name: str) -> Line | None:
        """Find a feed's line by its full name."""
        return next((line for line in self.lines if line.name == name), None)

    def take(self, config: Config, lines: list[Line]) -> None:
        """Show what runs now, in place of what ran."""
        self._has_started = bool(self.lines) and not self.started_once()
        for line in self.lines:
            if line not in lines:
                _add(self._written, line.ledger.tables)
        self.config, self.lines = config, lines

    def started_once(self) -> dict[str, str]:
        """Give what has not started yet, with the reason; empty once all has, whatever a reload starts later."""
        if self._has_started:
            return {}
        waiting = {line.name: "not receiving yet" for line in self.lines if not line.started.is_set()}
        if self.buffer is None:
            waiting["buffer"] = "not open yet"
        if not self.prepared.is_set():
            waiting["schema"] = self.database or "not prepared yet"
        return waiting

    def checks(self) -> dict[str, str]:
        """Give each readiness check: ``ok`` or the reason why not."""
        stat = self.buffer.stat() if self.buffer is not None else None
        return {
            "database": self.database or "ok",
            "schema": "ok" if self.prepared.is_set() else "not prepared",
            "buffer": "not open" if stat is None else "full" if stat.full else "ok",
            "daemon": "draining" if self.draining else "ok",
        }

    def ready(self) -> bool:
        """Whether rows can be written and no buffer is full."""
        return all(check == "ok" for check in self.checks().values())

    def ledger(self) -> dict[str, int]:
        """Give the account of all feeds together."""
        total: dict[str, int] = dict.fromkeys(
            ("received", "loaded", "unchanged", "stale", "duplicate", "filtered", "quarantined", "in_flight"),
            0,
        )
        for line in self.lines:
            for term, value in line.ledger.account().items():
                total[term] += value
        return total

    def tables(self) -> dict[str, Counts]:
        """Give what was written to each table since the start."""
        tables = {name: Counts() for name in self.config.tables}
        for each in (self._written, *(line.ledger.tables for line in self.lines)):
            _add(tables, {name: counts for name, counts in each.items() if name in tables})
        return tables

    def status(self) -> dict[str, Any]:
        """Give the document of ``/status``."""
        stat = self.buffer.stat() if self.buffer is not None else None
        return {
            "version": self.version,
            "uptime_s": round(time.monotonic() - self.started, 3),
            "ready": self.ready(),
            "checks": self.checks(),
            "ledger": self.ledger(),
            "feeds": self._feeds(),
            "buffer": {
                "kind": self.config.buffer.kind,
                "bytes": stat.bytes if stat else 0,
                "max_bytes": self.config.buffer.max_bytes,
                "messages": stat.messages if stat else 0,
                "full": bool(stat and stat.full),
            },
            "tables": {
                name: {term: getattr(counts, term) for term in TABLE_TERMS} for name, counts in self.tables().items()
            },
        }

    def _feeds(self) -> dict[str, dict[str, Any]]:
        """Say how each feed does; before there are lines, all are about to start."""
        if self.lines:
            return {line.name: line.status() for line in self.lines}
        feeds = self.config.feeds().items()
        return {name: {"kind": feed.model_dump()["kind"], "state": "starting"} for name, (_, feed) in feeds}


def _add(total: dict[str, Counts], counts: Mapping[str, Counts]) -> None:
    for name, each in counts.items():
        total.setdefault(name, Counts()).add(each)
