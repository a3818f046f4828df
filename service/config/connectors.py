"""What every connector's settings are, and how a folder of them becomes one configuration key.

A connector is one class in one file: its fields are its settings, its ``kind`` is its name in config.yaml, and the
file's place is its registration. Packages of others register with an entry point instead.
"""

import importlib
import pkgutil
from functools import cache
from importlib.metadata import entry_points
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema


class Settings(BaseModel):
    """A part of config.yaml: unknown keys are refused and values never change once read."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Connector(Settings):
    """Settings of one kind of source, format, authenticator or paginator.

    A concrete connector declares ``kind: Literal["its-name"] = "its-name"``.
    """


@cache
def discover(package: str) -> dict[str, type[Connector]]:
    """Find the connectors of a folder, by kind, and those that entry points of the same group add.

    Args:
        package: dotted name such as ``service.sources``; its entry point group is ``headrace.sources``.
    """
    folder = importlib.import_module(package)
    modules = [importlib.import_module(f"{package}.{info.name}") for info in pkgutil.iter_modules(folder.__path__)]
    classes = [
        value
        for module in modules
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Connector) and value.__module__ == module.__name__
    ]
    group = f"headrace.{package.rpartition('.')[2]}"
    classes += [entry.load() for entry in entry_points(group=group)]
    found: dict[str, type[Connector]] = {}
    for connector in classes:
        if "kind" in connector.model_fields:
            (kind,) = get_args(connector.model_fields["kind"].annotation)
            found[kind] = connector
    return dict(sorted(found.items()))


class OneOf:
    """Annotation: the value is one of the connectors of a folder, chosen by its ``kind``.

    A bare string ``json`` stands for ``{kind: json}``.

    Args:
        package: dotted name of the folder.
        default: the kind that is meant when none is written; None makes ``kind`` required.
    """

    def __init__(self, package: str, default: str | None = None) -> None:
        self.package = package
        self.default = default

    def __get_pydantic_core_schema__(self, _source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Build a union tagged by ``kind``, as pydantic's documentation of custom types describes."""
        choices = {kind: handler.generate_schema(connector) for kind, connector in discover(self.package).items()}

        def expand(value: Any) -> Any:
            if isinstance(value, str):
                return {"kind": value}
            if isinstance(value, dict) and "kind" not in value and self.default is not None:
                return {"kind": self.default, **value}
            return value

        union = core_schema.tagged_union_schema(choices, discriminator="kind")
        return core_schema.no_info_before_validator_function(expand, union)
