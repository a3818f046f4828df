"""What a provider says in headers about what is left of its own rate limits."""

import re
import time
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from service.config.answers import LimitHeaders

_POLICY = re.compile(r'\s*("(?:[^"\\]|\\.)*"|[^\s;,="]+)((?:\s*;\s*[^\s;,=]+(?:=(?:"[^"]*"|[^;,\s]+))?)*)\s*(?:,|$)')
_OLDER = re.compile(r"\b(remaining|reset)\s*=\s*(\d{1,15})\b")
_NUMBER = re.compile(r"\s*(\d{1,15}(?:\.\d{1,9})?)\s*")
_EPOCH, _EPOCH_MS = 1e9, 1e12


class Limit(NamedTuple):
    """What is left of one limit.

    Attributes:
        name: of the limit, to tell it from others.
        left: requests, or what the provider counts in their place.
        seconds: from now until there is more.
    """

    name: str
    left: float
    seconds: float


def limits(headers: Mapping[str, str], settings: LimitHeaders) -> list[Limit]:
    """Read the headers of an answer.

    ``RateLimit`` is a list of policies, ``"name";r=LEFT;t=SECONDS`` (draft-ietf-httpapi-ratelimit-headers, from -08
    on); before, ``limit=, remaining=, reset=`` (-07), and before that three headers ``RateLimit-...`` with seconds.
    What is malformed is ignored, as the draft asks. ``X-RateLimit-...`` was never specified: see LimitHeaders.
    """
    if not settings.obey:
        return []
    found = [*_policies(headers.get("RateLimit", ""))]
    older = _pair("ratelimit", headers.get("RateLimit-Remaining"), headers.get("RateLimit-Reset"), "seconds")
    usual = _pair("x", headers.get(settings.remaining), headers.get(settings.reset), settings.reset_in)
    return found or [limit for limit in (older, usual) if limit is not None]


def _policies(value: str) -> Iterator[Limit]:
    older = dict(_OLDER.findall(value))
    if {"remaining", "reset"} <= set(older):
        yield Limit("ratelimit", float(older["remaining"]), float(older["reset"]))
        return
    at = 0
    while at < len(value) and (policy := _POLICY.match(value, at)) is not None and policy.end() > at:
        at = policy.end()
        told = dict(re.findall(r";\s*([rt])=(\d{1,15})(?=\s*(?:;|$))", policy[2]))
        if {"r", "t"} <= set(told):
            yield Limit(policy[1].strip('"')[:60], float(told["r"]), float(told["t"]))


def _pair(name: str, remaining: str | None, reset: str | None, unit: str) -> Limit | None:
    left, until = _NUMBER.fullmatch(remaining or ""), _NUMBER.fullmatch(reset or "")
    if left is None or until is None:
        return None
    number = float(until[1])
    if unit == "auto":
        unit = "seconds" if number < _EPOCH else "epoch" if number < _EPOCH_MS else "epoch_ms"
    seconds = {"seconds": number, "epoch": number - time.time(), "epoch_ms": number / 1000 - time.time()}[unit]
    return Limit(name, float(left[1]), max(0.0, seconds))
