"""`headrace schema`: prints the JSON Schema of config.yaml."""

import json

import typer

from service.config.schema import schema as json_schema


def schema() -> None:
    """Print the JSON Schema of the configuration, for editors and validators."""
    typer.echo(json.dumps(json_schema(), indent=2))
