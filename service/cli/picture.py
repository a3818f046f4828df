"""The daemon's status as a picture for the terminal, 80 columns wide."""

import time
from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

_STATES = {"live": "green", "quiet": "green", "parked": "bold red", "full": "bold red", "reconnecting": "yellow"}
_TERMS = ("received", "loaded", "unchanged", "stale", "duplicate", "filtered", "quarantined", "in_flight")


def picture(status: Mapping[str, Any]) -> RenderableType:
    """Draw a document of ``/status``."""
    parts: list[RenderableType] = [
        _headline(status),
        Text(),
        _ledger(status["ledger"]),
        Text(),
        _feeds(status["feeds"]),
    ]
    troubles = [
        Text(f"{name}: {feed['last_error']}", style="yellow")
        for name, feed in status["feeds"].items()
        if feed.get("last_error") and feed.get("state") not in {"live", "quiet"}
    ]
    return Group(*parts, *([Text(), *troubles] if troubles else []))


def _headline(status: Mapping[str, Any]) -> Text:
    ready = status["ready"]
    wrong = [f"{name}: {reason}" for name, reason in status.get("checks", {}).items() if reason != "ok"]
    buffer = status["buffer"]
    share = 100 * buffer["bytes"] / buffer["max_bytes"] if buffer["max_bytes"] else 0.0
    full = f"buffer ({buffer['kind']}) {share:.1f} % full"
    return Text.assemble(
        ("ready" if ready else "not ready", "bold green" if ready else "bold red"),
        f", up {_duration(status['uptime_s'])}, version {status['version']}, {full}",
        *(("\n" + line, "red") for line in wrong),
    )


def _ledger(ledger: Mapping[str, int]) -> Table:
    grid = _grid()
    for term in _TERMS:
        grid.add_column(term.replace("_", " "), justify="right", header_style="dim")
    grid.add_row(*(f"{ledger.get(term, 0)}" for term in _TERMS))
    return grid


def _feeds(feeds: Mapping[str, Mapping[str, Any]]) -> Table:
    grid = _grid()
    grid.add_column("feed", header_style="dim", overflow="fold")
    grid.add_column("state", header_style="dim")
    for name in ("last", "per s", "lag s", "refused", "retries"):
        grid.add_column(name, justify="right", header_style="dim")
    for name, feed in feeds.items():
        state = feed.get("state", "?")
        last = feed.get("last_message_at")
        grid.add_row(
            name,
            Text(state, style=_STATES.get(state, "")),
            f"{_duration(time.time() - last)} ago" if last else "never",
            f"{feed.get('rate', 0):.1f}",
            f"{feed.get('lag_s', 0):.2f}",
            str(feed.get("ledger", {}).get("quarantined", 0)),
            str(feed.get("reconnects", 0)),
        )
    return grid


def _grid() -> Table:
    return Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))


def _duration(seconds: float) -> str:
    """Give a time in its largest unit: people read ``3 h``, not ``11234.2 s``."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"
