"""What feeds promise about gaps: numbers are found, and who repairs them can."""

import re
from typing import Any

from service.config.expressions import check_expression
from service.config.paths import Path, parse_path
from service.config.report import Report

PLACES = ("key", "first", "last", "from_time", "to_time")
"""What of a gap can be put into a request."""

_PATHS = ("field", "first", "last", "previous", "key", "epoch")
_PLACE = re.compile(r"\{gap\.([^}]*)\}")
_BRACES = re.compile(r"\{[^}]*\}")


def check_gaps(path: Path, feed: dict[str, Any], feeds: dict[str, Any], report: Report) -> None:
    """Report what is wrong with the `sequence` and the `on_gap` of a feed; ``feeds`` are those of its provider."""
    sequence = feed.get("sequence")
    if isinstance(sequence, dict):
        at = (*path, "sequence")
        for option in _PATHS:
            _check_path((*at, option), sequence.get(option), report)
        check_expression((*at, "reset_when"), sequence.get("reset_when"), report)
        if sequence.get("key") is None and "max_subscriptions" in feed:
            message = "subscriptions that go over several connections are not in one order: give the sequence a `key`"
            report.add("sequence-in-parts", at, message, at_key=True)
        _check_repair((*at, "on_gap"), sequence.get("on_gap"), feed, feeds, report)
    _check_repair((*path, "on_gap"), feed.get("on_gap"), feed, feeds, report)


def _check_path(at: Path, text: Any, report: Report) -> None:
    try:
        parse_path(text) if isinstance(text, str) else None
    except ValueError as error:
        report.add("wrong-path", at, str(error))


def _check_repair(at: Path, repair: Any, feed: dict[str, Any], feeds: dict[str, Any], report: Report) -> None:
    """Check that a gap is refetched by a feed of the same provider that can be asked again."""
    if not isinstance(repair, dict):
        return
    _check_path((*at, "number"), repair.get("number"), report)
    name = repair.get("refetch")
    if not isinstance(name, str):
        return
    target = feeds.get(name)
    if name not in feeds:
        message = f"the provider has no feed {report.show((*at, 'refetch'), name)}"
        report.add("unknown-feed", (*at, "refetch"), message, close_to=feeds)
    elif not isinstance(target, dict) or target.get("kind") != "rest":
        message = f"{report.show((*at, 'refetch'), name)} cannot be asked again; name a rest feed"
        report.add("unknown-feed", (*at, "refetch"), message)
    else:
        _check_narrow(at, repair, feed, target, report)


def _check_narrow(
    at: Path, repair: dict[str, Any], feed: dict[str, Any], target: dict[str, Any], report: Report
) -> None:
    params = repair.get("params")
    texts = {(*at, "params", name): value for name, value in params.items()} if isinstance(params, dict) else {}
    texts |= {(*at, "path"): repair["path"]} if "path" in repair else {}
    if texts and "sequence" not in feed:
        message = "what is asked for is taken from numbers, and the feed has no `sequence`; remove it to poll the feed"
        report.add("idle-option", next(iter(texts)), message, at_key=True)
    if texts and "for_each" in target:
        message = f"{repair['refetch']} calls for the rows of `for_each`, and cannot be asked for one gap"
        report.add("idle-option", next(iter(texts)), message, at_key=True)
    if texts and target.get("absent") is not None:
        message = f"the answer would be taken for the full set of {repair['refetch']}, which has `absent`"
        report.add("option-of-other-mode", at, message, at_key=True)
    for place, text in texts.items():
        for found in _BRACES.findall(text) if isinstance(text, str) else ():
            known = _PLACE.fullmatch(found)
            if known is None or known[1] not in PLACES:
                names = " ".join(f"{{gap.{name}}}" for name in PLACES)
                report.add("unknown-place", place, f"{found} is not known here; there are {names}")
