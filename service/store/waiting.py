"""The waiting room: deltas whose row does not exist yet, kept until it does or their time is over.

They are in flight: their feed's ledger receives them when they are settled. Who writes a row settles what waited for
it, in the same transaction, by noting the outcome; the feed itself counts them, in a transaction of its own. So no feed
ever waits for another's position.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.expression import ColumnElement
from sqlalchemy.types import TypeEngine

from service.model import Counts, Refusal, Row
from service.store.compare import json_key
from service.store.quarantine import MESSAGE_LIMIT, storable
from service.store.schema import quarantine, waiting
from service.store.sqlstate import RowFault, faults
from service.store.tables import DIALECT
from service.store.upsert import driver_of

MOST = 10_000
"""Deltas of one feed that wait at a time; more are refused at once."""
REASON = "partial: no row"

_OF_FEED = waiting.c.feed == sa.bindparam("of_feed")
_COUNT = sa.select(sa.func.count()).where(_OF_FEED)
_DETAIL = sa.func.coalesce(sa.bindparam("to_detail", type_=sa.Text), waiting.c.detail)
_NOTE = sa.update(waiting).where(waiting.c.id == sa.bindparam("of_id"))
_NOTE = _NOTE.values(outcome=sa.bindparam("to_outcome"), detail=_DETAIL)


_KEPT = ("detail", "record", "message", "number", "meta", "received_at")
_GIVEN: dict[str, TypeEngine[Any]] = {
    "number": sa.Integer(),
    "carried": sa.Text(),
    "detail": sa.Text(),
    "record": sa.LargeBinary(),
    "message": sa.LargeBinary(),
    "index": sa.Integer(),
    "meta": sa.Text(),
    "received_at": sa.DateTime(timezone=True),
}


async def count(connection: AsyncConnection, feed: str) -> int:
    """Count the deltas of a feed that wait, or are settled and not yet counted."""
    return int((await connection.execute(_COUNT, {"of_feed": feed})).scalar_one())


async def settle(connection: AsyncConnection, outcomes: Mapping[int, str], details: Mapping[int, str]) -> None:
    """Note what became of deltas, by id: an outcome of the ledger."""
    if outcomes:
        values = [
            {"of_id": each, "to_outcome": outcome, "to_detail": details.get(each)}
            for each, outcome in sorted(outcomes.items())
        ]
        await connection.execute(_NOTE, values)


async def collect(connection: AsyncConnection, feed: str, *, overdue: bool = False) -> dict[str, Counts]:
    """Take out the deltas of a feed that are settled, and those that waited in vain; the latter go to quarantine.

    Args:
        connection: in a transaction that holds the lock of the feed's position.
        feed: ``provider.feed``.
        overdue: also take out those that waited in vain.

    Returns:
        What became of them, by table: to be added to the feed's ledger.
    """
    done: ColumnElement[bool] = waiting.c.outcome.is_not(None)
    if overdue:
        done = sa.or_(done, waiting.c.until <= sa.func.now())
    # Another feed may be settling some of them: they are for the next time.
    due = sa.select(waiting.c.id).where(waiting.c.feed == feed, done).with_for_update(skip_locked=True)
    gone = sa.delete(waiting).where(waiting.c.id.in_(due)).returning(*waiting.c).cte("gone")
    outcome = sa.func.coalesce(gone.c.outcome, "quarantined")
    columns = ["provider", "feed", "table_name", "reason", *_KEPT]
    refused = sa.select(
        sa.func.split_part(gone.c.feed, ".", 1), gone.c.feed, gone.c.table_name, sa.literal(REASON),
        *(gone.c[name] for name in _KEPT),
    ).where(outcome == "quarantined").order_by(gone.c.id)  # fmt: skip
    kept = sa.insert(quarantine).from_select(columns, refused).returning(sa.literal(1).label("one")).cte("kept")
    query = sa.select(gone.c.table_name, outcome, sa.func.count()).group_by(gone.c.table_name, outcome).add_cte(kept)
    found: dict[str, Counts] = {}
    for table, term, number in await connection.execute(query):
        found.setdefault(table, Counts()).add(Counts(received=number, **{term: number}))
    return found


class Waiting(msgspec.Struct, frozen=True):
    """A delta that has to wait.

    Attributes:
        number: of its row in the stage.
        carried: the columns that it carries.
        refusal: what it becomes if it waits in vain.
    """

    number: int
    carried: list[str]
    refusal: Refusal


class Waited(NamedTuple):
    """A delta that waits for a row in the stage.

    Attributes:
        number: of that row.
        id: its own.
        carried: the columns that it carries.
        row: its values.
    """

    number: int
    id: int
    carried: list[str]
    row: Row


class Room:
    """The waiting room of one table.

    Args:
        table: its name.
        stage: holds rows of the table, by number.
        number: the name of that column.
        marks: the names of the stage's columns that the table does not have.
        key: the table's.
    """

    def __init__(self, table: str, stage: sa.Table, number: str, marks: Sequence[str], key: Sequence[str]) -> None:
        self._name = table
        staged: Any = sa.literal_column(stage.name)
        key_of = json_key(stage.c, key)
        given = sa.func.unnest(*(sa.bindparam(name, type_=pg.ARRAY(kind)) for name, kind in _GIVEN.items()))
        each = given.table_valued(*(sa.column(name, kind) for name, kind in _GIVEN.items()), name="given")
        each = each.render_derived()
        delta = sa.func.to_jsonb(staged, type_=pg.JSONB).op("-")(pg.array(list(marks)))
        kept = {
            "feed": sa.bindparam("of_feed", type_=sa.Text),
            "table_name": sa.literal(table, sa.Text),
            "key": key_of,
            "delta": delta,
            "carried": sa.cast(each.c.carried, pg.JSONB),
            **{name: each.c[name] for name in ("detail", "record", "message", "index", "received_at")},
            "meta": sa.cast(each.c.meta, sa.JSON),
            "until": sa.func.now() + sa.bindparam("wait", type_=sa.Interval),
        }
        kept["number"] = kept.pop("index")
        rows = sa.select(*kept.values()).select_from(stage.join(each, stage.c[number] == each.c.number))
        self._insert = sa.insert(waiting).from_select(list(kept), rows.order_by(stage.c[number]))
        # The driver's own statement: it gives the values as the driver takes them.
        columns = [sa.column(each.name, each.type) for each in stage.columns if each.name not in marks]
        empty: Any = sa.literal_column(f"NULL::pg_temp.{stage.name}")
        was = sa.func.jsonb_populate_record(empty, waiting.c.delta).table_valued(*columns, name="was")
        values = [_as_taken(each) for each in was.c]
        read = sa.select(stage.c[number].label("number"), waiting.c.id, sa.cast(waiting.c.carried, sa.Text), *values)
        same = sa.and_(waiting.c.table_name == table, waiting.c.key == key_of)
        read = read.select_from(stage.join(waiting, same), was).where(waiting.c.outcome.is_(None))
        self._read = read.order_by(waiting.c.id).with_for_update(of=waiting)
        self._ids = sa.select(waiting.c.id).select_from(stage.join(waiting, same)).where(waiting.c.outcome.is_(None))
        self._pull: str | None = None

    async def put(self, connection: AsyncConnection, feed: str, deltas: Sequence[Waiting], seconds: float) -> None:
        """Add deltas, whose rows are in the stage."""
        values = [_values(delta) for delta in deltas]
        given = {name: [each[name] for each in values] for name in _GIVEN}
        await connection.execute(self._insert, {"of_feed": feed, "wait": timedelta(seconds=seconds), **given})

    async def pull(self, connection: AsyncConnection) -> tuple[list[Waited], dict[int, str]]:
        """Give the deltas that wait for the rows in the stage, in order of arrival, and keep them until the commit.

        Returns:
            The deltas, and why others can no longer be read, by id: a column has another type since they came.
        """
        if self._pull is None:  # where the service's own tables are, only the connection knows
            self._pull = _sql(connection, self._read)
        try:
            return await self._fetch(connection, self._pull), {}
        except RowFault:
            pass
        found: list[Waited] = []
        spoiled: dict[int, str] = {}
        for (each,) in (await connection.execute(self._ids.order_by(waiting.c.id))).all():
            try:
                found += await self._fetch(connection, _sql(connection, self._read.where(waiting.c.id == each)))
            except RowFault as fault:
                spoiled[each] = f"a column has another type since it came: {fault.detail} [{fault.reason}]"
        return found, spoiled

    async def _fetch(self, connection: AsyncConnection, query: str) -> list[Waited]:
        """Read deltas; what the database has against one does not end the transaction."""
        async with connection.begin_nested():
            with faults():
                found = await (await driver_of(connection)).fetch(query)
        return [Waited(each[0], each[1], msgspec.json.decode(each[2]), tuple(each)[3:]) for each in found]


def _sql(connection: AsyncConnection, statement: sa.Select[Any]) -> str:
    """Write a query for the driver."""
    options = connection.sync_connection.get_execution_options() if connection.sync_connection else {}
    moved = options.get("schema_translate_map")
    terms = {"literal_binds": True, "render_schema_translate": moved is not None}
    return str(statement.compile(dialect=DIALECT, schema_translate_map=moved, compile_kwargs=terms))


def _as_taken(column: ColumnElement[Any]) -> ColumnElement[Any]:
    """Give a column as the driver takes it: JSON as text, which it would give as objects."""
    if isinstance(column.type, pg.ARRAY) and isinstance(column.type.item_type, sa.JSON):
        return sa.cast(column, pg.ARRAY(sa.Text()))
    return sa.cast(column, sa.Text) if isinstance(column.type, sa.JSON) else column


def _values(delta: Waiting) -> dict[str, Any]:
    refusal = delta.refusal
    whole = refusal.record is None or len(refusal.message) <= MESSAGE_LIMIT
    return {
        "number": delta.number,
        "carried": msgspec.json.encode(delta.carried).decode(),
        "detail": storable(refusal.detail),
        "record": refusal.record,
        "message": refusal.message if whole else None,
        "index": refusal.index,
        "meta": None if refusal.meta is None else msgspec.json.encode(refusal.meta).decode(),
        "received_at": datetime.fromtimestamp(refusal.received_at, UTC),
    }
