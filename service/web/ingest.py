"""The endpoint that providers post to: finds the feed, and leaves the rest to its source."""

from collections.abc import Awaitable, Callable

import orjson
from aiohttp import web

from service.pipeline.overview import Overview
from service.sources import CLOSED, Answer, Delivery

_CHUNK = 64 << 10
_UNKNOWN = Answer(404, "no feed receives here")
_CUT = Answer(400, "the body did not come whole")


def ingest(overview: Overview) -> Callable[[web.Request], Awaitable[web.Response]]:
    """Give the handler of ``POST /ingest/PROVIDER/FEED``."""

    async def post(request: web.Request) -> web.Response:
        line = overview.line(f"{request.match_info['provider']}.{request.match_info['feed']}")
        if line is None or not line.listens:
            return _response(_UNKNOWN)
        if line.feed is None or line.feed.receiver is None:
            return _response(CLOSED)
        delivery = Delivery(request.headers, request.query, request.content.iter_chunked(_CHUNK))
        try:
            return _response(await line.feed.receiver(delivery))
        except ConnectionError:
            return _response(_CUT)  # which nobody reads

    return post


def _response(answer: Answer) -> web.Response:
    document = {"accepted": True} if answer.status < 300 else {"error": answer.said}
    headers = {"Retry-After": str(answer.retry_after)} if answer.retry_after is not None else None
    body = orjson.dumps(document)
    return web.Response(body=body, status=answer.status, headers=headers, content_type="application/json")
