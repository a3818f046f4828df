"""Trials: what the transform makes of each record of a few messages; nothing is loaded."""

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec

from service.errors import FormatError
from service.formats import Broken
from service.masking import hidden_raw
from service.model import Message
from service.transform.custom import attempts, function_of
from service.transform.explain import Verdict
from service.transform.transform import Transform


class Trial(msgspec.Struct, frozen=True):
    """One record and what becomes of it.

    Attributes:
        number: of the record within its message, from 0.
        record: decoded; its text where it does not decode, or that of the whole message where that does not.
        verdict: its row, of the table's columns alone; its refusal; or neither where it is left out.
        deletes: the record deletes the row of its key.
    """

    number: int
    record: Any
    verdict: Verdict
    deletes: bool = False

    @property
    def outcome(self) -> str:
        """Say in a word what becomes of it: loads, deletes, refused or filtered."""
        if self.verdict.row is not None:
            return "deletes" if self.deletes else "loads"
        return "refused" if self.verdict.reason else "filtered"


def trials(transform: Transform, messages: Sequence[Message]) -> list[Trial]:
    """Try every record of the messages, in order."""
    return asyncio.run(tried(transform, messages))


async def tried(transform: Transform, messages: Sequence[Message]) -> list[Trial]:
    """As trials, within a running loop."""
    function, made = function_of(transform), list[Trial]()
    for message in messages:
        try:
            records = transform.decode(message)
        except FormatError as error:
            refusal = transform.undecodable(message, error)
            text = hidden_raw(message.body.decode(errors="replace"))
            made.append(Trial(0, text, Verdict(None, refusal.reason, refusal.detail)))
            continue
        # A function may change what it is given; what is shown is decoded once more.
        given = records if function is None else transform.decode(message)
        for number, record in enumerate(records):
            for verdict in await attempts(transform, function, message, given[number]):
                deletes = False
                if verdict.row is not None and verdict.carried is not None:
                    verdict.row = verdict.row[:-1]
                if verdict.table in transform.deletable and verdict.row is not None:
                    verdict.row, deletes = verdict.row[:-1], verdict.row[-1]
                made.append(Trial(number, _text_of(transform, message, number, record), verdict, deletes))
    return made


def _text_of(transform: Transform, message: Message, number: int, record: Any) -> Any:
    """Give a record, or the text of one that cannot be read."""
    return transform.raw(message, number).decode(errors="replace") if isinstance(record, Broken) else record
