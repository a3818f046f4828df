"""A web site on loopback that notes what it is asked and answers as a test says."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web
from aiohttp.test_utils import TestServer
from multidict import CIMultiDict, MultiDict

Handler = Callable[["Asked"], web.StreamResponse | Awaitable[web.StreamResponse]]


@dataclass(slots=True)
class Asked:
    """One request as it arrived.

    Attributes:
        number: from 0.
        request: as the server has it, for an answer that is written bit by bit.
        at: seconds on the monotonic clock.
        target: path and query as they were sent.
    """

    number: int
    at: float
    method: str
    path: str
    query: MultiDict[str]
    headers: CIMultiDict[str]
    body: bytes
    request: web.Request
    target: str


class Site:
    """An async context manager that serves while it is entered, on a port (and thus an origin) of its own."""

    def __init__(self, answer: Handler) -> None:
        self.asked: list[Asked] = []
        self._answer = answer
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._server = TestServer(app)

    async def __aenter__(self) -> "Site":
        await self._server.start_server()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._server.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.port}"

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        asked = Asked(
            len(self.asked),
            time.monotonic(),
            request.method,
            request.path,
            MultiDict(request.query),
            CIMultiDict(request.headers),
            await request.read(),
            request,
            request.raw_path,
        )
        self.asked.append(asked)
        answer = self._answer(asked)
        return answer if isinstance(answer, web.StreamResponse) else await answer
