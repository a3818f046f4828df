"""Webhook: takes what a provider posts to us, and answers when it is safe."""

import asyncio
import time
from typing import Annotated, ClassVar, Literal, Self

import structlog
from pydantic import Field, model_validator

from service.config.connectors import Connector, OneOf
from service.config.units import Duration, Size
from service.errors import SourceRefused
from service.model import Message
from service.provider.proof import Signature, Token
from service.provider.unpack import FAULTS, layer, unfold
from service.sources import CLOSED, Answer, Delivery, Link, Source

log = structlog.get_logger()

PATIENCE = 5.0
"""Seconds that a delivery may wait to become safe; senders hang up after ten or so."""
READ_SECONDS = 30.0
"""Seconds that the body of a delivery may take."""
HELD_BYTES = 16 << 20
"""Bytes of deliveries that may be in our hands at once, on top of the last one."""
REMEMBERED = 100_000
"""The most ids of deliveries that are remembered."""

ACCEPTED = Answer(202, "accepted")
BUSY = Answer(429, "no room at the moment; send it again", retry_after=5)
SLOW = Answer(408, "the body did not come in time")
STRANGER = Answer(401, "not verified")
TOO_LARGE = Answer(413, "the body is larger than this feed takes")


class Webhook(Source):
    """Takes requests at `POST /ingest/PROVIDER/FEED`; each that is answered with 202 is a message that is safe."""

    listens: ClassVar[bool] = True
    missed: ClassVar[str] = "what is posted while we are away is received if its sender repeats it until it gets a 202"

    kind: Literal["webhook"] = "webhook"
    token: Token | None = None
    """The secret that proves who sends."""
    signature: Signature | None = None
    """The signature that proves who sends, and that nothing was changed on the way."""
    unverified: bool = False
    """Take requests from anybody who can reach the port, where something before it keeps strangers out."""
    replay_window: Duration = Field(default=300.0, gt=0)
    """How far a signed time may be from our clock, and for how long the ids of deliveries are remembered."""
    dedupe_header: str | None = None
    """The header with the id of a delivery; one that was received within `replay_window` is answered and dropped."""
    params: dict[str, str] = Field(default={})
    """Headers that the map reads: `{event: X-GitHub-Event}` makes `$params.event`."""
    max_body: Size = Field(default=1 << 20, ge=1)
    """The most bytes of a body, compressed or not."""
    format: Annotated[Connector, OneOf("service.formats")] = Field(default="auto", validate_default=True)
    """How a body is decoded; by default as its content type says, or else its first bytes."""

    @model_validator(mode="after")
    def _verified(self) -> Self:
        if (self.token is None and self.signature is None) != self.unverified:
            raise ValueError("say how requests are verified: `token`, `signature` or both; or `unverified: true`")
        return self

    async def run(self, link: Link) -> None:
        """Receive until cancelled; see Source."""
        reception = _Reception(self, link)
        link.alive()
        with link.listen(reception.receive):
            try:
                await asyncio.Event().wait()
            finally:
                reception.is_open = False


class _Reception:
    """Takes deliveries, several at a time.

    Attributes:
        is_open: whether messages may still be handed on.
    """

    def __init__(self, webhook: Webhook, link: Link) -> None:
        self._webhook = webhook
        self._link = link
        self._held = 0
        self._known: dict[str, float] = {}
        self._coming: set[str | None] = set()
        self._told: set[str] = set()
        self.is_open = True

    async def receive(self, delivery: Delivery) -> Answer:
        """Check a delivery, cheap things first, and keep it."""
        token = self._webhook.token
        if token is not None and (fault := token.fault(delivery.headers, delivery.query)) is not None:
            return self._refuse(STRANGER, fault)
        if self._link.full or self._held > HELD_BYTES:
            return BUSY
        body = bytearray()
        try:
            async with asyncio.timeout(READ_SECONDS):
                async for chunk in delivery.chunks:
                    body += chunk
                    self._held += len(chunk)
                    if len(body) > self._webhook.max_body:
                        return TOO_LARGE
            return await self._accept(delivery, bytes(body))
        except TimeoutError:
            return SLOW
        finally:
            self._held -= len(body)

    async def _accept(self, delivery: Delivery, sent: bytes) -> Answer:
        webhook, now = self._webhook, time.time()
        if webhook.signature is not None:
            fault = webhook.signature.fault(delivery.headers, sent, now, webhook.replay_window)
            if fault is not None:
                return self._refuse(STRANGER, fault)
        try:
            body = _unpacked(sent, delivery.headers.get("Content-Encoding", ""), webhook.max_body)
        except SourceRefused as refused:
            return self._refuse(Answer(415, refused.reason), refused.reason)
        except FAULTS as error:
            return self._refuse(Answer(400, f"the body does not decompress: {error}"), str(error))
        if body is None:
            return self._refuse(TOO_LARGE, "larger than max_body")
        self._told.clear()
        params = {name: delivery.headers.get(header) for name, header in webhook.params.items()}
        meta = {"content_type": delivery.headers.get("Content-Type", ""), "params": params}
        name = webhook.dedupe_header
        key = delivery.headers.get(name) if name is not None else None
        return await self._keep(Message(body, now, None, meta), key)

    async def _keep(self, message: Message, key: str | None) -> Answer:
        """Hand a message on, unless one with its key was, and answer when it is safe."""
        if not self.is_open:
            return CLOSED
        if key in self._coming:
            return BUSY
        try:
            async with asyncio.timeout(PATIENCE):
                if self._is_new(key, message.received_at):
                    await self._hand_on(message, key)
                await self._link.settled()
        except TimeoutError:  # it is on its way all the same: sent again, it changes nothing
            return BUSY
        return ACCEPTED

    async def _hand_on(self, message: Message, key: str | None) -> None:
        """Hand a message on; until that is done, ``settled`` says nothing of it."""
        if key is not None:
            self._coming.add(key)
        try:
            await self._link.emit([message])
        finally:
            self._coming.discard(key)

    def _is_new(self, key: str | None, now: float) -> bool:
        """Note the id of a delivery; say whether it was not known."""
        known = self._known
        while known and (len(known) >= REMEMBERED or now - next(iter(known.values())) > self._webhook.replay_window):
            del known[next(iter(known))]
        is_new = key not in known
        if key is not None:
            known.setdefault(key, now)
        return is_new

    def _refuse(self, answer: Answer, reason: str) -> Answer:
        """Log why, once until a delivery is accepted again; the sender is told no more than the answer says."""
        if reason not in self._told and len(self._told) < 10:
            self._told.add(reason)
            log.warning("delivery refused", feed=self._link.feed, status=answer.status, reason=reason)
        return answer


def _unpacked(sent: bytes, codings: str, max_bytes: int) -> bytes | None:
    """Decompress a body, undoing its codings in the opposite order (RFC 9110, section 8.4); None if it is too large."""
    layers = [found for found in map(layer, reversed(codings.split(","))) if found is not None]
    if not layers:
        return sent
    body = bytearray()
    for data in (sent, None):
        for piece in unfold(layers, data):
            body += piece
            if len(body) > max_bytes:
                return None
    return bytes(body)
