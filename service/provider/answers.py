"""What a provider's answers and failures mean, in words that hold no address's query, user or password."""

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import aiohttp
from yarl import URL

from service.errors import SourceLost, SourceRefused


def judge(what: str, status: int, said: str, wait: str | None) -> SourceLost | SourceRefused:
    """Say what an answer without data means (RFC 9110, section 15; 429: RFC 6585).

    Args:
        what: what was asked, such as ``GET https://api.acme.example/v4/matches``.
        status: of the answer.
        said: the beginning of its body.
        wait: its Retry-After header.
    """
    reason = f"{what}: {status}{': ' if said else ''}{said}"
    if status in {408, 425, 429} or status >= 500:
        return SourceLost(reason, retry_after(wait))
    return SourceRefused(reason)


def retry_after(value: str | None) -> float | None:
    """Give the seconds that a Retry-After header asks for, in seconds or as a date (RFC 9110, section 10.2.3).

    None when there is no such header or it is neither.
    """
    if value is None:
        return None
    if re.fullmatch(r"[0-9]{1,9}", value.strip()):
        return float(value)
    try:
        date = parsedate_to_datetime(value)
    except ValueError:
        return None
    # The obsolete asctime form names no zone; every HTTP date is in UTC (RFC 9110, section 5.6.7).
    date = date if date.tzinfo is not None else date.replace(tzinfo=UTC)
    return max(0.0, (date - datetime.now(UTC)).total_seconds())


def plain(url: URL) -> str:
    """Give an address without what may be secret: user, password, query and fragment."""
    return str(url.with_user(None).with_query(None).with_fragment(None))


def failure(error: BaseException) -> str:
    """Say in one phrase why there was no answer, or only a part of one."""
    match error:
        case aiohttp.ConnectionTimeoutError():
            return "no connection in time"
        case TimeoutError():
            return "no answer in time"
        case aiohttp.ClientConnectorCertificateError():
            return f"TLS certificate refused: {error.certificate_error}"
        case aiohttp.ClientConnectorError():
            return f"cannot connect: {error.os_error.strerror or error.os_error}"
        case aiohttp.ClientResponseError():  # its own text holds the whole address
            return f"not HTTP: {error.message}"
        case _:
            return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
