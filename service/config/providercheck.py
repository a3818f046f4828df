"""What providers promise beyond their shape: rules that can act, and requests that their limits let through."""

from typing import Any

from pydantic import TypeAdapter, ValidationError

from service.config.connectors import discover
from service.config.expressions import check_expression
from service.config.paths import Path
from service.config.report import Report
from service.config.units import Rates

_rates = TypeAdapter(Rates)


def check_providers(data: Any, report: Report) -> None:
    """Report what is wrong with the providers of a document beyond what pydantic sees."""
    providers = data.get("providers") if isinstance(data, dict) else None
    for name, provider in providers.items() if isinstance(providers, dict) else ():
        if not isinstance(provider, dict):
            continue
        path = ("providers", name)
        _check_rules(path, provider, provider, report)
        feeds = provider.get("feeds")
        for feed_name, feed in feeds.items() if isinstance(feeds, dict) else ():
            if isinstance(feed, dict):
                at = (*path, "feeds", feed_name)
                _check_rules(at, feed, provider, report)
                _check_weight((*at, "weight"), feed.get("weight"), provider.get("rate_limit"), report)


def _check_rules(path: Path, part: dict[str, Any], provider: dict[str, Any], report: Report) -> None:
    rules = part.get("errors")
    for index, rule in enumerate(rules if isinstance(rules, list) else ()):
        if not isinstance(rule, dict):
            continue
        at = (*path, "errors", index)
        check_expression((*at, "when"), rule.get("when"), report)
        action = rule.get("action")
        if action == "refresh_token" and not _is_renewable(provider.get("auth")):
            message = "there is no token to refresh: the provider's `auth` is neither oauth2 nor login"
            report.add("idle-action", (*at, "action"), message)
        if action == "reset_pagination" and part is not provider and part.get("paginate") is None:
            report.add("idle-action", (*at, "action"), "there are no pages to start anew: the feed has no `paginate`")


def _is_renewable(auth: Any) -> bool:
    if auth is None:
        return False
    kind = auth.get("kind") if isinstance(auth, dict) else auth
    connector = discover("service.auth").get(kind) if isinstance(kind, str) else None
    return bool(getattr(connector, "renewable", connector is None))  # an unknown kind is reported elsewhere


def _check_weight(at: Path, weight: Any, rate_limit: Any, report: Report) -> None:
    try:
        rates = _rates.validate_python(rate_limit) if rate_limit is not None else ()
    except ValidationError:
        return
    least = min((pace.count for pace in rates), default=None)
    if isinstance(weight, int) and least is not None and weight > max(least, 1):
        report.add("wrong-value", at, f"a request that weighs {weight} never fits into a `rate_limit` of {least:g}")
