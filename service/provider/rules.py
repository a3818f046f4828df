"""The rules of a configuration that say what to do about an answer."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import cel
import msgspec

from service.config.answers import Action, ErrorRule

_PAGE = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*+(?:<\?xml[^>]*>\s*+)?(?:(?><!--.*?-->)\s*+)*+<(?:!doctype\s+html|html)\b",
    re.IGNORECASE | re.DOTALL,
)
"""Possessive: a body of many comments costs no more than its length."""


class Rules:
    """Rules in their order, compiled."""

    def __init__(self, rules: Sequence[ErrorRule]) -> None:
        self._rules = [(rule, cel.compile(rule.when) if rule.when is not None else None) for rule in rules]

    def action(self, status: int, headers: Mapping[str, str], body: bytes) -> Action | None:
        """Give what the first rule that fits says, or None.

        Args:
            status: of the answer.
            headers: of the answer.
            body: its beginning.
        """
        text: str | None = None
        for rule, program in self._rules:
            if rule.status is not None and not {str(status), f"{status // 100}xx"} & set(rule.status):
                continue
            if rule.text is not None:
                text = body.decode(errors="replace").casefold() if text is None else text
                if rule.text.casefold() not in text:
                    continue
            if program is None or _holds(program, status, headers, body):
                return rule.action
        return None


def is_page(body: bytes) -> bool:
    """Whether a body begins as a web page does; its content type tells less, since many call their JSON text/html."""
    return _PAGE.match(body) is not None


def _holds(program: Any, status: int, headers: Mapping[str, str], body: bytes) -> bool:
    context = {
        "status": status,
        "headers": {name.lower(): value for name, value in headers.items()},
        "body": _decoded(body),
    }
    try:
        return program.execute(context) is True
    except Exception:  # noqa: BLE001  whatever the library makes of a provider's values: it does not hold
        return False


def _decoded(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return body.decode(errors="replace")
