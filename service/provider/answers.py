"""What a provider's answers and failures mean, in words that hold no address's query, user or password."""

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import aiohttp
from yarl import URL

from service.config.answers import Action
from service.errors import AnswerIgnored, SourceLost, SourceRefused, TokenRefused, WalkRefused


def usual_action(status: int) -> Action | None:
    """Say what an answer means by its status alone; None for one with data, or without news.

    Sources: RFC 9110, section 15; 425: RFC 8470; 429: RFC 6585. What another try cannot mend parks the feed.
    """
    if status < 300 or status == 304:
        return None
    if status == 401:
        return "refresh_token"
    if status == 429:
        return "rate_limited"
    return "retry" if status in {408, 425} or status >= 500 else "fail"


def judge(action: Action, reason: str, wait: float | None) -> SourceLost | SourceRefused:
    """Give the error that makes an action happen.

    Args:
        action: what is to follow.
        reason: what was asked and answered, without secrets.
        wait: seconds that the provider asks us to wait, if it does.
    """
    match action:
        case "retry" | "rate_limited":
            return SourceLost(reason, wait)
        case "ignore":
            return AnswerIgnored(reason)
        case "refresh_token":
            return TokenRefused(reason)
        case "reset_pagination":
            return WalkRefused(reason)
        case "fail":
            return SourceRefused(reason)


def retry_after(value: str | None) -> float | None:
    """Give the seconds that a Retry-After header asks for, in seconds or as a date (RFC 9110, section 10.2.3).

    None when there is no such header or it is neither.
    """
    if value is None:
        return None
    if re.fullmatch(r"[0-9]{1,9}", seconds := value.strip()):
        return float(seconds)
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
