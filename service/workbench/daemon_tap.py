"""What passes in a running daemon, listened to over HTTP as anybody else would."""

from collections.abc import AsyncGenerator, Mapping

import aiohttp
import msgspec

from service.errors import StartError
from service.workbench.daemon_status import SECONDS

SILENCE = 15.0
"""Seconds without even an empty line after which the daemon is taken for gone."""


async def listen(
    session: aiohttp.ClientSession, url: str, token: str, feed: str, asked: Mapping[str, str]
) -> AsyncGenerator[bytes, None]:
    """Give the lines of ``/tap``, without those that are empty, until the daemon ends them.

    Args:
        session: to ask with.
        url: of the daemon.
        token: ``http.token``, empty where there is none.
        feed: ``provider.feed``.
        asked: ``stage``, and ``every`` or ``sample``.

    Raises:
        StartError: nothing answers, it says no, or it goes away.
    """
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    timeout = aiohttp.ClientTimeout(sock_connect=SECONDS, sock_read=SILENCE)
    heard = False
    try:
        async with session.get(f"{url}/tap/{feed}", params=asked, headers=headers, timeout=timeout) as response:
            if response.status != 200:
                raise StartError(_refused(url, response.status, await response.read()))
            heard = True
            async for line in response.content:
                if line := line.strip():
                    yield line
    except (aiohttp.ClientError, OSError) as error:
        if heard:
            raise StartError(f"{url}: the daemon went away") from None
        reason = "no answer" if isinstance(error, TimeoutError) else str(error)
        raise StartError(f"{url}: {reason}; is the daemon running?") from None


def _refused(url: str, status: int, body: bytes) -> str:
    if status in {401, 403}:
        return f"{url} asks for a token: set http.token as the daemon has it"
    try:
        found = msgspec.json.decode(body)
    except msgspec.DecodeError:
        found = None
    if isinstance(found, dict) and "error" in found:
        return f"{url}: {found['error']}"
    return f"{url} answers {status}, but not as a Headrace does"
