"""WebSocket: subscribes, keeps the connection alive, and hands on every frame as it arrived."""

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal, Self

from pydantic import Field, model_validator
from websockets.exceptions import ConnectionClosed
from yarl import URL

from service.config.substitute import Substituted
from service.config.units import Duration, Size
from service.errors import SourceLost
from service.model import Message, Position
from service.provider.answers import plain
from service.provider.conversation import Conversation, Heartbeat, Manner
from service.provider.dial import Offer, dial, ended
from service.provider.handshake import Handshake, Step
from service.provider.hidden import SECRET
from service.provider.matching import Frame, Match, Rule
from service.provider.resume import Resume, Tokens
from service.provider.subscription import Acknowledge, Sent, Subscription, packed
from service.provider.subscriptions import Subscriptions
from service.provider.unfold import Packing, Unfold
from service.sources import Link, Source


class WebSocket(Source):
    """Listens to one connection for as long as it lasts."""

    kind: Literal["websocket"] = "websocket"
    url: str | None = Field(default=None, pattern=r"^wss?://")
    """The address; by default the provider's."""
    headers: dict[str, str] = Field(default={})
    """Further headers of the handshake."""
    subprotocols: tuple[str, ...] = ()
    """Subprotocols offered, the most wanted first."""
    handshake: tuple[Step, ...] = ()
    """What is sent and waited for after connecting, before subscribing."""
    subscribe: tuple[Sent, ...] = ()
    """What subscribes: texts, or values that are sent as JSON."""
    subscriptions: tuple[Subscription, ...] = ()
    """What is subscribed to, each with its own confirmation, refusal and data."""
    max_subscriptions: int | None = Field(default=None, ge=1)
    """How many subscriptions the provider allows on a connection; more go over several."""
    send_every: Duration = 0.0
    """The time between two messages that subscribe."""
    acknowledge: Acknowledge | None = None
    """How each subscription is confirmed that does not say so itself."""
    refuse: Match | None = None
    """What a message contains that refuses us as a whole."""
    heartbeat: Heartbeat | None = None
    """Heartbeats of the application, in either direction."""
    resume: Resume | None = None
    """What is kept of the data, to go on from there after a reconnect."""
    connections: int = Field(default=1, ge=1, le=8)
    """Redundant connections that all receive the same; the first copy of a message wins."""
    idle_timeout: Duration = Field(default=60.0, gt=0)
    """The longest silence before the connection is given up; anything that arrives counts, a ping or pong too."""
    max_message: Size = Field(default=4 << 20, ge=1)
    """The most bytes of one message."""
    compression: bool = False
    """Whether to offer permessage-deflate."""
    packing: Packing | None = None
    """How the provider itself compresses each message."""

    @model_validator(mode="after")
    def _freshness_is_watched(self) -> Self:
        idle = (each for each in self.subscriptions if each.unsubscribe is not None and each.freshness is None)
        if self.freshness is None and any(idle):
            raise ValueError("`unsubscribe` is for what is stale: set `freshness` on the subscription or the feed")
        return self

    @property
    def copies(self) -> int:
        """How many redundant connections there are; see Source."""
        return self.connections

    def parts(self) -> Sequence["WebSocket"]:
        """Divide the subscriptions among connections; see Source."""
        everything = (*(Subscription(send=item) for item in self.subscribe), *self.subscriptions)
        return [
            self.model_copy(update={"subscribe": (), "subscriptions": part})
            for part in packed(everything or (Subscription(send=None),), self.max_subscriptions)
        ]

    def resumes(self, position: Position | None) -> bool:
        """Say whether there are values to resume from; see Source."""
        return bool(tokens.values) if (tokens := self._tokens(position)) is not None else False

    def secrets(self) -> Iterable[str]:
        """Give what is sent that may prove who we are; see FeedSettings."""
        sent = [step.send for step in self.handshake], self.subscribe, [each.send for each in self.subscriptions]
        return _secrets((sent, self.heartbeat.send if self.heartbeat is not None else None), named=False)

    async def run(self, link: Link) -> None:
        """Connect, subscribe and listen; see Source."""
        provider = link.provider
        url = URL(self.url) if self.url is not None else provider.address("")
        where = plain(url)
        (part, *_) = self.parts()
        tokens = self._tokens(link.position)
        unable = Rule(self.resume.refuse) if self.resume is not None and self.resume.refuse is not None else None

        async def hand_on(bodies: list[bytes]) -> None:
            now = time.time()
            refusal = next((body for body in bodies if unable.holds(Frame(body))), None) if unable is not None else None
            if refusal is not None:
                bodies = bodies[: bodies.index(refusal)]
            messages = [Message(body, now) for body in bodies]
            if tokens is not None and messages and (position := tokens.note(bodies)) is not None:
                messages[-1] = Message(bodies[-1], now, position)
            if messages:
                await link.emit(messages)
            if refusal is not None:
                link.position = None
                raise SourceLost(f"{where}: cannot resume, beginning anew: {provider.said(refusal)}")

        offer = Offer(self.headers, self.subprotocols, self.compression, self.max_message, self.weight)
        connection = await dial(url, provider, offer)
        try:
            manner, resume = self._manner(), tokens.values if tokens is not None else {}
            handshake = Handshake(connection, where, provider.said, resume, manner.unpack)
            await handshake.run(self.handshake)
            subscriptions = Subscriptions(
                part.subscriptions, self.acknowledge, self.freshness, where, provider.said, link.missed
            )
            link.follow(subscriptions)
            conversation = Conversation(connection, manner, subscriptions, where, provider.said)
            await conversation.run(handshake.early, handshake.values, link.alive, hand_on)
        except ConnectionClosed as closed:
            raise ended(closed, where, provider, self.max_message) from closed
        finally:
            link.follow(None)
            await connection.close()

    def _tokens(self, position: Position | None) -> Tokens | None:
        (part, *_) = self.parts()
        return Tokens(self.resume, part.model_dump()["subscriptions"], position) if self.resume else None

    def _manner(self) -> Manner:
        return Manner(
            heartbeat=self.heartbeat,
            refuse=Rule(self.refuse) if self.refuse is not None else None,
            idle_timeout=self.idle_timeout,
            send_every=self.send_every,
            unpack=Unfold(self.packing, self.max_message) if self.packing is not None else None,
        )


def _secrets(sent: Any, *, named: bool) -> Iterator[str]:
    """Give texts that came from variables, and those under names that sound secret."""
    if isinstance(sent, str):
        if isinstance(sent, Substituted):
            yield from sent.hidden
        if named:
            yield sent
    elif isinstance(sent, dict):
        for name, value in sent.items():
            yield from _secrets(value, named=named or SECRET.search(name) is not None)
    elif isinstance(sent, list | tuple):
        for value in sent:
            yield from _secrets(value, named=named)
