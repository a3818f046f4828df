"""Which keys may stand at a place of config.yaml, or of another document, for "did you mean"."""

from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from service.config.connectors import OneOf, Settings
from service.config.paths import Path
from service.config.settings import Config


def keys_at(data: Any, path: Path, shape: Any = Config) -> list[str]:
    """Give the keys that the mapping at ``path`` may have; none when they are free, or it is no mapping."""
    for step in path:
        shape = _part(_resolve(shape, data), step)
        data = data[step]
    shape = _resolve(shape, data)
    return [field.alias or name for name, field in shape.model_fields.items()] if _is_settings(shape) else []


def _part(shape: Any, step: str | int) -> Any:
    """Give the annotation of an entry of a resolved shape."""
    if _is_settings(shape):
        for name, field in shape.model_fields.items():
            if (field.alias or name) == step:
                return Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation
        return Any
    inner = get_args(shape)
    return inner[-1] if get_origin(shape) is dict else inner[0] if inner else Any


def _resolve(shape: Any, value: Any) -> Any:
    """Peel ``Annotated``, ``X | None`` and ``OneOf`` off until settings, a container or a scalar is left."""
    if get_origin(shape) is Annotated:
        inner, *extras = get_args(shape)
        choice = next((extra for extra in extras if isinstance(extra, OneOf)), None)
        return choice.choose(value) if choice is not None else _resolve(inner, value)
    if get_origin(shape) in {Union, UnionType}:
        options = [_resolve(option, value) for option in get_args(shape) if option is not NoneType]
        wanted = [option for option in options if _is_settings(option) or get_origin(option) is type(value)]
        return wanted[0] if wanted else options[0]
    return shape


def _is_settings(shape: Any) -> bool:
    return isinstance(shape, type) and issubclass(shape, Settings)
