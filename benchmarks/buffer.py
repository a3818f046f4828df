"""How fast the buffers are: append + read + forget of groups of 500 messages of 300 bytes.

    python benchmarks/buffer.py [--groups 400] [--repeats 5] [--folder DIR]

Each repeat takes every kind once, in turn, so that a slow minute of the machine hits them alike; the medians are
printed. "in step" reads each group as soon as it is appended; "backlog" appends all, then reads all, from the files.
The last row writes and flushes the same bytes with nothing around them: the disk's own limit.
"""

import argparse
import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from service.buffer.memory import Memory
from service.buffer.spool import Spool
from service.model import Buffer, Lane, Message

GROUP = [Message(os.urandom(300), 1.7e9) for _ in range(500)]
MAX_BYTES = 2 << 30


async def in_step(lane: Lane, groups: int) -> int:
    done = 0
    for _ in range(groups):
        await lane.append(GROUP)
        while done < lane.last_sequence:
            done = await _take(lane, done)
    return done


async def backlog(lane: Lane, groups: int) -> int:
    for _ in range(groups):
        await lane.append(GROUP)
    done = 0
    while done < lane.last_sequence:
        done = await _take(lane, done)
    return done


async def _take(lane: Lane, after: int) -> int:
    group = await lane.read(after, 1 << 20)
    assert group is not None
    await lane.forget(group.last)
    return group.last


async def buffered(buffer: Buffer, way: Callable[[Lane, int], Awaitable[int]], groups: int) -> int:
    async with buffer:
        return await way(await buffer.lane("bench.feed"), groups)


def bare(folder: Path, groups: int) -> int:
    data = b"".join(message.body + bytes(28) for message in GROUP)
    descriptor = os.open(folder / "bare", os.O_RDWR | os.O_CREAT)
    for _ in range(groups):
        os.write(descriptor, data)
        os.fdatasync(descriptor)
    os.close(descriptor)
    return groups * len(GROUP)


def measure(kind: str, groups: int, parent: Path) -> tuple[float, float]:
    """Give messages per second, and CPU microseconds of this process per message."""
    with tempfile.TemporaryDirectory(dir=parent) as name:
        wall, cpu = time.perf_counter(), time.process_time()
        if kind == "bare write + fdatasync":
            count = bare(Path(name), groups)
        else:
            store, _, way = kind.partition(", ")
            buffer: Buffer = Memory(MAX_BYTES, ["bench.feed"])
            if store == "spool":
                buffer = Spool(Path(name), MAX_BYTES, ["bench.feed"])
            count = asyncio.run(buffered(buffer, in_step if way == "in step" else backlog, groups))
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    assert count == groups * len(GROUP)
    return count / wall, cpu / count * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--groups", type=int, default=400)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=Path(), help="on the disk to measure")
    options = parser.parse_args()
    kinds = ["memory, in step", "memory, backlog", "spool, in step", "spool, backlog", "bare write + fdatasync"]
    runs: dict[str, list[tuple[float, float]]] = {kind: [] for kind in kinds}
    for _ in range(options.repeats):
        for kind in kinds:
            runs[kind].append(measure(kind, options.groups, options.folder))
    print(f"{'':24} {'messages/s':>12} {'CPU us/message':>15}")
    for kind, figures in runs.items():
        rate, cpu = (statistics.median(column) for column in zip(*figures, strict=True))
        print(f"{kind:24} {rate:12,.0f} {cpu:15.2f}")


if __name__ == "__main__":
    main()
