"""Files: reads a file, those that a pattern finds, or standard input; plain or compressed, from where it left off."""

import asyncio
import contextlib
import glob
import os
import stat
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Annotated, Any, BinaryIO, ClassVar, Literal, TypeAlias, cast

import structlog
from pydantic import Field

from service.config.connectors import Connector, OneOf
from service.config.units import Duration, Size
from service.cutting import WHOLE, cut
from service.errors import SourceRefused
from service.formats import PIECE, Format
from service.model import Message, Position
from service.provider.unpack import FAULTS, Sniff, unfold
from service.sources import Link, Source

log = structlog.get_logger()

READ = 64 << 10
"""Bytes read at a time. Always as many, also from a pipe: a file must be cut alike whenever it is read."""
STDIN = "-"

_COMPRESSED = (".gz", ".zst", ".zip", ".bz2", ".xz")
_Read: TypeAlias = Callable[[], Awaitable[bytes]]


class File(Source):
    """Reads files in the order of their names, each piece by piece; `$params.file` is the path of the file.

    Where it stands (file and piece) is kept with the rows. A file that changed since it was read is read anew; those
    whose names come before it are not looked at again.
    """

    replayable: ClassVar[bool] = True
    pushed: ClassVar[bool] = False
    missed: ClassVar[str] = "a file that is gone before it was read is never received"

    kind: Literal["file"] = "file"
    path: str = Field(min_length=1)
    """A file, a pattern (`data/*.csv.gz`, `**` for any folders), or `-` for standard input."""
    every: Duration | None = Field(default=None, gt=0)
    """How often to look for further files; by default the feed ends with the last one."""
    max_body: Size = Field(default=64 << 20, ge=1)
    """The most bytes, decompressed, of what cannot be cut: one record, what lies around `records`, or a whole document
    of one record. A file of many records may be of any length. Also the most bytes of a zip archive."""
    format: Annotated[Connector, OneOf("service.formats")] = Field(default="auto", validate_default=True)
    """How a file is decoded; by default as the ending of its name says, or else its first bytes."""

    async def run(self, link: Link) -> None:
        """Read all there is, and then what comes; see Source."""
        while True:
            for path in await asyncio.to_thread(find, self.path):
                await _Reading(self, link, path).run()
            if self.every is None:
                return
            await link.wait_until(time.time() + self.every)


def find(pattern: str) -> list[str]:
    """Give the paths that a pattern stands for, in order.

    Raises:
        SourceRefused: there are none.
    """
    if pattern == STDIN:
        return [STDIN]
    # The name itself goes first: it may hold brackets that are meant as they stand.
    if Path(pattern).is_file():
        return [pattern]
    found = glob.glob(pattern, recursive=True)  # noqa: PTH207  Path.glob takes no absolute pattern
    paths = sorted((path for path in found if Path(path).is_file()), key=_shown)
    if not paths:
        raise SourceRefused(f"there is no file {pattern}")
    return paths


