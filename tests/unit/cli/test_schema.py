import json

import typer
from typer.testing import CliRunner

from service.cli.schema import schema


def test_the_schema_is_printed_as_json() -> None:
    app = typer.Typer()
    app.command("schema")(schema)
    result = CliRunner().invoke(app, [])
    assert result.exit_code == 0
    described = json.loads(result.stdout)
    assert described["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert {"tables", "providers"} <= set(described["properties"])
