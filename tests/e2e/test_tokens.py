"""The daemon against a provider that rotates tokens, has moods, and shows web pages: kill -9 included."""

import stat
from pathlib import Path
from urllib.parse import parse_qs

from aiohttp import web

from tests.daemon import Daemon, balanced, rows
from tests.site import Asked, Site

CONFIG = """
database: {url: "${DATABASE_URL}"}
buffer: {path: ./spool}
secrets: ./secrets
http: {port: "${HEADRACE_PORT}"}
tables:
  readings: {key: [id], columns: {id: integer}}
providers:
  acme:
    url: ${ACME_URL}
    auth:
      kind: oauth2
      token_url: ${ACME_URL}/token
      client_id: me
      client_secret: cl1ent-s3cret
      refresh_token: refresh-0
    rate_limit: [50/s, 2000/min]
    errors: [{status: 404, action: ignore}]
    feeds:
      readings: {kind: rest, path: /readings, every: 50ms, into: readings, map: {id: id}}
      absent: {kind: rest, path: /absent, every: 50ms, into: readings, map: {id: id}}
"""
PAGE = b"<!DOCTYPE html><title>Maintenance</title>"


class Acme:
    """Gives token-N for refresh-(N-1) and no other; each token holds until the next, or until told otherwise."""

    def __init__(self) -> None:
        self.refreshes: list[str] = []
        self.good = ""
        self.maintenance = False
        self.polls = 0

    def __call__(self, asked: Asked) -> web.Response:
        if asked.path == "/token":
            (refresh,) = parse_qs(asked.body.decode())["refresh_token"]
            self.refreshes.append(refresh)
            number = len(self.refreshes)
            if refresh != f"refresh-{number - 1}":
                return web.json_response({"error": "invalid_grant"}, status=400)
            self.good = f"Bearer token-{number}"
            return web.json_response({"access_token": f"token-{number}", "refresh_token": f"refresh-{number}"})
        if asked.headers.get("Authorization") != self.good:
            return web.Response(status=401, text=f"no {asked.headers.get('Authorization')}")
        if asked.path == "/absent":
            return web.Response(status=404)
        if self.maintenance:
            return web.Response(body=PAGE, content_type="text/html")
        self.polls += 1
        return web.json_response([{"id": self.polls}])


async def test_a_feed_lives_through_ended_tokens_kills_and_maintenance(database: str, tmp_path: Path) -> None:
    config = tmp_path / "acme.yaml"
    config.write_text(CONFIG)
    acme = Acme()
    async with Site(acme) as site:
        environ = {"DATABASE_URL": database, "ACME_URL": site.url}
        async with Daemon(tmp_path, environ, config) as daemon:
            await daemon.until(lambda status: status["ledger"]["loaded"] >= 3)
            acme.good = ""
            status = await daemon.until(lambda _status: len(acme.refreshes) == 2)
            loaded = status["ledger"]["loaded"]
            await daemon.until(lambda status: status["ledger"]["loaded"] > loaded + 2)
            await daemon.kill()
        async with Daemon(tmp_path, environ, config) as daemon:
            status = await daemon.until(lambda status: status["feeds"].get("acme.absent", {}).get("state") == "quiet")
            acme.maintenance = True
            status = await daemon.until(lambda status: status["ledger"]["quarantined"] == 1)
            status = await daemon.until(lambda status: status["feeds"]["acme.readings"]["state"] == "reconnecting")
            assert "web page in place of data" in status["feeds"]["acme.readings"]["last_error"]
            acme.maintenance = False
            status = await daemon.until(lambda status: status["feeds"]["acme.readings"]["state"] == "live")
            assert balanced(status)
            assert await daemon.stop() == 0
    assert acme.refreshes == ["refresh-0", "refresh-1", "refresh-2"]
    (refused,) = await rows(database, "select reason, message from headrace.quarantine")
    assert (refused["reason"], refused["message"]) == ("source: no data", PAGE)
    (table,) = await rows(database, "select count(*), max(id) from readings")
    # A poll whose answer the kill or the stop cut off brought nothing: Acme gives each reading once.
    assert acme.polls - 2 <= table["count"] <= table["max"] <= acme.polls
    assert stat.S_IMODE((tmp_path / "secrets" / "acme.json").stat().st_mode) == 0o600
    told = daemon.log.read_text()
    assert told.count("answer ignored") == 2  # once a run
    assert not [secret for secret in ("token-", "refresh-", "cl1ent-s3cret") if secret in told]
