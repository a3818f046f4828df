"""The status of a running daemon, asked over HTTP as anybody else would."""

from typing import Any

import aiohttp
import msgspec

from service.config.settings import Http
from service.errors import StartError

SECONDS = 5.0
"""The longest to wait for an answer."""
_EVERYWHERE = {"0.0.0.0", "::", ""}  # noqa: S104  compared with, not listened on


def address(http: Http) -> str:
    """Give where the configured daemon answers, seen from this machine.

    Raises:
        StartError: the configuration lets the system choose the port.
    """
    if not http.port:
        raise StartError("http.port is 0, so nobody knows where the daemon listens; say it with --url")
    host = "127.0.0.1" if http.host in _EVERYWHERE else http.host
    return f"http://[{host}]:{http.port}" if ":" in host else f"http://{host}:{http.port}"


async def ask(session: aiohttp.ClientSession, url: str, token: str) -> dict[str, Any]:
    """Ask for the document of ``/status``.

    Raises:
        StartError: nothing answers, it does not accept the token, or it is no Headrace.
    """
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    timeout = aiohttp.ClientTimeout(total=SECONDS)
    try:
        async with session.get(f"{url}/status", headers=headers, timeout=timeout) as response:
            body = await response.read()
    except (aiohttp.ClientError, OSError) as error:
        reason = "no answer" if isinstance(error, TimeoutError) else str(error)
        raise StartError(f"{url}: {reason}; is the daemon running?") from None
    if response.status in {401, 403}:
        raise StartError(f"{url} asks for a token: set http.token as the daemon has it")
    try:
        found = msgspec.json.decode(body)
    except msgspec.DecodeError:
        found = None
    if not isinstance(found, dict) or "feeds" not in found:
        raise StartError(f"{url} answers {response.status}, but not as a Headrace does")
    return found
