"""Names: what the provider calls a thing, as the name of a column or table; and what a name hints at."""

import re
from collections.abc import Container

from service.config.paths import Path
from service.config.tablecheck import SYSTEM_COLUMNS

_WORD = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z0-9]+|[A-Z]+|[^\W_]+")
_MAX = 60

_IDENTITY = re.compile(r"(^|_)(id|uuid|guid|key|code|symbol|ticker|pair|instrument|slug|sku|isin|channel|number)$")
_TIME = re.compile(
    r"(^|_)(time|date|at|ts|utc|when|stamp|timestamp|microtimestamp|updated|modified|changed|created|generated|"
    r"published|expires|expiry|start|end|since|until|kickoff)(_|$)|timestamp|(updat|modifi|creat)ed"
)
_CHANGED = re.compile(r"(^|_)(updated?|modified|changed?)(_|$)|(updat|modifi|chang)ed")
_SEQUENCE = re.compile(r"(^|_)(seq|sequence|version|revision|rev|nonce)$")
_STAMP = re.compile(r"(^|_)(ts|timestamp|microtimestamp)$")


def snake(text: str) -> str:
    """Write a name in small letters with underscores: ``homeTeam`` is ``home_team``."""
    name = "_".join(_WORD.findall(text)).lower()[:_MAX]
    return f"_{name}" if name[:1].isdigit() else name


def column_name(path: Path, taken: Container[str]) -> str:
    """Name the column of a path: ``a.b`` is ``a_b``; a name that is taken, or Postgres's own, gets a number."""
    base = snake("_".join(f"item_{step}" if isinstance(step, int) else step for step in path)) or "value"
    name, number = base, 1
    while name in taken or name in SYSTEM_COLUMNS:
        number += 1
        name = f"{base}_{number}"
    return name


def identifies(name: str) -> int:
    """Say how much a column's name looks like that of an identifier: 0 is ``id``, 1 ends like one, 2 does not."""
    return 0 if name in {"id", "uuid", "guid"} else 1 if _IDENTITY.search(name) else 2


def tells_time(name: str) -> bool:
    """Say whether a column's name hints at a moment; without a hint a number is not taken for one."""
    return _TIME.search(name) is not None


def orders(name: str) -> int | None:
    """Say how well a column's name suits a version: 0 tells of changes, 1 is a bare stamp, 2 counts, None none."""
    if _CHANGED.search(name):
        return 0
    return 1 if _STAMP.search(name) else 2 if _SEQUENCE.search(name) else None


def stem(name: str) -> str:
    """Give a name without what tells twins apart: ``home_team`` and ``away_team``, ``team1`` and ``team2``."""
    return re.sub(r"(^|_)(home|away|from|to|source|target|base|quote|first|second)(?=_|$)|_?\d+$", "", name).strip("_")