class _Reading:
    """Reads one file, unless it is done.

    The position holds ``of``, the configured path, and ``file``, that of the file; ``identity``, what tells that it is
    the same as before; ``pieces``, how many of it were handed on; ``whole``, whether that is all; ``read``, how many
    of its bytes that took; ``at``, when that was, in seconds since the epoch.
    """

    def __init__(self, file: File, link: Link, path: str) -> None:
        self._file = file
        self._link = link
        self._path = path
        self._name = _shown(path)
        self._read = 0
        self._fault = ""
        kind = file.format.model_dump(include={"kind"})["kind"]
        named = {"format": kind} if kind != "auto" else {}  # a feed that finds out itself may have to read it again
        self._meta: dict[str, Any] = {
            "name": plain_name(Path(self._name).name),
            "params": {"file": self._name},
            **named,
        }

    async def run(self) -> None:
        """Hand on what was not handed on before.

        Raises:
            SourceRefused: the file cannot be read, or holds what cannot be cut.
        """
        before = self._link.position or {}
        if before.get("of") != self._file.path:
            before = {}
        if self._name < before.get("file", ""):
            self._pass_by(before)
            return
        self._link.alive()
        try:
            async with _opened(self._path) as (read, status):
                head = await read()
                identity = _identity(head, status)
                known = before if (before.get("file"), before.get("identity")) == (self._name, identity) else {}
                if not known.get("whole"):
                    await self._hand_on(head, read, identity, known.get("pieces", 0))
                elif self._path == STDIN:  # what comes now is something else
                    await self._hand_on(head, read, identity, 0)
        except OSError as error:
            raise SourceRefused(f"{self._name}: {error.strerror or error}") from error

    def _pass_by(self, before: Position) -> None:
        """Say, once, that a file came or changed that will not be read."""
        passed: set[str] = self._link.notes.setdefault("passed", set())
        with contextlib.suppress(OSError):  # gone meanwhile
            changed = Path(self._path).stat().st_ctime  # that of a file that was moved here, too; its mtime may be old
            if changed > before.get("at", changed) and self._name not in passed:
                passed.add(self._name)
                why = f"it came or changed after {before['file']}, before which it sorts"
                log.warning("file not read", feed=self._link.feed, file=self._name, reason=why)

    async def _hand_on(self, head: bytes, read: _Read, identity: str, skipped: int) -> None:
        """Cut the file into messages, and hand on those that follow the ``skipped`` ones."""
        file, number = self._file, 0
        async with aclosing(self._chunks(head, read)) as chunks:
            pieces = cut(chunks, cast("Format", file.format), self._meta, file.records, file.max_body)
            async with aclosing(pieces):
                async for piece, is_last in pieces:
                    number += 1
                    if number <= skipped:
                        continue
                    meta = {**self._meta, **piece.meta}
                    if is_last and self._fault:
                        meta["broken"] = self._fault
                    now = time.time()
                    position: Position = {
                        "of": file.path,
                        "file": self._name,
                        "identity": identity,
                        "pieces": number,
                        "whole": is_last,
                        "read": self._read,
                        "at": now,
                    }
                    await self._link.emit([Message(piece.body, now, position, meta)])

    async def _chunks(self, head: bytes, read: _Read) -> AsyncGenerator[bytes, None]:
        """Give the file's bytes, decompressed; after a fault in the compression no more of them."""
        with contextlib.ExitStack() as stack:
            sniff = Sniff(self._file.max_body, stack)
            data: bytes | None = head or None
            try:
                while True:
                    self._read += len(data or b"")
                    for piece in unfold([sniff], data) if self._read else ():
                        self._meta["name"] = sniff.name or self._meta["name"]
                        yield piece
                        await asyncio.sleep(0)  # much may unfold from little
                    if data is None:
                        return
                    data = await read() or None
            except FAULTS as error:
                self._fault = f"the file does not decompress: {error}"


@asynccontextmanager
async def _opened(path: str) -> AsyncIterator[tuple[_Read, os.stat_result]]:
    """Open a file, or standard input; give what reads the next bytes, none at the end, and its status."""
    with _open(path) as file:  # at once: a thread that is cancelled would leave it open
        status = os.fstat(file.fileno())
        if not (stat.S_ISFIFO(status.st_mode) or stat.S_ISSOCK(status.st_mode)):
            yield lambda: asyncio.to_thread(file.read, READ), status
            return
        # A thread that waits for a pipe could not be cancelled.
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, file)

        async def read() -> bytes:
            try:
                return await reader.readexactly(READ)
            except asyncio.IncompleteReadError as end:
                return end.partial

        try:
            yield read, status
        finally:
            transport.close()


def _open(path: str) -> BinaryIO:
    return os.fdopen(os.dup(0), "rb") if path == STDIN else Path(path).open("rb")


def _identity(head: bytes, status: os.stat_result) -> str:
    """Tell a file from others, and from what it was before it changed; cut otherwise it is another, too."""
    marks = (status.st_size, status.st_mtime_ns) if stat.S_ISREG(status.st_mode) else ()
    return blake2b(repr((READ, PIECE, WHOLE, *marks)).encode() + head, digest_size=16).hexdigest()


def _shown(path: str) -> str:
    """Give a path as text that can be stored: a name need not be UTF-8."""
    return path.encode(errors="backslashreplace").decode()


def plain_name(name: str) -> str:
    """Give the name of what is in a compressed file."""
    for suffix in _COMPRESSED:
        name = name.removesuffix(suffix)
    return name
