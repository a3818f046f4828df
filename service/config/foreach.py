"""One call for each row of a table or of a query: which rows, and the names of their values."""

import re
from collections.abc import Iterator
from typing import Annotated, Any, TypeAlias

from pydantic import BeforeValidator, Field, model_validator

from service.config.connectors import Settings

PLACE = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
"""A place in `path`, `url`, `params`, `headers` or `body` that a row's value is put into."""

TEMPLATES = ("path", "url", "params", "headers", "body")
"""The settings of a feed that may hold places."""

Value: TypeAlias = str | int | bool
"""A value of a row, as it is put into a request: what is no number and no boolean is text."""


def _named(value: Any) -> Any:
    """Take a list of columns for columns that keep their names."""
    if isinstance(value, list) and all(isinstance(name, str) for name in value):
        return {name: name for name in value}
    return value


class ForEach(Settings):
    """The rows that a feed is called for, one call (or walk through pages) each."""

    table: str | None = None
    """A table of this configuration."""
    feed: str | None = None
    """Another feed: the rows that it loads, as the constants of its key tell them from those of other feeds."""
    where: str | None = Field(default=None, min_length=1)
    """An SQL condition that the rows of the table fulfil."""
    sql: str | None = Field(default=None, min_length=1)
    """A query, in place of `table` and `feed`. Its columns are the names. It runs in a read-only transaction."""
    columns: Annotated[
        dict[Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")], str] | None,
        BeforeValidator(_named),
        Field(json_schema_extra={"type": ["object", "array", "null"]}),
    ] = None
    """`{name: column}`: what the places in the request are filled with, and `$params.name` in the map. A list stands
    for columns that keep their names; without it, the places name columns."""
    concurrency: int = Field(default=4, ge=1, le=100)
    """The most calls at a time; the provider's `rate_limit` holds for all."""
    max_rows: int = Field(default=10_000, ge=1, le=1_000_000)
    """The most rows; with more, none is called for."""

    @model_validator(mode="after")
    def _one_origin(self) -> "ForEach":
        if (self.table is not None) + (self.feed is not None) + (self.sql is not None) != 1:
            raise ValueError("rows come either from a `table`, from a `feed`, or from `sql`")
        if self.sql is not None and self.where is not None:
            raise ValueError("`where` narrows a table; write the condition into the `sql`")
        return self


def places(template: Any) -> Iterator[str]:
    """Give the names of all places in a template."""
    if isinstance(template, str):
        yield from PLACE.findall(template)
    elif isinstance(template, dict):
        for name, value in template.items():
            yield from places(name)
            yield from places(value)
    elif isinstance(template, list | tuple):
        for value in template:
            yield from places(value)
