import asyncio
import bz2
import contextlib
import gzip
import lzma
import os
import zipfile
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from backports import zstd

from service.errors import FormatError, SourceRefused
from service.formats import Format
from service.model import Position
from service.provider import Provider
from tests.collector import Collector, configured, running


def lines(first: int, last: int) -> bytes:
    return b"".join(b'{"n": %d, "text": "%d"}\n' % (number, number * 7919) for number in range(first, last))


def zipped(data: bytes) -> bytes:
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("inner.ndjson", data)
    return buffer.getvalue()


PACKED: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": zstd.compress,
    ".zip": zipped,
}
BIG = 80_000
"""Lines of a file that is cut into many pieces."""


@contextlib.asynccontextmanager
async def linked(
    path: str | Path, position: Position | None = None, **feed: Any
) -> AsyncIterator[tuple[Any, Collector]]:
    source, settings = configured({"kind": "file", "path": str(path), **feed})
    async with Provider("test", settings) as provider:
        yield source, Collector(provider, position)


async def read(path: str | Path, position: Position | None = None, **feed: Any) -> tuple[list[Any], Collector]:
    """Read to the end; give the records, and the link."""
    async with linked(path, position, **feed) as (source, link):
        await source.run(link)
        return records(source, link), link


def records(source: Any, link: Collector) -> list[Any]:
    form: Format = source.format
    return [record["n"] for message in link.messages for record in form.decode(message, source.records)]


@pytest.mark.parametrize("suffix", PACKED)
async def test_a_file_is_read_whatever_it_is_packed_with(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.ndjson{suffix}"
    path.write_bytes(PACKED[suffix](lines(0, BIG)))
    found, link = await read(path)
    assert found == list(range(BIG))
    assert len(link.messages) > 5
    position = link.messages[-1].position
    assert position is not None
    assert (position["whole"], position["read"], position["file"]) == (True, path.stat().st_size, str(path))
    assert link.messages[0].meta is not None
    assert link.messages[0].meta["params"] == {"file": str(path)}


async def test_files_are_read_in_the_order_of_their_names_each_in_its_format(tmp_path: Path) -> None:
    (tmp_path / "b.csv").write_text("n\n3\n4\n")
    (tmp_path / "a.ndjson").write_bytes(lines(1, 3))
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "c.json.gz").write_bytes(gzip.compress(b'[{"n": 5}]'))
    assert (await read(tmp_path / "**"))[0] == [1, 2, "3", "4", 5]
    assert (await read(tmp_path / "*"))[0] == [1, 2, "3", "4"]


@pytest.mark.parametrize("suffix", ["", ".gz"])
async def test_it_goes_on_where_the_rows_stand(tmp_path: Path, suffix: str) -> None:
    for name, first in (("a", 0), ("b", BIG), ("c", 2 * BIG)):
        (tmp_path / f"{name}.ndjson{suffix}").write_bytes(PACKED[suffix](lines(first, first + BIG)))
    pattern = tmp_path / f"*.ndjson{suffix}"
    whole, link = await read(pattern)
    assert whole == list(range(3 * BIG))
    for number in (0, 3, len(link.messages) // 2, len(link.messages) - 2):
        before = records_of(link, number + 1)
        rest, _ = await read(pattern, link.messages[number].position)
        assert before + len(rest) == 3 * BIG
        assert rest == whole[before:]
    assert (await read(pattern, link.position))[0] == []


def records_of(link: Collector, count: int) -> int:
    return sum(message.body.count(b"\n") for message in link.messages[:count])


async def test_a_file_that_changed_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "a.ndjson"
    path.write_bytes(lines(0, 5))
    _, link = await read(path)
    with path.open("ab") as file:
        file.write(lines(5, 6))
    assert (await read(path, link.position))[0] == [0, 1, 2, 3, 4, 5]


async def test_a_file_that_came_behind_the_last_one_is_told_of_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "b").write_bytes(lines(0, 1))
    _, link = await read(tmp_path / "*")
    position = link.position or {}
    assert position["at"] > 0
    (tmp_path / "a").write_bytes(lines(1, 2))
    os.utime(tmp_path / "a", (0, 0))  # as it is when a file with an old time is moved here
    async with linked(tmp_path / "*", {**position, "at": 0.0}) as (source, again):
        await source.run(again)
        await source.run(again)
    said = capsys.readouterr().out
    assert said.count("file not read") == 1
    assert str(tmp_path / "a") in said
    assert not again.bodies


