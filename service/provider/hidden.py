"""What of a provider's configuration must not be shown in logs, errors or the status page."""

import re
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote, quote_plus

from pydantic import BaseModel, SecretStr
from yarl import URL

from service.config.settings import Provider as ProviderSettings

_OPEN = re.compile(r"(accept|content-type|user-agent)", re.IGNORECASE)
"""Headers that hold no secret."""
SECRET = re.compile(r"key|token|secret|pass|sign|auth|login|user", re.IGNORECASE)
"""Names of what may prove who we are."""


def secrets_of(settings: ProviderSettings) -> list[str]:
    """Give the secrets of a provider and its feeds."""
    hidden = [*_texts(settings.auth), *settings.hidden]
    who = [(getattr(settings.auth, "user", None), getattr(settings.auth, "password", None))]
    who.append((getattr(settings.auth, "client_id", None), getattr(settings.auth, "client_secret", None)))
    if settings.proxy is not None:
        proxy = URL(settings.proxy.get_secret_value())
        hidden += [str(proxy), *filter(None, (proxy.user, proxy.password, proxy.raw_password))]
    hidden += [secret for feed in settings.feeds.values() for secret in feed.secrets()]
    for part in (settings, *settings.feeds.values()):
        headers: Mapping[str, str] = getattr(part, "headers", {})
        hidden += [value for name, value in headers.items() if not _OPEN.match(name)]
        url = URL(getattr(part, "url", None) or "")
        who.append((url.user, url.password))
        sent = [*url.query.items(), *getattr(part, "params", {}).items()]
        hidden += [str(value) for name, value in sent if SECRET.search(name)]
    for pair in who:
        user, password = (text.get_secret_value() if isinstance(text, SecretStr) else text for text in pair)
        if password:
            hidden += [password, b64encode(f"{user or ''}:{password}".encode()).decode()]  # as Basic sends it
    return hidden


def blank(text: str, secrets: Iterable[str]) -> str:
    """Blank secrets out of a text, as they are and as an address has them; under four characters they say nothing."""
    forms = {form for secret in secrets for form in (secret, quote(secret, safe=""), quote_plus(secret))}
    for form in sorted(forms, key=len, reverse=True):  # the longest first: one may be a part of another
        if len(form) >= 4:
            text = text.replace(form, "***")
    return text


def _texts(value: Any) -> Iterator[str]:
    """Give the secret texts of settings, at any depth."""
    if isinstance(value, SecretStr):
        yield value.get_secret_value()
    elif isinstance(value, BaseModel):
        yield from _texts(vars(value))
    elif isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
