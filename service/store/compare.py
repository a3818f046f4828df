"""How rows of two tables compare: whether they have the same key, which is newer, whether they differ."""

from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.sql.expression import ColumnElement

from service.config.tables import Table


def same_key(mine: Any, theirs: Any, key: Iterable[str]) -> ColumnElement[bool]:
    """Compare the key columns of two collections of columns."""
    return sa.and_(*(mine[name] == theirs[name] for name in key))


def json_key(columns: Any, key: Iterable[str]) -> ColumnElement[Any]:
    """Write the key of a collection of columns as JSON; moments in UTC, whatever zone the session has."""
    return sa.func.jsonb_build_array(
        *(
            sa.func.timezone("UTC", columns[name]) if isinstance(columns[name].type, sa.DateTime) else columns[name]
            for name in key
        ),
        type_=pg.JSONB(),
    )


def not_older(theirs: ColumnElement[Any], mine: ColumnElement[Any], settings: Table) -> ColumnElement[bool]:
    """Say whether their version may follow mine; no version is older than any.

    Text compares by code point, as Python does.
    """
    if settings.version is not None and settings.columns[settings.version].type == "text":
        mine, theirs = sa.collate(mine, "C"), sa.collate(theirs, "C")
    return sa.or_(mine.is_(None), sa.func.coalesce(theirs >= mine, sa.false()))


def differ(mine: ColumnElement[Any], theirs: ColumnElement[Any]) -> ColumnElement[bool]:
    """Compare contents; the type json of a user's own table has no equality of its own."""
    if isinstance(mine.type, pg.JSONB):
        mine, theirs = sa.cast(mine, pg.JSONB), sa.cast(theirs, pg.JSONB)
    elif isinstance(mine.type, pg.ARRAY) and isinstance(mine.type.item_type, pg.JSONB):
        mine, theirs = sa.cast(mine, mine.type), sa.cast(theirs, mine.type)
    return mine.is_distinct_from(theirs)
