"""`headrace ddl`: prints the SQL of the tables."""

from pathlib import Path

import typer

from service.cli.options import ConfigPath, read
from service.store.migrate import ddl as sql


def ddl(config: ConfigPath = Path("config.yaml")) -> None:
    """Print the SQL that makes the configured tables and the service's own; no database is asked."""
    settings = read(config)
    typer.echo(sql(settings.tables, settings.database.schema_), nl=False)
