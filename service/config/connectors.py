"""What every connector's settings are, and how a folder of them becomes one configuration key.

A connector is one class in one file: its fields are its settings, its ``kind`` is its name in config.yaml,
and the file's place is its registration. Packages of others register with an entry point instead.
"""

import importlib
import pkgutil
from collections.abc import Callable
from functools import cache
from importlib.metadata import entry_points
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationError
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError, PydanticKnownError, core_schema


class Settings(BaseModel):
    """A part of config.yaml: unknown keys are refused and values never change once read."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Connector(Settings):
    """Settings of one kind of source, format, authenticator or paginator.

    A concrete connector declares ``kind: Literal["its-name"] = "its-name"``.
    """


def short_form(short: dict[str, Any]) -> Callable[[dict[str, Any]], None]:
    """Make the `json_schema_extra` of settings that may also be one scalar, which ``short`` describes."""

    def widen(described: dict[str, Any]) -> None:
        long = dict(described)
        described.clear()
        described["description"] = long.pop("description", "")
        described["anyOf"] = [short, long]

    return widen


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

    A bare string ``json`` stands for ``{kind: json}``. The folder is looked into when a value is read, not
    when the class is built: connectors import what the configuration is made of.

    Args:
        package: dotted name of the folder.
        default: the kind that is meant when none is written; None makes ``kind`` required.
    """

    def __init__(self, package: str, default: str | None = None) -> None:
        self.package = package
        self.default = default

    def choose(self, value: Any) -> type[Connector] | None:
        """Give the connector whose settings the value holds, or None when there is none of that kind."""
        kind = value.get("kind", self.default) if isinstance(value, dict) else value
        return discover(self.package).get(kind) if isinstance(kind, str) else None

    def read(self, value: Any) -> Connector:
        """Validate a value.

        Raises:
            ValidationError: it has no kind, an unknown one, or settings that its kind does not take.
        """
        if isinstance(value, Connector):
            return value
        connector = self.choose(value)
        if isinstance(value, str):
            value = {"kind": value}
        if not isinstance(value, dict):
            raise PydanticKnownError("dict_type")
        kind = value.get("kind", self.default)
        if connector is not None:
            return connector.model_validate({**value, "kind": kind})
        context = {"known": ", ".join(discover(self.package))}
        name = "missing-kind" if kind is None else "unknown-kind"
        problem = PydanticCustomError(name, "must be one of {known}", context)
        fault: InitErrorDetails = {"type": problem, "loc": ("kind",), "input": kind}
        raise ValidationError.from_exception_data("kind", [fault])

    def __get_pydantic_core_schema__(self, _source: Any, _handler: GetCoreSchemaHandler) -> CoreSchema:
        """Validate by ``read``: a function, so that pydantic's error locations hold no tag of a union."""
        return core_schema.no_info_plain_validator_function(self.read)

    def __get_pydantic_json_schema__(self, _schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Describe the choices: each connector's settings or, where none of them is required, its bare name."""
        choices = []
        for connector in discover(self.package).values():
            choice = handler(connector.__pydantic_core_schema__)
            settings = handler.resolve_ref_schema(choice)
            if self.default is None:
                settings["required"] = ["kind", *settings.get("required", [])]
            choices.append(choice)
        bare = [kind for kind, connector in discover(self.package).items() if _needs_nothing(connector)]
        return {"oneOf": [*choices, {"type": "string", "enum": bare}] if bare else choices}


def _needs_nothing(connector: type[Connector]) -> bool:
    try:
        connector()
    except ValidationError:
        return False
    return True
