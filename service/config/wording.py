"""Pydantic's findings in plain words, at the paths of the user's own file."""

import re
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from pydantic_core import ErrorDetails

from service.config.known import keys_at
from service.config.paths import Path
from service.config.report import Report
from service.config.settings import Config

_WANTED = {
    "string": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "dict": "a mapping (NAME: VALUE)",
    "model": "a mapping (NAME: VALUE)",
    "tuple": "a list",
    "list": "a list",
    "decimal": "a number",
    "none": "null",
}
_LIMITS = {
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "too_short": "must have at least {min_length} entries",
    "too_long": "must have at most {max_length} entries",
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters",
    "string_pattern_mismatch": "does not match the pattern {pattern}",
    "string_unicode": "must be text without broken characters",
    "finite_number": "must be a finite number",
}


def report_errors(errors: Sequence[ErrorDetails], data: Any, report: Report, shape: Any = Config) -> None:
    """Add pydantic's errors about ``data`` to the report; alternatives of one value become one sentence.

    Args:
        errors: as pydantic lists them.
        data: the document.
        report: is added to.
        shape: what the document is to be.
    """
    groups: dict[Path, list[ErrorDetails]] = defaultdict(list)
    for error in errors:
        groups[_path(error, data)].append(error)
    for path, group in groups.items():
        is_branch = len(group[0]["loc"]) > len(path)
        if not (is_branch and any(other[: len(path)] == path and other != path for other in groups)):
            _report(path, group, keys_at(data, path[:-1], shape), report)


def _path(error: ErrorDetails, document: Any) -> Path:
    """Give the location without pydantic's own steps: branches of unions, ``[key]`` and short forms."""
    data, path = document, []
    for step in error["loc"]:
        if step in (data if isinstance(data, dict) else range(len(data)) if isinstance(data, list) else ()):
            data = data[step]
            path.append(step)
    if error["type"] in {"missing", "missing-kind"} and isinstance(data, dict):
        path.append(error["loc"][-1])
    return tuple(path)


def _report(path: Path, group: list[ErrorDetails], beside: Sequence[str], report: Report) -> None:
    error = group[0]
    kind, context = error["type"], error.get("ctx", {})
    if kind == "extra_forbidden":
        report.add("unknown-key", path, "unknown key", close_to=beside, at_key=True)
    elif kind == "missing":
        report.add("missing-key", path, "this key is required")
    elif kind == "missing-kind":
        report.add("missing-key", path, f"this key is required; it is one of {context['known']}")
    elif kind == "unknown-kind":
        known = str(context["known"]).split(", ")
        report.add(
            kind,
            path,
            f"must be one of {context['known']}, but is {_value(path, error, report)}",
            close_to=known,
        )
    elif kind == "literal_error":
        known = re.findall(r"'([^']*)'", str(context["expected"]))
        sentence = f"must be {'one of ' if len(known) > 1 else ''}{', '.join(known)}"
        report.add("wrong-value", path, f"{sentence}, but is {_value(path, error, report)}", close_to=known)
    elif wanted := list(dict.fromkeys(_wanted(other["type"]) for other in group if _wanted(other["type"]))):
        report.add("wrong-type", path, f"must be {' or '.join(wanted)}, but is {_kind(error['input'])}")
    elif error["loc"][-1:] == ("[key]",):
        report.add(
            "wrong-name",
            path,
            "a name has letters, digits, `_` and `-`, and begins with no digit",
            at_key=True,
        )
    elif kind in _LIMITS:
        report.add("wrong-value", path, _LIMITS[kind].format(**context))
    else:
        report.add("wrong-value", path, str(context.get("error", error["msg"])))


def _wanted(kind: str) -> str:
    known = kind.endswith(("_type", "_parsing", "_from_float")) or kind == "model_attributes_type"
    return _WANTED.get(kind.partition("_")[0], "") if known else ""


def _value(path: Path, error: ErrorDetails, report: Report) -> str:
    value = error["input"]
    return report.show(path, value) if isinstance(value, str | int | float) else _kind(value)


def _kind(value: Any) -> str:
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return f"{str(value).lower()}, a boolean"
    names = {
        int: "a number",
        float: "a number",
        str: "text",
        list: "a list",
        tuple: "a list",
        dict: "a mapping",
    }
    return next((name for kind, name in names.items() if isinstance(value, kind)), type(value).__name__)
