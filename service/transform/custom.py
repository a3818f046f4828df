"""The user's own function (`transform: package.module:function`): records in, records out, before they are mapped."""

import asyncio
import inspect
import threading
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from concurrent.futures import Future
from contextlib import aclosing
from contextvars import copy_context
from itertools import islice
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import replace

from service.config.importing import function
from service.model import Message
from service.transform.explain import Verdict
from service.transform.given import given
from service.transform.transform import Piece, Transform
from service.transform.violations import kind_of, shortened

MOST = 100_000
"""Records that one may become: a generator without end would fill the memory."""


class Failure(msgspec.Struct, frozen=True):
    """A record that the function failed on.

    Attributes:
        message: that holds it.
        index: its number within the message.
        reason: short and stable, to group by: ``transform: KeyError``.
        detail: a sentence.
    """

    message: Message
    index: int
    reason: str
    detail: str


class Applied(msgspec.Struct):
    """What the function made of records.

    Attributes:
        pieces: one for each that went in, with what the function made of its records.
        failures: the records that it failed on.
        filtered: records that it made nothing of.
        added: records that it made beyond one of one.
    """

    pieces: list[Piece]
    failures: list[Failure] = []
    filtered: int = 0
    added: int = 0


class Wrong(NamedTuple):
    """Why a record is refused that the function was tried on: reason and detail, as in Failure."""

    reason: str
    detail: str


class _NotRecords(TypeError):  # noqa: N818  said of what was given
    """The function gave what cannot be a record."""


class _Quit(Exception):  # noqa: N818  its cause is the error
    """The function raised what would end the task or the program: `sys.exit()`, a CancelledError of its own."""


class Function:
    """Calls the function with a list of records; it gives their successors in the same order.

    A function that is not async runs in a thread, so that the loop goes on meanwhile. If a call fails, or gives another
    number of records than it got, its records are tried one by one, decoded afresh: whatever it gives then is what
    became of that one, nothing, a record or several.

    Args:
        name: of the function, ``package.module:function``.
        decode: gives the records of a message anew.

    Raises:
        ValueError: there is no such function.
    """

    def __init__(self, name: str, decode: Callable[[Message], list[Any]]) -> None:
        self._name = name
        self._call = function(name)
        self._decode = decode
        self._is_async = inspect.iscoroutinefunction(self._call) or inspect.iscoroutinefunction(
            getattr(self._call, "__call__", None)  # noqa: B004  an object may have an async __call__
        )
        self._yields = inspect.isasyncgenfunction(self._call)

    async def apply(self, pieces: list[Piece]) -> Applied:
        """Give what the function makes of the records of pieces."""
        records = [record for piece in pieces for record in piece.records if _is_record(record)]
        try:
            # A copy, as it may take some out of its list. More than one for each are of no use here.
            made = await self._made(list(records), len(records)) if records else []
        except Exception:  # noqa: BLE001  whatever it was, one of the records is to blame, and is found
            made = []
        if len(made) != len(records):
            return await self._one_by_one(pieces)
        successors = iter(made)
        made = [[next(successors) if _is_record(each) else each for each in piece.records] for piece in pieces]
        return Applied([replace(piece, records=records) for piece, records in zip(pieces, made, strict=True)])

    async def one(self, record: Any) -> "list[Any] | Wrong":
        """Give what the function makes of one record, or why it is to be refused."""
        if not _is_record(record):
            return [record]
        try:
            return await self._made([record], MOST)
        except _NotRecords as error:
            return Wrong("transform: wrong result", f"{self._name} {error} [transform]; correct it")
        except Exception as error:  # noqa: BLE001  it is the user's own
            cause = error.__cause__ if isinstance(error, _Quit) and error.__cause__ is not None else error
            kind = type(cause).__name__
            said = f"{self._name} raised {kind}{_message(cause)}"
            return Wrong(f"transform: {kind}", f"{said} [transform]; correct it, or have it pass such a record by")

    async def _one_by_one(self, pieces: list[Piece]) -> Applied:
        applied = Applied([])
        for piece in pieces:
            message, start, known = piece.message, piece.start, piece.numbers
            fresh = self._decode(message) if piece.records else []
            found: list[Any] = []
            numbers: list[int] = []
            for index in known if known is not None else range(start, start + len(piece.records)):
                made = await self.one(fresh[index])
                if isinstance(made, Wrong):
                    applied.failures.append(Failure(message, index, made.reason, made.detail))
                    continue
                found += made
                numbers += [index] * len(made)
                applied.filtered += not made
                applied.added += max(0, len(made) - 1)
            applied.pieces.append(Piece(message, found, start, numbers))
        return applied

    async def _made(self, records: list[Any], most: int) -> list[Any]:
        """Call the function once.

        Raises:
            Exception: whatever it raises, or TypeError where it gives what is no list of at most so many records.
        """
        if not self._is_async and not self._yields:
            return await _in_thread(self._made_in_thread, records, most)
        try:
            if self._yields:
                return _collected(await _first(self._call(records), most + 1), most)
            return _collected(await self._call(records), most)
        except Exception:
            raise
        except BaseException as error:
            task = asyncio.current_task()
            if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
                raise  # it is we who are to stop
            raise _Quit from error

    def _made_in_thread(self, records: list[Any], most: int) -> list[Any]:
        try:
            return _collected(self._call(records), most)
        except StopIteration as error:  # no future can carry it
            raise _Quit from error
        except Exception:
            raise
        except BaseException as error:
            raise _Quit from error


