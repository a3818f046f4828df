"""A conversation over one WebSocket connection: what is said, heartbeats both ways, and how long silence may last."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Any, NamedTuple, NoReturn, Self

from pydantic import AfterValidator, Field, model_validator
from websockets.exceptions import ConnectionClosed

from service.config.connectors import Settings
from service.config.units import Duration
from service.errors import SourceLost, SourceRefused
from service.provider.connection import Connection
from service.provider.dial import PING_EVERY
from service.provider.matching import Frame, Match, Rule
from service.provider.subscriptions import Subscriptions
from service.provider.template import Unfilled, check, message
from service.provider.wire import heard

MAX_ANSWERS = 100
"""Answers to the provider's heartbeats that may wait to be sent; of more, the oldest is out of date."""


def _answerable(template: Any) -> Any:
    return check(template, frozenset({"reply"}))


class Heartbeat(Settings):
    """Messages that keep a connection alive. They are no records, and no sign of life of a subscription."""

    every: Duration | None = Field(default=None, gt=0)
    """How often `send` is sent; without `send`, how often a ping of the protocol is sent."""
    send: Any = None
    """What we send: text, or a value that is sent as JSON."""
    expect: Match | None = None
    """What the provider's heartbeats, or its answers to ours, contain."""
    answer: Annotated[Any, AfterValidator(_answerable)] = None
    """What each heartbeat of the provider is answered with; `{reply.a}` stands for a value of the heartbeat."""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.every is None and self.send is not None:
            raise ValueError("a heartbeat with `send` needs `every`, how often it is sent")
        if self.answer is not None and self.expect is None:
            raise ValueError("a heartbeat with `answer` needs `expect`, which says what is answered")
        return self


class Manner(NamedTuple):
    """How a conversation is held.

    Attributes:
        heartbeat: of the application.
        refuse: what refuses the subscriptions as a whole.
        idle_timeout: seconds of silence after which the connection is given up.
        send_every: seconds between two messages that subscribe.
        unpack: undoes the compression of one message.
    """

    heartbeat: Heartbeat | None
    refuse: Rule | None
    idle_timeout: float
    send_every: float
    unpack: Callable[[bytes], bytes] | None


