"""The web server: probes, metrics, status, and the few commands that a token allows."""

import contextlib
import hmac
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from typing import TypeAlias

import orjson
from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from service.config.changes import Changes
from service.config.settings import Http
from service.errors import Problem, StartError
from service.pipeline.overview import Overview
from service.web.ingest import ingest
from service.web.metrics import Metrics
from service.web.tap import tap

Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]
Reload: TypeAlias = Callable[[], Awaitable[Changes | list[Problem]]]
"""Reads the configuration again; gives what changed, or why nothing does."""
DASHBOARD = Path(__file__).parent / "dashboard"
PROTECTION = {
    # Nothing but our own files, nothing inline: text of a provider that got into the page could do nothing there.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


class Pages:
    """The handlers, over one overview."""

    def __init__(self, overview: Overview, http: Http, reload: Reload) -> None:
        self._overview = overview
        self._reload = reload
        self._token = http.token.get_secret_value()
        self._registry = CollectorRegistry()
        self._registry.register(Metrics(overview))

    def application(self) -> web.Application:
        """Give the application with all its routes."""
        app = web.Application(client_max_size=1 << 20)
        app.router.add_get("/", _file("index.html"))
        for name in ("style.css", "page.js"):
            app.router.add_get(f"/dashboard/{name}", _file(name))
        app.router.add_get("/livez", self.livez)
        app.router.add_get("/readyz", self.readyz)
        app.router.add_get("/startupz", self.startupz)
        app.router.add_get("/metrics", self.metrics)
        app.router.add_get("/status", self._read(self.status))
        app.router.add_get("/tap/{feed}", self._read(tap(self._overview)))
        for action in ("pause", "resume", "poll"):
            app.router.add_post(f"/feeds/{{feed}}/{action}", self._guarded(self.command(action)))
        app.router.add_post("/reload", self._guarded(self.reload))
        app.router.add_post("/ingest/{provider}/{feed}", ingest(self._overview))
        return app

    async def livez(self, _request: web.Request) -> web.Response:
        """200 while the event loop turns; it says nothing of the database."""
        return _json({"alive": True})

    async def readyz(self, _request: web.Request) -> web.Response:
        """200 when rows can be written and no buffer is full."""
        ready = self._overview.ready()
        return _json({"ready": ready, "checks": self._overview.checks()}, 200 if ready else 503)

    async def startupz(self, _request: web.Request) -> web.Response:
        """503 until schema, buffer and feeds have started once."""
        waiting = self._overview.started_once()
        return _json({"started": not waiting, "waiting": waiting}, 503 if waiting else 200)

    async def metrics(self, _request: web.Request) -> web.Response:
        """Prometheus text."""
        return web.Response(body=generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def status(self, _request: web.Request) -> web.Response:
        """The whole state as JSON."""
        return _json(self._overview.status())

    async def reload(self, _request: web.Request) -> web.Response:
        """200 once what changed has ended and begun; 422 with every problem when all goes on as it was."""
        found = await self._reload()
        if isinstance(found, list):
            return _json({"problems": [asdict(problem) for problem in found]}, 422)
        return _json({**found.named(), "unchanged": found.unchanged})

    def command(self, action: str) -> Handler:
        """Give the handler of one command to a feed."""

        async def handle(request: web.Request) -> web.Response:
            line = self._overview.line(request.match_info["feed"])
            if line is None or line.feed is None:
                known = [line.name for line in self._overview.lines]
                return _json({"error": f"no feed {request.match_info['feed']!r}; there are {known}"}, 404)
            {"pause": line.feed.pause, "resume": line.resume, "poll": line.feed.poll}[action]()
            return _json({"feed": line.name, "state": line.state}, 202)

        return handle

    def _guarded(self, handler: Handler) -> Handler:
        """Let only the token's holder through; without a configured token, nobody."""

        async def handle(request: web.Request) -> web.StreamResponse:
            if not self._token:
                return _json({"error": "set http.token to allow commands"}, 403)
            given = request.headers.get("Authorization", "")
            if not hmac.compare_digest(given.encode(), f"Bearer {self._token}".encode()):
                return _json({"error": "send Authorization: Bearer with http.token"}, 401)
            return await handler(request)

        return handle

    def _read(self, handler: Handler) -> Handler:
        """Ask for the token when one is set: the status names errors and feeds, the tap shows records."""
        return self._guarded(handler) if self._token else handler


def _file(name: str) -> Handler:
    """Give the handler of one file of the dashboard: a live picture of the status."""

    async def handle(_request: web.Request) -> web.StreamResponse:
        return web.FileResponse(DASHBOARD / name, headers=PROTECTION)

    return handle


def _json(document: object, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(document), status=status, content_type="application/json")


@contextlib.asynccontextmanager
async def serve(overview: Overview, http: Http, reload: Reload) -> AsyncIterator[int]:
    """Serve until the block is left; yields the port.

    Raises:
        StartError: the port cannot be had.
    """
    application = Pages(overview, http, reload).application()
    # What is posted to a feed is verified as it was sent, and unfolds within the bounds of its feed.
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0, auto_decompress=False)
    await runner.setup()
    try:
        site = web.TCPSite(runner, http.host, http.port)
        try:
            await site.start()
        except OSError as error:
            raise StartError(f"cannot listen on {http.host}:{http.port}: {error.strerror}; set http.port") from error
        overview.port = runner.addresses[0][1]
        yield overview.port
    finally:
        await runner.cleanup()
