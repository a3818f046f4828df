"""The handshake after connecting: messages sent, and replies waited for, step by step."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, model_validator

from service.config.connectors import Settings
from service.config.units import Duration
from service.errors import SourceLost, SourceRefused
from service.provider.connection import Connection
from service.provider.matching import Frame, Match, Rule
from service.provider.template import REPLIES, RESUME, Unfilled, check, message
from service.provider.wire import heard

MAX_EARLY = 16 << 20
"""Bytes of other messages that may come before a reply."""


def _sendable(template: Any) -> Any:
    return check(template, REPLIES | {RESUME})


class Expect(Settings):
    """A reply that is waited for."""

    match: Match
    """What the reply contains."""
    refuse: Match | None = None
    """What a reply contains that refuses us."""
    timeout: Duration = Field(default=10.0, gt=0)
    """The longest that it may take."""


class Step(Settings):
    """One step of a handshake: something is sent, then a reply is waited for, or only one of the two."""

    send: Annotated[Any, AfterValidator(_sendable)] = None
    """A text, or a value that is sent as JSON. `{reply.a.b}` stands for a value of the last reply, `{replies[0].a}` for
    one of the first."""
    expect: Expect | None = None
    """The reply."""

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.send is None and self.expect is None:
            raise ValueError("a step of a handshake needs `send`, `expect` or both")
        return self


class Handshake:
    """Goes through the steps on one connection.

    Args:
        connection: a new one.
        where: its address, for errors.
        said: shortens what a provider said and blanks out secrets.
        resume: the values to go on from.
        unpack: undoes the compression of one message.

    Attributes:
        values: what later messages may be filled with.
        early: messages that came before they were waited for, as they arrived.
    """

    def __init__(
        self,
        connection: Connection,
        where: str,
        said: Callable[[bytes], str],
        resume: dict[str, Any],
        unpack: Callable[[bytes], bytes] | None,
    ) -> None:
        self._connection = connection
        self._where = where
        self._said = said
        self._unpack = unpack
        self._arrived: deque[bytes] = deque()
        self.values: dict[str, Any] = {RESUME: resume, "replies": []}
        self.early: list[bytes] = []

    async def run(self, steps: Sequence[Step]) -> None:
        """Go through the steps.

        Raises:
            SourceLost: a reply does not come in time.
            SourceRefused: a reply refuses us, or lacks a value that is to be sent.
            ConnectionClosed: the provider closed the connection.
        """
        for number, step in enumerate(steps, 1):
            if step.send is not None:
                try:
                    text = message(step.send, self.values)
                except Unfilled as error:
                    raise SourceRefused(f"{self._where}: step {number} of the handshake: {error}") from None
                await self._connection.say(text)
            if step.expect is not None:
                await self._await(number, step.expect)
        self.early += self._arrived

    async def _await(self, number: int, expect: Expect) -> None:
        wanted, refused = Rule(expect.match), Rule(expect.refuse) if expect.refuse is not None else None
        try:
            async with asyncio.timeout(expect.timeout):
                while True:
                    arrived = await self._next()
                    body = self._unpack(arrived) if self._unpack is not None else arrived
                    frame = Frame(body)
                    if wanted.holds(frame):
                        heard(body)
                        self.values["reply"] = frame.document
                        self.values["replies"].append(frame.document)
                        return
                    if refused is not None and refused.holds(frame):
                        raise SourceRefused(f"{self._where}: handshake refused: {self._said(body)}")
                    self.early.append(arrived)
        except TimeoutError:
            raise SourceLost(
                f"{self._where}: no reply to step {number} of the handshake for {expect.timeout:g} s"
            ) from None

    async def _next(self) -> bytes:
        if not self._arrived:
            if sum(map(len, self.early)) > MAX_EARLY:
                raise SourceLost(f"{self._where}: no reply among the first {MAX_EARLY} bytes")
            self._arrived.extend(await self._connection.messages())
        return self._arrived.popleft()
