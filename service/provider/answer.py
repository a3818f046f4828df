"""One answer as a poll receives it: what its messages carry, and what paging and the cursor learn of it."""

import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from hashlib import blake2b
from typing import Any

import aiohttp
from yarl import URL

from service.errors import FormatError
from service.model import Message
from service.provider import Provider
from service.provider.body import Body
from service.provider.rules import Rules

LOOK_BYTES = 64 << 10
"""Bytes of a body that are looked at before any of it is used."""

_VAGUE = re.compile(
    r"\s*(|text/plain|(application|binary)/(x-)?(octet-stream|gzip|zip|zip-compressed|zstd))\s*(;|$)", re.IGNORECASE
)
"""Content types that do not say what the body is; its name may."""


class Answer:
    """The answer to one request.

    Attributes:
        url: what was asked for.
        status: of the answer; that of 204 and 304 has no body.
        headers: of the answer, by names in small letters.
        meta: of its messages.
        message: its newest message; when all has come, the last one.
        is_cut: whether messages before it are on their way.
        held: the messages before it that are held back.
        held_bytes: of those.
        count: records that were looked at.
        high: the newest incremental value among them.
        fault: why one of the messages does not decode.
    """

    def __init__(self, url: URL, response: aiohttp.ClientResponse, max_body: int, params: dict[str, str]) -> None:
        self.url = url
        self.status = response.status
        self.headers = {name.lower(): ", ".join(response.headers.getall(name)) for name in response.headers}
        self.meta: dict[str, Any] = {"content_type": self.headers.get("content-type", ""), "params": params}
        self.message = Message(b"", 0.0)
        self.is_cut = False
        self.held_bytes = 0
        self.held: list[Message] = []
        self.count = 0
        self.high: Any = None
        self.fault: FormatError | None = None
        self._response = response
        self._body = Body(response, max_body)
        self._hash = blake2b(digest_size=16)

    @property
    def digest(self) -> str:
        """Tells this body, and behind a dot where its header leads, from any other, once all of it has come."""
        link = self.headers.get("link", "")
        leads = f".{blake2b(link.encode(), digest_size=16).hexdigest()}" if link else ""
        return self._hash.hexdigest() + leads

    @property
    def has_body(self) -> bool:
        """Whether there is any: 204 says that there is none, and 304 that it is as before."""
        return self.status not in {204, 304}

    def hold(self) -> None:
        """Hold the newest message back."""
        self.held.append(self.message)
        self.held_bytes += len(self.message.body)

    def release(self) -> list[Message]:
        """Give what was held back."""
        held, self.held, self.held_bytes = self.held, [], 0
        return held

    async def chunks(self, provider: Provider, rules: Rules) -> AsyncGenerator[bytes, None]:
        """Give the body as it comes in, once its beginning is found to be one that may be used.

        Raises:
            SourceLost: it breaks off, or is a web page, or a rule says so.
            SourceRefused: it is too large, or a rule says so.
        """
        beginning, is_fine = b"", False
        async with aclosing(self._body.chunks()) as chunks:
            async for chunk in chunks:
                self._hash.update(chunk)
                if is_fine:
                    yield chunk
                    continue
                beginning += chunk
                if len(beginning) >= LOOK_BYTES:
                    self._begin(provider, beginning, rules)
                    is_fine = True
                    yield beginning
        if not is_fine:
            self._begin(provider, beginning, rules)
            yield beginning

    def _begin(self, provider: Provider, beginning: bytes, rules: Rules) -> None:
        provider.examine(self._response, beginning, rules)
        if self._body.name and _VAGUE.match(self.meta["content_type"]) is not None:
            self.meta["name"] = self._body.name
