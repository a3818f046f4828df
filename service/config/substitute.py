"""Variables in values: ``${NAME}``, ``${NAME:-default}``, ``${file:/path}``; ``$${`` is a literal ``${``."""

import re
from collections.abc import Mapping
from pathlib import Path

MAX_FILE = 1 << 20
"""Bytes that a secret's file may hold."""

_VARIABLE = re.compile(r"\$\$\{|\$\{([^}]*)(\}?)")
_NAME = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?", re.DOTALL)


class Unsubstituted(ValueError):  # noqa: N818  the absence is what it says
    """A variable has no value; the message says which and what to do, and never shows a value."""


class Substituted(str):
    """A text that held variables.

    Attributes:
        hidden: what took their place; it is not to be shown.
    """

    __slots__ = ("hidden",)
    hidden: tuple[str, ...]


def substitute(text: str, environ: Mapping[str, str]) -> Substituted:
    """Replace the variables of a text.

    As in a shell, ``${NAME:-default}`` means the default when NAME is unset or empty; the default may be
    empty. A file loses one newline at its end. What was substituted is not looked into for further variables.

    Raises:
        Unsubstituted: a variable is not set, a file cannot be read, or ``${`` begins nothing known.
    """
    missing: list[str] = []
    hidden: list[str] = []

    def value(match: re.Match[str]) -> str:
        if match[1] is None:
            return "${"
        if not match[2]:
            missing.append("`${` has no closing brace; write `$${` for a literal `${`")
            return ""
        try:
            found = _file(match[1][5:]) if match[1].startswith("file:") else _variable(match[1], environ)
        except Unsubstituted as error:
            missing.append(str(error))
            return ""
        hidden.append(found)
        return found

    result = Substituted(_VARIABLE.sub(value, text))
    result.hidden = tuple(hidden)
    if missing:
        raise Unsubstituted("; ".join(missing))
    return result


def _variable(text: str, environ: Mapping[str, str]) -> str:
    match = _NAME.fullmatch(text)
    if match is None or "${" in (match[2] or ""):
        raise Unsubstituted(f"`${{{text}}}` is not a variable; write ${{NAME}}, ${{NAME:-default}} or ${{file:/path}}")
    name, default = match.groups()
    found = environ.get(name)
    if default is not None:
        return found or str(default)
    if found is None:
        raise Unsubstituted(f"the variable {name} is not set; set it, or write ${{{name}:-default}}")
    return found


def _file(name: str) -> str:
    try:
        with Path(name).open("rb") as file:
            content = file.read(MAX_FILE + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = error.strerror if isinstance(error, OSError) else "not a file name"
        raise Unsubstituted(f"the file {name!r} cannot be read: {reason}") from None
    if len(content) > MAX_FILE:
        raise Unsubstituted(f"the file {name!r} is larger than {MAX_FILE} bytes")
    try:
        return content.decode().removesuffix("\n")
    except UnicodeDecodeError:
        raise Unsubstituted(f"the file {name!r} is not UTF-8 text") from None
