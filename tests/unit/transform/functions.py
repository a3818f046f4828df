"""Functions such as users write, for the tests of ``transform``."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from itertools import repeat
from typing import Any

IN_THREADS: list[bool] = []
CLOSED: list[bool] = []
STARTED = threading.Event()


def double(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Change each record, and note in which thread."""
    IN_THREADS.append(threading.current_thread() is not threading.main_thread())
    return [{**record, "n": record["n"] * 2} for record in records]


async def later(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Wait, then change each record in place."""
    await asyncio.sleep(0)
    for record in records:
        record["n"] += 100
    return records


def several(records: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Give each record as often as it says."""
    for record in records:
        for _ in range(record["n"]):
            yield record


def every_second(records: list[dict[str, Any]]) -> list[dict[str, Any] | None]:
    """Leave some out, by the word None."""
    return [record if record["n"] % 2 else None for record in records]


def spoil(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Change records, and then fail."""
    for record in records:
        record["n"] += 1000
    if any(record.get("bad") for record in records):
        raise KeyError("odds")
    return records


def nonsense(_records: list[dict[str, Any]]) -> Any:
    """Give what is no list."""
    return 5


def words(records: list[dict[str, Any]]) -> list[Any]:
    """Give what are no records."""
    return [record if record["n"] > 1 else "one" for record in records]


@dataclass
class Made:
    """A record as an object."""

    n: int
    day: date
    at: datetime
    ratio: float


def objects(records: list[dict[str, Any]]) -> list[Made]:
    """Give objects of a class."""
    return [Made(record["n"], date(2026, 1, 2), datetime(2026, 1, 2, tzinfo=UTC), 0.1) for record in records]


class Counter:
    """An object that is called."""

    async def __call__(self, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Give the records."""
        return records


counter = Counter()


class MuteError(Exception):
    """Cannot even be asked what it is."""

    def __str__(self) -> str:
        raise RuntimeError


_ODDITIES: dict[str, BaseException] = {
    "exit": SystemExit(3),
    "cancel": asyncio.CancelledError(),
    "close": GeneratorExit(),
    "stop": StopIteration(),
    "mute": MuteError(),
}


def raise_odd(records: list[Any]) -> list[Any]:
    for record in records:
        if "odd" in record:
            raise _ODDITIES[record["odd"]]
    return records


async def raise_odd_later(records: list[Any]) -> list[Any]:
    return raise_odd(records)


async def yield_later(records: list[Any]) -> AsyncIterator[Any]:
    for record in records:
        await asyncio.sleep(0)
        yield record


def take_out(records: list[Any]) -> list[Any]:
    for record in list(records):
        if record["n"] == 2:
            records.remove(record)
    return records


def tell_all(records: list[Any]) -> list[Any]:
    raise ValueError({"n": records[0]["n"], "password": "hunter2", "rest": "x" * 1000})


WAITING = asyncio.Event()


async def wait_for_ever(records: list[Any]) -> list[Any]:
    WAITING.set()
    await asyncio.Event().wait()
    return records


def endless(records: list[Any]) -> Iterator[Any]:
    """Never stops, unless told to."""
    (first,) = records[:1]
    yield from repeat(first) if first["n"] else records


async def endless_later(records: list[Any]) -> AsyncIterator[Any]:
    """Never stops, but gives nothing."""
    try:
        while records[0]["n"]:
            yield None
        yield records[0]
    finally:
        CLOSED.append(True)


def stuck(_records: list[Any]) -> list[Any]:
    """Wait for what does not come."""
    STARTED.set()
    threading.Event().wait()
    return []
