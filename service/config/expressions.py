"""Whether the expressions of a configuration are CEL (Common Expression Language, cel-spec)."""

import re
from typing import Any

import cel

from service.config.paths import Path
from service.config.report import Report

MAX_EXPRESSION = 2000
"""Characters of an expression: on one of tens of thousands the CEL parser recurses until the process dies."""

FUNCTIONS = frozenset(
    {
        "size",
        "matches",
        "startsWith",
        "endsWith",
        "contains",
        "int",
        "uint",
        "double",
        "string",
        "bytes",
        "timestamp",
        "duration",
        "type",
        "dyn",
        "getFullYear",
        "getMonth",
        "getDayOfYear",
        "getDayOfMonth",
        "getDate",
        "getDayOfWeek",
        "getHours",
        "getMinutes",
        "getSeconds",
        "getMilliseconds",
        "of",
        "none",
        "ofNonZeroValue",
        "or",
        "orValue",
        "value",
        "hasValue",
    }
)
"""That the library has; one that it has not is found only when a record comes, and then refuses every one."""

_REASON = re.compile(r"ERROR: <input>:(\d+):(\d+): (?:Syntax error: )?(.*?)(?: expecting \{.*)?$", re.MULTILINE)


def check_expression(at: Path, expression: Any, report: Report) -> None:
    """Report a text that is no expression, or no condition; what is no text is left to the models."""
    if not isinstance(expression, str):
        return
    if len(expression) > MAX_EXPRESSION:
        report.add("wrong-expression", at, f"an expression has at most {MAX_EXPRESSION} characters")
        return
    try:
        program = cel.compile(expression)
    except ValueError as error:
        reason = _REASON.search(str(error))
        said = f"at {_where(expression, reason)}, {reason[3]}" if reason is not None else "it does not parse"
        said = said.replace("mismatched input '<EOF>'", "it ends unfinished")
        report.add("wrong-expression", at, f"{report.show(at, expression)} is not CEL: {said}")
        return
    for name in sorted(name for name in program.functions() if name.isidentifier() and name not in FUNCTIONS):
        message = f"{report.show(at, expression)} calls {name}(), which CEL does not have"
        report.add("wrong-expression", at, message, close_to=FUNCTIONS, meant=name)
    if at[-1] != "expr" and not program.variables() and not _is_condition(program):
        message = f"{report.show(at, expression)} is neither true nor false, whatever the record: compare a field"
        report.add("wrong-expression", at, message)


def _is_condition(program: Any) -> bool:
    """Say whether an expression without fields has a truth; of one with fields nobody knows before a record comes."""
    try:
        return isinstance(program.execute({}), bool)
    except Exception:  # noqa: BLE001  whatever the library makes of it, such as a division by zero
        return False


def _where(expression: str, reason: re.Match[str]) -> str:
    """Say which character it is, and in which line where there are several."""
    line = f"line {reason[1]}, " if "\n" in expression.strip() else ""
    return f"{line}character {reason[2]}"