async def test_another_path_starts_anew(tmp_path: Path) -> None:
    for name in ("old-z.ndjson", "new-a.ndjson"):
        (tmp_path / name).write_bytes(lines(0, 2))
    _, link = await read(tmp_path / "old-*")
    assert (await read(tmp_path / "new-*", link.position))[0] == [0, 1]


async def test_it_looks_for_further_files_if_it_is_told_to(tmp_path: Path) -> None:
    (tmp_path / "1.ndjson").write_bytes(lines(0, 2))
    async with linked(tmp_path / "*.ndjson", every="1h") as (source, link), running(source, link):
        await link.until(lambda: len(link.polls) == 1)
        (tmp_path / "2.ndjson").write_bytes(lines(2, 4))
        link.poll()
        await link.until(lambda: len(link.polls) == 2)
        assert records(source, link) == [0, 1, 2, 3]


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".xz", ".zst"])
async def test_a_torn_file_gives_what_it_holds_a_refusal_and_the_next_file(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"a.ndjson{suffix}").write_bytes(PACKED[suffix](lines(0, BIG))[:-20])
    (tmp_path / "b.ndjson").write_bytes(lines(0, 2))
    async with linked(tmp_path / "*") as (source, link):
        await source.run(link)
        *good, torn, last = link.messages
        assert [record["n"] for message in good for record in source.format.decode(message, None)] == list(
            range(records_of(link, len(good)))
        )
        with pytest.raises(FormatError, match="the file does not decompress"):
            source.format.decode(torn, None)
        assert last.body == lines(0, 2)


async def test_there_must_be_a_file(tmp_path: Path) -> None:
    for path in (tmp_path / "none.csv", tmp_path / "*.csv"):
        with pytest.raises(SourceRefused, match="there is no file"):
            await read(path)


async def test_names_that_are_patterns_or_no_utf_8_are_names(tmp_path: Path) -> None:
    (tmp_path / "a[1].ndjson").write_bytes(lines(0, 1))
    assert (await read(tmp_path / "a[1].ndjson"))[0] == [0]
    name = os.fsencode(tmp_path) + b"/b\xff.ndjson"
    with open(name, "wb") as file:  # noqa: PTH123, ASYNC230  a name of bytes
        file.write(lines(1, 2))
    found, link = await read(tmp_path / "*")
    assert found == [0, 1]
    assert link.position is not None
    assert link.position["file"].endswith("b\\udcff.ndjson")


async def test_a_record_that_is_larger_than_the_bound_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.ndjson"
    path.write_bytes(b'{"n": "' + b"x" * 3_000_000 + b'"}\n' + lines(0, 2))
    with pytest.raises(SourceRefused, match="larger than max_body"):
        await read(path, max_body="2MB")


@contextlib.contextmanager
def standard_input(descriptor: int) -> Iterator[None]:
    """Let a descriptor be standard input."""
    kept = os.dup(0)
    os.dup2(descriptor, 0)
    try:
        yield
    finally:
        os.dup2(kept, 0)
        os.close(kept)


async def test_a_pipe_at_standard_input_is_read_to_its_end(tmp_path: Path) -> None:
    beyond, here = os.pipe()

    def write(data: bytes) -> None:
        with os.fdopen(here, "wb", 0) as file:
            for start in range(0, len(data), 777):
                file.write(data[start : start + 777])

    packed = zlib.compress(lines(0, BIG), wbits=31)
    with standard_input(beyond):
        os.close(beyond)
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.to_thread(write, packed))
            found, piped = await read("-", format="ndjson")
    assert found == list(range(BIG))
    path = tmp_path / "a"
    path.write_bytes(packed)
    with path.open("rb") as file, standard_input(file.fileno()):
        found, link = await read("-", format="ndjson")
        assert found == list(range(BIG))
    assert link.bodies == piped.bodies  # cut alike


async def test_a_pipe_that_says_nothing_can_be_cancelled() -> None:
    beyond, here = os.pipe()
    with standard_input(beyond):
        os.close(beyond)
        async with linked("-") as (source, link), running(source, link) as run:
            await link.until(lambda: link.lives == 1)
            await run.cancel()
    os.close(here)
    assert run.ended.is_set()