class Conversation:
    """Speaks and listens on one connection until it ends.

    Args:
        connection: after its handshake.
        manner: how.
        subscriptions: what is to be subscribed to.
        where: the address, for errors.
        said: shortens what a provider said and blanks out secrets.
    """

    def __init__(
        self,
        connection: Connection,
        manner: Manner,
        subscriptions: Subscriptions,
        where: str,
        said: Callable[[bytes], str],
    ) -> None:
        self._connection = connection
        self._manner = manner
        self._subscriptions = subscriptions
        self._where = where
        self._said = said
        beat = manner.heartbeat
        self._beat = Rule(beat.expect) if beat is not None and beat.expect is not None else None
        self._outgoing: asyncio.Queue[str] = asyncio.Queue()
        self._answers: asyncio.Queue[str] = asyncio.Queue(MAX_ANSWERS)
        self._away = 0.0
        self._listening_since = time.monotonic()

    async def run(
        self,
        early: Sequence[bytes],
        values: dict[str, Any],
        alive: Callable[[float], None],
        hand_on: Callable[[list[bytes]], Awaitable[None]],
    ) -> NoReturn:
        """Subscribe and listen, speaking meanwhile, also while handing on waits for room.

        Args:
            early: what came before.
            values: what messages are filled with.
            alive: called when the provider says anything, with how many seconds ago that was.
            hand_on: takes data, in order.

        Raises:
            SourceLost: silence, or a subscription that is not confirmed or has no data for too long.
            SourceRefused: a subscription is refused.
            ConnectionClosed: the connection ended.
        """
        self._say(self._subscriptions.begin(self._now(), values))
        async with asyncio.TaskGroup() as group:
            speaking = [group.create_task(self._speak()), group.create_task(self._keep_alive())]
            try:
                await self._listen(list(early), alive, hand_on)
            except (ConnectionClosed, SourceLost, SourceRefused) as end:
                ended = end  # raised outside: the task group would wrap it
            finally:
                for task in speaking:
                    task.cancel()
        raise ended

    async def _listen(
        self, frames: list[bytes], alive: Callable[[float], None], hand_on: Callable[[list[bytes]], Awaitable[None]]
    ) -> NoReturn:
        while True:
            if frames:
                data, refused = self._sorted(frames)
                alive(0.0)
                if data:
                    # No clock runs while this waits: it is we who are slow then, not the provider.
                    before = time.monotonic()
                    await hand_on(data)
                    self._listening_since = time.monotonic()
                    self._away += self._listening_since - before
                if refused is not None:
                    raise refused
            frames = await self._frames(alive)
            self._say(self._subscriptions.look(self._now()))

    def _sorted(self, frames: list[bytes]) -> tuple[list[bytes], SourceRefused | None]:
        """Give the data among messages, and what refuses us, if one does."""
        signs, unpack, now = self._signs(), self._manner.unpack, self._now()
        data: list[bytes] = []
        refused = None
        for packed in frames:
            try:
                body = unpack(packed) if unpack is not None else packed
                for sign in signs:
                    if sign in body:
                        break
                else:
                    data.append(body)
                    continue
                if self._is_protocol(Frame(body), now):
                    heard(body)
                else:
                    data.append(body)
            except SourceRefused as refusal:
                refused = refusal
        if data:
            self._subscriptions.data(now)
        return data, refused

    def _signs(self) -> list[bytes]:
        """Give bytes that tell nearly all data, which hold none of them, from what has to be looked into."""
        rules = (rule for rule in (self._beat, self._manner.refuse) if rule is not None)
        return [*(rule.sign for rule in rules), *self._subscriptions.signs()]

    def _is_protocol(self, frame: Frame, now: float) -> bool:
        if self._beat is not None and self._beat.holds(frame):
            self._answer(frame)
            return True
        if self._subscriptions.note(frame, now):
            return True
        if self._manner.refuse is not None and self._manner.refuse.holds(frame):
            raise SourceRefused(f"{self._where}: subscription refused: {self._said(frame.body)}")
        return False

    async def _frames(self, alive: Callable[[float], None]) -> list[bytes]:
        """Wait for messages; give none when it is time to look after the subscriptions."""
        connection, since = self._connection, self._listening_since
        idle_at = max(connection.heard_at, since) + self._manner.idle_timeout
        look_at = min(self._subscriptions.due + self._away, time.monotonic() + PING_EVERY)
        try:
            async with asyncio.timeout_at(min(idle_at, look_at)):
                return await connection.messages()
        except TimeoutError:
            if time.monotonic() >= max(connection.heard_at, since) + self._manner.idle_timeout:
                raise SourceLost(f"{self._where}: silent for {self._manner.idle_timeout:g} s") from None
            if connection.heard_at > since:  # a ping or a pong: no news, but a sign of life
                alive(time.monotonic() - connection.heard_at)
            return []

    def _now(self) -> float:
        """Give the time, which stands still while data wait to be handed on."""
        return time.monotonic() - self._away

    def _say(self, texts: Sequence[str]) -> None:
        for text in texts:
            self._outgoing.put_nowait(text)

    def _answer(self, frame: Frame) -> None:
        beat = self._manner.heartbeat
        if beat is None or beat.answer is None:
            return
        try:
            text = message(beat.answer, {"reply": frame.document})
        except Unfilled as error:
            raise SourceRefused(f"{self._where}: heartbeat.answer: {error} in {self._said(frame.body)}") from None
        if self._answers.full():
            self._answers.get_nowait()
        self._answers.put_nowait(text)

    async def _speak(self) -> None:
        """Send what subscribes, at its pace."""
        try:
            while True:
                await self._connection.say(await self._outgoing.get())
                if self._manner.send_every:
                    await asyncio.sleep(self._manner.send_every)
        except ConnectionClosed:
            return  # the listener says why

    async def _keep_alive(self) -> None:
        """Send heartbeats and answers to them, never behind a row of subscriptions."""
        beat = self._manner.heartbeat
        every = beat.every if beat is not None else None
        due = time.monotonic() + every if every is not None else None
        try:
            while True:
                try:
                    async with asyncio.timeout_at(due):
                        text = await self._answers.get()
                except TimeoutError:
                    due = time.monotonic() + (every or 0.0)
                    await self._send_beat(beat.send if beat is not None else None)
                else:
                    await self._connection.say(text)
        except ConnectionClosed:
            return  # as above

    async def _send_beat(self, beat: Any) -> None:
        if beat is None:
            await self._connection.ping()
        else:
            await self._connection.say(message(beat, {}))
