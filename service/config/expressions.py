"""Whether the expressions of a configuration are CEL (Common Expression Language, cel-spec)."""

import re
from typing import Any

import cel

from service.config.paths import Path
from service.config.report import Report

MAX_EXPRESSION = 2000
"""Characters of an expression: on one of tens of thousands the CEL parser recurses until the process dies."""

_REASON = re.compile(r"ERROR: <input>:(\d+):(\d+): (?:Syntax error: )?(.*?)(?: expecting \{.*)?$", re.MULTILINE)


def check_expression(at: Path, expression: Any, report: Report) -> None:
    """Report a text that is no expression; what is no text is left to the models."""
    if not isinstance(expression, str):
        return
    if len(expression) > MAX_EXPRESSION:
        report.add("wrong-expression", at, f"an expression has at most {MAX_EXPRESSION} characters")
        return
    try:
        cel.compile(expression)
    except ValueError as error:
        reason = _REASON.search(str(error))
        said = f"at character {reason[2]}, {reason[3]}" if reason is not None else "it does not parse"
        said = said.replace("mismatched input '<EOF>'", "it ends unfinished")
        report.add("wrong-expression", at, f"{report.show(at, expression)} is not CEL: {said}")
