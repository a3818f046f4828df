"""The simulated REST provider: /v4/matches with a token, pages, updates since, ETags, limits and failures."""

import base64
import hashlib
import math
import random
import secrets
import time
from collections import Counter, deque
from datetime import UTC, datetime, timedelta

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from service.demo.faults import Faults
from service.demo.league import League
from service.demo.render import encode, rest_match

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TICK = timedelta(microseconds=1)
_LARGEST_PAGE = 500


class Rest:
    """Answers for the present state of a league.

    Matches come in the order of their versions, so that a match which changes during a walk moves to its end
    instead of being missed. ``cursor`` follows the page before; ``updatedSince`` asks for versions at or after
    a moment; ``limit`` is the size of a page.

    Attributes:
        answers: how many requests were answered, by status.
    """

    def __init__(self, league: League, faults: Faults, *, seed: int, token: str, page_size: int) -> None:
        self.answers: Counter[int] = Counter()
        self._league = league
        self._faults = faults
        self._luck = random.Random(f"{seed} rest")
        self._token = token
        self._page_size = page_size
        self._recent: deque[float] = deque()

    def app(self) -> web.Application:
        """Give the web application."""
        app = web.Application(middlewares=[self._guard])
        app.router.add_get("/v4/matches", self._matches)
        return app

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        token = request.headers.get("X-Auth-Token", "")
        if not secrets.compare_digest(token.encode(), self._token.encode()):
            response: web.StreamResponse = _error(401, "X-Auth-Token is missing or wrong")
        else:
            response = self._fault() or await handler(request)
        self.answers[response.status] += 1
        return response

    def _fault(self) -> web.Response | None:
        """Choose the failure that this request meets, if any."""
        faults = self._faults
        status = faults.script.popleft() if faults.script else None
        if status is None:
            luck = self._luck.random()
            if luck < faults.server_error:
                status = 500
            elif luck < faults.server_error + faults.too_many:
                status = 429
            elif (wait := self._over_limit()) > 0:
                return _error(429, "too many requests", retry_after=wait)
        if status is None or status == 200:
            return None
        return _error(status, "by chance or by script", retry_after=faults.retry_after if status == 429 else None)

    def _over_limit(self) -> int:
        """Count a request; return the seconds until it would be allowed, 0 when it is."""
        if self._faults.per_minute is None:
            return 0
        moment = time.monotonic()
        while self._recent and self._recent[0] <= moment - 60:
            self._recent.popleft()
        if len(self._recent) >= self._faults.per_minute:
            return max(1, math.ceil(self._recent[0] + 60 - moment)) if self._recent else 60
        self._recent.append(moment)
        return 0

    async def _matches(self, request: web.Request) -> web.Response:
        try:
            after = _after(request.query.get("cursor"), request.query.get("updatedSince"))
            limit = int(request.query.get("limit", self._page_size))
        except ValueError as error:
            return _error(400, str(error))
        if not 1 <= limit <= _LARGEST_PAGE:
            return _error(400, f"limit must be from 1 to {_LARGEST_PAGE}")
        changes = self._league.changed(after)
        page = changes[:limit]
        following = _cursor(page[-1].updated_at) if len(changes) > limit else None
        matches = [rest_match(change.match, change.updated_at) for change in page]
        body = encode({"matches": matches, "paging": {"next": following}})
        # RFC 9110, section 8.8.3: a strong validator changes whenever the body does.
        etag = hashlib.blake2s(body, digest_size=12).hexdigest()
        known = request.if_none_match or ()
        unchanged = any(tag.value in {etag, "*"} for tag in known)
        response = web.Response(status=304) if unchanged else web.Response(body=body, content_type="application/json")
        response.etag = etag
        return response


def _after(cursor: str | None, since: str | None) -> datetime | None:
    """Give the version that the answer starts behind."""
    if cursor is not None:
        try:
            return _EPOCH + timedelta(microseconds=int(base64.urlsafe_b64decode(cursor)))
        except ValueError:
            raise ValueError(f"cursor {cursor[:40]!r} is none of ours") from None
    if since is None:
        return None
    moment = datetime.fromisoformat(since)
    if moment.tzinfo is None:
        raise ValueError("updatedSince needs a time zone, such as Z")
    return moment - _TICK


def _cursor(version: datetime) -> str:
    """Give the cursor of what follows a version: opaque to the client, as real providers' cursors are."""
    return base64.urlsafe_b64encode(b"%d" % ((version - _EPOCH) // _TICK)).decode()


def _error(status: int, message: str, retry_after: int | None = None) -> web.Response:
    headers = {} if retry_after is None else {hdrs.RETRY_AFTER: str(retry_after)}
    return web.Response(
        status=status, headers=headers, body=encode({"error": message}), content_type="application/json"
    )
