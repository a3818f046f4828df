"""What must not be shown: values whose name says that they are secret, wherever a text holds them."""

import re
from collections.abc import Iterable

_NAMES = r"pass(?:word|wd|phrase)|secret|token|api[-_]?key|authorization|credential"
_SECRET = re.compile(_NAMES, re.IGNORECASE)
_TEXT = r"""("(?:\\.|[^"\\])*"?|'(?:\\.|[^'\\])*'?|[^,}\]]+)"""
_SECRET_FIELD = re.compile(rf"""("[^"]*(?:{_NAMES})[^"]*":|'[^']*(?:{_NAMES})[^']*':)\s*{_TEXT}""", re.IGNORECASE)
"""As in JSON, and as Python writes a dict in the message of an error."""
_PASSWORD = re.compile(r"(?<=//)[^/@\s\"]*@")
_QUOTED = r"""(?:"[^"]*"?|'[^']*'?)"""
_SECRET_ELEMENT = re.compile(
    rf"""((?:<[\w.:-]*(?:{_NAMES})[\w.:-]*[^<>]*>|[\w.-]*(?:{_NAMES})[\w.-]*\s*[=:])\s*)"""
    rf"""(?!["']?\*\*\*)({_QUOTED}|(?:(?:basic|bearer)\s+)?[^\s<>&,;]+)""",
    re.IGNORECASE,
)
"""As in XML, in its attributes, in forms and in headers."""
_SECRET_INSIDE = re.compile(rf"""(["'][^"']*(?:{_NAMES})[^"']*["']:)\s*[{{\[].*""", re.IGNORECASE | re.DOTALL)
"""An object or a list of secrets: in broken text nobody knows where it ends."""
_SHORT = 4
"""Characters below which a value says nothing, and stands in too many words."""


def is_secret(name: str) -> bool:
    """Say whether a field of this name, or a path to it, holds what should not be shown: a password, a token."""
    return _SECRET.search(name) is not None


def hidden(text: str) -> str:
    """Give a text of JSON or Python, or one that quotes it, with three stars for what looks like a secret."""
    return _PASSWORD.sub("***@", _SECRET_FIELD.sub(r'\1"***"', text))


def hidden_raw(text: str) -> str:
    """Give the text of a message, whatever its format may be, with three stars for what looks like a secret."""
    return _SECRET_ELEMENT.sub(r"\1***", hidden(_SECRET_INSIDE.sub(r"\1 ***", text)))


def without(text: str, secrets: Iterable[str]) -> str:
    """Give a text with three stars for secrets that are known; what is shorter than four characters is none."""
    for secret in sorted((each for each in secrets if len(each) >= _SHORT), key=len, reverse=True):
        text = text.replace(secret, "***")
    return text
