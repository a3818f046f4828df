"""SSE: listens to an event stream, and resumes it from the last event id."""

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import ClassVar, Literal

import aiohttp
from pydantic import Field

from service.config.units import Duration, Size
from service.errors import SourceLost, SourceRefused
from service.model import Message, Position
from service.provider.answers import plain
from service.provider.body import Body
from service.provider.eventstream import Event, EventStream
from service.sources import Addressed, Link, query

MEDIA = "text/event-stream"


class Sse(Addressed):
    """Listens to one event stream; `$params.event` and `$params.id` are the name and the id of an event.

    The last event id is kept with the rows, and sent when the connection is opened again (WHATWG HTML, section 9.2).
    """

    replayable: ClassVar[bool] = True
    missed: ClassVar[str] = (
        "what the provider sends while the connection is down is received if it gives its events ids and still has them"
    )

    kind: Literal["sse"] = "sse"
    events: tuple[str, ...] = ()
    """The names of the events that are messages; by default all of them. An event without a name is a `message`."""
    idle_timeout: Duration = Field(default=60.0, gt=0)
    """The longest silence before the connection is given up; comments, too, count as a sign of life."""
    max_message: Size = Field(default=4 << 20, ge=1)
    """The most bytes of one event."""

    def resumes(self, position: Position | None) -> bool:
        """Say whether there is an event to resume from; see Source."""
        return bool((position or {}).get("id"))

    async def run(self, link: Link) -> None:
        """Connect and listen; see Source."""
        stream = EventStream((link.position or {}).get("id"))
        headers = {"Accept": MEDIA, "Cache-Control": "no-store", **self.headers}
        if stream.last_id:
            headers["Last-Event-ID"] = stream.last_id
        url = self.address(link.provider).update_query(query(self.params))
        async with link.provider.request("GET", url, headers=headers, endless=True) as response:
            self._check(response)
            link.alive()
            async with aclosing(Body(response, self.max_message).chunks()) as chunks:
                while (chunk := await self._next(chunks, response)) is not None:
                    link.alive()
                    if messages := self._messages(stream.feed(chunk)):
                        await link.emit(messages)
                    if stream.held > self.max_message:
                        limit = f"max_message ({self.max_message} bytes)"
                        raise SourceRefused(f"{plain(response.url)}: an event is larger than {limit}")
        # What the provider asks for here is a wait between two connections, not an answer to too many.
        raise SourceLost(f"{plain(response.url)}: the provider ended the stream", retry_after=stream.retry)

    def _check(self, response: aiohttp.ClientResponse) -> None:
        """See that the answer is an event stream (section 9.2.3).

        Raises:
            SourceRefused: it is not; with 204 the provider asks us to stop.
        """
        where, media = plain(response.url), response.content_type
        if response.status == 204:
            raise SourceRefused(f"{where}: 204: the provider asks us not to come again")
        if response.status != 200 or media != MEDIA:
            raise SourceRefused(f"{where}: answered with {response.status} and {media}, not with {MEDIA}")

    async def _next(self, chunks: AsyncGenerator[bytes, None], response: aiohttp.ClientResponse) -> bytes | None:
        """Wait for the next bytes; None at the end of the stream.

        Raises:
            SourceLost: the provider is silent for too long.
        """
        try:
            async with asyncio.timeout(self.idle_timeout):
                return await anext(chunks, None)
        except TimeoutError:
            raise SourceLost(f"{plain(response.url)}: silent for {self.idle_timeout:g} s") from None

    def _messages(self, events: Sequence[Event]) -> list[Message]:
        """Make messages of the events that are wanted; one without data is a sign of life and no more."""
        now = time.time()
        return [
            Message(event.data, now, _position(event.id), {"params": {"event": event.name, "id": event.id}})
            for event in events
            if event.data and (not self.events or event.name in self.events)
        ]


def _position(last_id: str | None) -> Position | None:
    return {"id": last_id} if last_id is not None else None
