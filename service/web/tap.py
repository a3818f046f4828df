"""The endpoint that shows records of a feed as they pass: JSON lines, until the client or the feed goes away."""

from collections.abc import Awaitable, Callable, Iterator
from typing import cast, get_args

import orjson
from aiohttp import web

from service.pipeline.listener import Stage, every, sampled
from service.pipeline.overview import Overview

MOST = 8
"""Who may listen at a time, at all feeds together."""
ALIVE_EVERY = 2.0
"""Seconds after which an empty line says that both ends are there."""


def tap(overview: Overview) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """Give the handler of ``GET /tap/PROVIDER.FEED?stage=mapped&every=10`` (or ``sample=0.1``)."""

    async def stream(request: web.Request) -> web.StreamResponse:
        line = overview.line(request.match_info["feed"])
        if line is None:
            known = ", ".join(line.name for line in overview.lines)
            return _refuse(404, f"no feed {request.match_info['feed']!r}; there are {known}")
        try:
            stage, gaps = _asked(request)
        except ValueError as error:
            return _refuse(400, str(error))
        if sum(len(each.tap.listeners) for each in overview.lines) >= MOST:
            return _refuse(429, f"{MOST} listen already")
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson", "Cache-Control": "no-store"})
        with line.tap.listening(stage, gaps) as listener:
            await response.prepare(request)
            try:
                while (lines := await listener.read(ALIVE_EVERY)) is not None:
                    await response.write(lines)
            except ConnectionError:
                return response  # nobody listens any more
        await response.write_eof()
        return response

    return stream


def _asked(request: web.Request) -> tuple[Stage, Iterator[int]]:
    """Read what is asked for.

    Raises:
        ValueError: it cannot be; the message says why.
    """
    asked = request.query
    stage = asked.get("stage", "mapped")
    if stage not in get_args(Stage):
        raise ValueError(f"no stage {stage!r}; there are {', '.join(get_args(Stage))}")
    if odd := asked.keys() - {"stage", "every", "sample"}:
        raise ValueError(f"unknown: {', '.join(sorted(odd))}; there are stage, every, sample")
    if "every" in asked and "sample" in asked:
        raise ValueError("either every or sample, not both")
    if "sample" in asked:
        share = float(asked["sample"]) if asked["sample"].replace(".", "", 1).isdecimal() else 0.0
        if not 0 < share <= 1:
            raise ValueError("sample is a share of the records, above 0 and at most 1")
        return cast("Stage", stage), sampled(share)
    number = asked.get("every", "1")
    if not (number.isdecimal() and int(number[:18]) > 0):
        raise ValueError("every is a number of records, from 1")
    return cast("Stage", stage), every(int(number[:18]))


def _refuse(status: int, reason: str) -> web.Response:
    return web.Response(body=orjson.dumps({"error": reason}), status=status, content_type="application/json")
