"""The stage of a table that partial feeds load into: a temporary table of merged rows, each with what it carries."""

from collections.abc import Iterator, Sequence
from datetime import date, datetime, time
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.ext.asyncio import AsyncConnection

from service.config.tables import Table
from service.model import Row
from service.store.deltas import Merged
from service.store.exactness import Exactness
from service.store.found import Found
from service.store.sqlstate import RowFault, faults, unencodable
from service.store.tables import DIALECT
from service.store.upsert import driver_of


class Marks(NamedTuple):
    """The names of the columns of the stage beside those of the table.

    Attributes:
        shape: which set of columns the row carries; see ``Stage.shapes``.
        versions: of columns that are not the row's own, by name; null where there are none.
        number: of the row in the stage.
        asked: whether to tell of the row by itself, rather than to count it.
        deleted: whether it is a deletion.
    """

    shape: str
    versions: str
    number: str
    asked: str
    deleted: str


_KINDS: tuple[Any, ...] = (sa.Integer(), pg.JSONB(), sa.Integer(), sa.Boolean(), sa.Boolean())


class Stage:
    """Makes and fills it; it goes with the transaction.

    Args:
        target: the table, whose very types it has.
        settings: the table's.
        number: tells it from those of other tables.
        found: the table as it stands; None for one that we made as it is configured.

    Attributes:
        table: the stage itself.
        marks: its further columns.
        sql: makes it.
    """

    def __init__(self, target: sa.Table, settings: Table, number: int, found: Found | None) -> None:
        self._names = names = tuple(settings.columns)
        own = {*settings.key, settings.version}
        self._data = [(n, name) for n, name in enumerate(names) if name not in own]
        self.marks = Marks(*(_free(names, name) for name in Marks._fields))
        rounding = {name: kind for name, kind in found.rounding.items() if name in names} if found else {}
        self.table = sa.Table(
            f"headrace_stage_{number}",
            sa.MetaData(),
            *(sa.Column(name, target.c[name].type) for name in names),
            *(sa.Column(name, kind) for name, kind in zip(self.marks, _KINDS, strict=True)),
            schema="pg_temp",
        )
        self._exactness = Exactness(self.table, rounding) if rounding else None
        held: list[Any] = [target.c[name] for name in names]
        held = [sa.cast(each, each.type).label(each.name) if each.name in rounding else each for each in held]
        held += [sa.cast(sa.null(), kind).label(name) for name, kind in zip(self.marks, _KINDS, strict=True)]
        rows = sa.select(*held).compile(dialect=DIALECT)
        self.sql = f"CREATE TEMPORARY TABLE {self.table.name} ON COMMIT DROP AS {rows} WITH NO DATA"

    async def fill(self, connection: AsyncConnection, groups: Sequence[Merged]) -> None:
        """Copy merged rows into it; it is empty.

        Raises:
            RowFault: the database refuses a row; the place of its record in the batch is known if the COPY found it.
        """
        taken = -1

        def staged() -> Iterator[Row]:
            nonlocal taken
            numbers = _numbered(groups)
            for taken, group in enumerate(groups):
                versions = None
                if group.versions:
                    texts = {self._names[n]: _text(version) for n, version in group.versions.items()}
                    versions = msgspec.json.encode(texts).decode()
                asked = len(group.parts) > 1 or group.parts[0][0].id is not None
                yield (*group.row, numbers[group.carried], versions, taken, asked, group.deletes)

        try:
            driver = await driver_of(connection)
            with faults():
                await driver.copy_records_to_table(self.table.name, schema_name="pg_temp", records=staged())
        except (TypeError, ValueError, ArithmeticError, AttributeError) as error:
            fault = unencodable(error, taken)
            fault.row = _place(groups[taken])
            raise fault from error
        except RowFault as fault:
            fault.row = None if fault.row is None else _place(groups[fault.row])
            raise
        if self._exactness is not None:
            await self._exactness.check(connection)

    async def empty(self, connection: AsyncConnection) -> None:
        """Empty it for the next rows of the same transaction."""
        await connection.execute(sa.text(f"TRUNCATE pg_temp.{self.table.name}"))

    def shapes(self, groups: Sequence[Merged]) -> list[dict[str, Any]]:
        """Describe the sets of columns that rows carry; see ``Merge``."""
        return [
            {
                "shape": number,
                "bits": "".join("1" if carried >> n & 1 else "0" for n in range(len(self._names))),
                "carried": [name for n, name in self._data if carried >> n & 1],
                "others": [name for n, name in self._data if not carried >> n & 1],
            }
            for carried, number in _numbered(groups).items()
        ]


def _numbered(groups: Sequence[Merged]) -> dict[int, int]:
    """Number the sets of columns that are carried."""
    return {carried: number for number, carried in enumerate(dict.fromkeys(group.carried for group in groups))}


def _place(group: Merged) -> int | None:
    """Give the place in the batch of the record that a row is made of, if it is one."""
    (first, _), *others = group.parts
    return None if others or first.id is not None else first.place


def _text(version: Any) -> str | None:
    """Write a version as Postgres reads it."""
    if version is None:
        return None
    return str(version.isoformat()) if isinstance(version, datetime | date | time) else str(version)


def _free(names: Sequence[str], name: str) -> str:
    """Give a name that no column of the table has."""
    while name in names:
        name += "_"
    return name