def function_of(transform: Transform) -> Function | None:
    """Give the function of a feed's own, if it has one.

    Raises:
        ValueError: there is no such function.
    """
    return Function(transform.custom, transform.decode) if transform.custom is not None else None


async def attempts(transform: Transform, function: Function | None, message: Message, record: Any) -> list[Verdict]:
    """Say what becomes of one record, or of those that the function makes of it."""
    made = await function.one(record) if function is not None else [record]
    if isinstance(made, Wrong):
        return [Verdict(None, *made)]
    return [transform.attempt(message, each) for each in made] or [Verdict()]


def _message(error: BaseException) -> str:
    """Give what an error says, with a colon before it; nothing where it says nothing, or cannot even be asked."""
    try:
        said = str(error)
    except Exception:  # noqa: BLE001  it is the user's own, too
        return ""
    return f": {shortened(said)}" if said else ""


def _is_record(value: Any) -> bool:
    return isinstance(value, dict | list)


async def _in_thread(work: Callable[..., list[Any]], *arguments: Any) -> list[Any]:
    """Run work in a thread of its own, which dies with the program.

    A thread of the loop's own pool would be waited for at the end, for ever if the function waits for something that
    does not come.
    """
    future: Future[list[Any]] = Future()
    future.set_running_or_notify_cancel()  # so that it can be settled though nobody waits any longer

    def run() -> None:
        try:
            future.set_result(work(*arguments))
        except BaseException as error:  # noqa: BLE001  whoever waits is told
            future.set_exception(error)

    threading.Thread(target=copy_context().run, args=(run,), name="transform", daemon=True).start()
    return await asyncio.wrap_future(future)


async def _first(made: AsyncGenerator[Any, None], number: int) -> list[Any]:
    """Give the first items, and let the generator clean up."""
    items: list[Any] = []
    async with aclosing(made):
        async for item in made:
            items.append(item)
            if len(items) == number:
                break
    return items


def _collected(made: Any, most: int) -> list[Any]:
    """Gather what a function gave, a generator's items too; None stands for no record."""
    if isinstance(made, str | bytes | Mapping) or not isinstance(made, Iterable):
        raise _NotRecords(f"gave {kind_of(made)}, not a list of records")
    items = list(islice(made, most + 1))
    if len(items) > most:
        raise _NotRecords(f"gave more than {most} records for one")
    return [_record(item) for item in items if item is not None]


def _record(item: Any) -> dict[str, Any]:
    try:
        found = given(item)
    except (TypeError, ValueError, RecursionError) as error:
        raise _NotRecords(f"gave a record that cannot be read ({error})") from None
    if not isinstance(found, dict):
        raise _NotRecords(f"gave {kind_of(found)} for a record, not a dict")
    return found
