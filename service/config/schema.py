"""The JSON Schema of config.yaml, for editors: the models with their short forms, and variables."""

from typing import Any

from service.config.settings import Config

_VARIABLE = r"\$\{"


def schema() -> dict[str, Any]:
    """Give the JSON Schema (draft 2020-12); every scalar may also be text with a ``${VARIABLE}``."""
    described = Config.model_json_schema(by_alias=True)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Headrace configuration",
        **{key: _open(value) for key, value in described.items() if key != "title"},
    }


def _open(node: Any) -> Any:
    """Let variables stand for scalars, throughout a schema."""
    if isinstance(node, list):
        return [_open(item) for item in node]
    if not isinstance(node, dict):
        return node
    return _with_variable({key: _entries(key, value) for key, value in node.items() if not _is_noise(key, value)})


def _is_noise(key: str, value: Any) -> bool:
    """Say whether a keyword tells an editor nothing: a title, or a default masked because it is secret."""
    return (key == "title" and isinstance(value, str)) or (key == "default" and "**********" in str(value))


def _entries(key: str, value: Any) -> Any:
    """Descend into subschemas; what stands under these keys is named by users, or is data."""
    if key in {"properties", "patternProperties", "$defs"}:
        return {name: _open(item) for name, item in value.items()}
    return value if key in {"default", "const", "enum", "examples", "required", "mapping"} else _open(value)


def _with_variable(node: dict[str, Any]) -> dict[str, Any]:
    kind = node.get("type")
    scalar = kind in ("integer", "number", "boolean") or "enum" in node
    if kind == "string" and "pattern" in node:
        return {**node, "pattern": f"{node['pattern']}|{_VARIABLE}"}
    if not scalar:
        return node
    kept: dict[str, Any] = {key: node[key] for key in ("description", "default") if key in node}
    rest = {key: value for key, value in node.items() if key not in kept}
    return {**kept, "anyOf": [rest, {"type": "string", "pattern": _VARIABLE}]}
