"""Follows a dotted path into a decoded document, and checks such paths in the settings of connectors."""

from typing import Annotated, Any

from pydantic import AfterValidator

from service.config.paths import Path, parse_path


def _checked(text: str) -> str:
    parse_path(text)
    return text


DottedPath = Annotated[str, AfterValidator(_checked)]
"""A path such as ``a.b[0].c``, refused when the configuration is read if it is not one."""


def lookup(document: Any, path: Path) -> Any:
    """Give what lies at a path, or None when nothing does."""
    for part in path:
        if isinstance(part, str):
            document = document.get(part) if isinstance(document, dict) else None
        else:
            document = document[part] if isinstance(document, list) and part < len(document) else None
    return document
