"""Whom encrypted connections trust: a private authority, and our own certificate, from PEM files."""

import ssl

from service.config.settings import Tls
from service.errors import StartError


def trust(provider: str, settings: Tls) -> ssl.SSLContext:
    """Make the context of a provider's encrypted connections.

    Raises:
        StartError: a file cannot be read, or is not what it should be.
    """
    try:
        context = ssl.create_default_context(cafile=settings.ca)
    except (OSError, ValueError) as error:
        raise StartError(f"providers.{provider}.tls.ca: {settings.ca} holds no certificates: {error}") from error
    if settings.certificate is not None:
        try:
            context.load_cert_chain(settings.certificate, settings.key, password=_no_password)
        except (OSError, ValueError) as error:
            names = " and ".join(str(name) for name in (settings.certificate, settings.key) if name is not None)
            raise StartError(f"providers.{provider}.tls: {names} are no certificate and key: {error}") from error
    return context


def _no_password() -> str:
    raise ValueError("the key has a password; write it out without one")
