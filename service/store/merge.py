"""The statement that merges a stage of deltas into its table: each column goes in where it is the newest.

Versions of columns that are not the row's own are in ``headrace.column_versions``, by key; in a stream that arrives in
order they stay as they are, and are not written.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.sql.expression import ColumnElement

from service.config.tables import Table
from service.store.compare import differ, json_key, not_older, same_key
from service.store.schema import column_versions
from service.store.stage import Marks

_NOTHING = sa.cast(sa.literal_column("'{}'"), pg.JSONB)
_NO_NAMES = sa.cast(sa.literal_column("'{}'"), pg.ARRAY(sa.Text))


class Merge:
    """Builds the statement once.

    Args:
        target: the table.
        stage: the rows to merge, one per key.
        marks: the stage's further columns.
        settings: the table's.
        required: the columns without which no row can be made.

    Attributes:
        statement: takes ``shapes``, a list of objects: ``shape``, ``bits`` (a 1 for each column that is carried),
            ``carried`` and ``others`` (the names of those that are and that are not, but for key and version). Gives
            ``outcome`` and ``number_of_rows``, and of each row that is told by itself its ``number``, and for each
            column whether it was newer (``won``) and whether it differed (``changed``); besides, in every line, how
            many rows were ``inserted`` and ``updated`` in fact.
    """

    def __init__(
        self, target: sa.Table, stage: sa.Table, marks: Marks, settings: Table, required: Collection[str]
    ) -> None:
        self._target, self._stage, self._marks, self._settings = target, stage, marks, settings
        self._names = tuple(settings.columns)
        self._required = [name for name in self._names if name in required]
        self._data = [name for name in self._names if name not in {*settings.key, settings.version}]
        self._shape = (
            sa.func.jsonb_to_recordset(sa.bindparam("shapes", type_=pg.JSONB))
            .table_valued(
                sa.column("shape", sa.Integer),
                sa.column("bits", pg.BIT(varying=True)),
                sa.column("carried", pg.ARRAY(sa.Text)),
                sa.column("others", pg.ARRAY(sa.Text)),
                name="shapes",
            )
            .render_derived(with_types=True)
        )
        # One look at an index for each row, however large the table: the planner has no say.
        self._row = self._found(target, same_key(target.c, stage.c, settings.key), "there_row")
        theirs = (column_versions.c.table_name == target.name, column_versions.c.key == json_key(stage.c, settings.key))
        self._known = self._found(column_versions, sa.and_(*theirs), "known")
        self.statement = self._writing()

    def _found(self, table: sa.Table, same: ColumnElement[bool], name: str) -> Any:
        return sa.select(table).where(same).limit(1).correlate(self._stage).lateral(name)

    def _layers(self) -> sa.CTE:
        """Build what is staged beside what is there, and compare: one layer on another, each computed once."""
        compared = _layer("compared", self._joined(), lambda row: self._each("w", lambda n, _: self._wins(row, n)))
        kept = ["there", "whole", "number", "asked", *(f"{letter}{n}" for n in self._numbers for letter in "cw")]
        if self._settings.version is None:
            return _layer("merged", compared, self._differences, kept)
        return _layer(
            "merged",
            compared,
            lambda row: [
                *self._differences(row),
                sa.func.nullif(self._entry(row), _NOTHING, type_=pg.JSONB).label("entry"),
            ],
            [*kept, "id", "had"],
        )

    @property
    def _numbers(self) -> range:
        return range(len(self._names))

    def _each(self, letter: str, make: Callable[[int, str], ColumnElement[Any]]) -> list[ColumnElement[Any]]:
        return [make(number, name).label(f"{letter}{number}") for number, name in enumerate(self._names)]

    def _joined(self) -> sa.CTE:
        stage, row, mark, shape = self._stage.c, self._row.c, self._marks, self._shape.c
        # What carries every column makes a row, or breaks a rule of the database, which says so.
        able = sa.and_(sa.true(), *(stage[name].is_not(None) for name in self._required))
        whole = sa.or_(shape.others == _NO_NAMES, able)
        columns = [
            *self._each("c", lambda _, name: stage[name]),
            *self._each("r", lambda _, name: row[name]),
            row[self._settings.key[0]].is_not(None).label("there"),
            whole.label("whole"),
            stage[mark.number].label("number"),
            stage[mark.asked].label("asked"),
            shape.bits,
        ]
        source = self._stage.join(self._shape, stage[mark.shape] == shape.shape).outerjoin(self._row, sa.true())
        if self._settings.version is not None:
            source = source.outerjoin(self._known, sa.true())
            now, was = stage[self._settings.version], row[self._settings.version]
            is_ahead = not_older(now, was, self._settings)
            columns += [
                now.label("now"),
                was.label("was"),
                stage[mark.versions].label("new"),
                is_ahead.label("ahead"),
                sa.and_(stage[mark.versions].is_(None), is_ahead).label("simple"),
                shape.carried,
                shape.others,
                json_key(stage, self._settings.key).label("id"),
                self._known.c.versions.label("had"),
            ]
        return _cte("joined", sa.select(*columns).select_from(source))

    def _wins(self, row: Any, number: int) -> ColumnElement[bool]:
        """Say whether a column is carried, and at least as new as what is there."""
        name = self._names[number]
        is_carried = sa.func.get_bit(row.bits, number, type_=sa.Integer) == 1
        if self._settings.version is None:
            return sa.true() if name in self._settings.key else is_carried
        if name not in self._data:
            return cast("ColumnElement[bool]", row.ahead)
        newer = not_older(self._new(row, name), self._old(row, name), self._settings)
        return sa.and_(is_carried, sa.or_(row.simple, newer))

    def _new(self, row: Any, name: str) -> ColumnElement[Any]:
        return _version_of(name, row.new, row.now)

    def _old(self, row: Any, name: str) -> ColumnElement[Any]:
        return _version_of(name, row.had, row.was)

    def _differences(self, row: Any) -> list[ColumnElement[Any]]:
        return self._each("d", lambda n, _: sa.and_(row[f"w{n}"], row.there, differ(row[f"r{n}"], row[f"c{n}"])))

    def _entry(self, row: Any) -> ColumnElement[Any]:
        """Build the versions of the columns that are not of the row's, once it is written."""
        many = sa.func.array_fill(_as_text(row.was), pg.array([sa.func.cardinality(row.others)]))
        left = sa.case((row.was.is_distinct_from(row.now), sa.func.jsonb_object(row.others, many)), else_=_NOTHING)
        known = sa.func.coalesce(sa.case((row.there, row.had)), _NOTHING)
        simple = left.op("||")(known.op("-")(row.carried))
        settled = sa.and_(_holds(row.had, "?&", row.others), ~_holds(row.had, "?|", row.carried))
        then = sa.case((row.ahead, row.now), else_=row.was)
        each: list[Any] = [_NOTHING]
        for number, name in enumerate(self._names):
            if name in self._data:
                version = sa.case((row[f"w{number}"], self._new(row, name)), (row.there, self._old(row, name)))
                own = sa.func.jsonb_build_object(sa.literal(name, sa.Text), _as_text(version))
                each.append(sa.case((version.is_distinct_from(then), own), else_=_NOTHING))
        return sa.case(
            (sa.and_(row.simple, row.others == _NO_NAMES), _NOTHING),
            (sa.and_(row.simple, row.there, settled), row.had),  # the same columns as before: nothing to note
            (row.simple, simple),
            else_=_combined(each),
        )

    def _writing(self) -> "sa.Select[Any]":
        found = self._layers()
        row = found.c
        differs = sa.or_(*(row[f"d{n}"] for n in self._numbers))
        wins = sa.or_(*(row[f"w{n}"] for n in self._numbers))
        made = sa.and_(~row.there, row.whole) if self._settings.mode == "upsert" else sa.false()
        missing = "missing" if self._settings.mode == "upsert" else "filtered"
        outcome = sa.case(
            (differs, "updated"),
            (made, "inserted"),
            (~row.there, missing),
            (wins, "unchanged"),
            else_="stale",
        )
        told = sa.or_(row.asked, outcome == "missing")
        updated = self._updating(found).cte("updated")
        inserted = self._inserting(found, made).cte("inserted")
        columns = [outcome.label("outcome"), sa.case((told, row.number)).label("number")]
        for label, letter in (("won", "w"), ("changed", "d")):
            bits = pg.array([row[f"{letter}{n}"] for n in self._numbers])
            columns.append(sa.case((told, bits)).label(label))
        shown = sa.select(*columns).subquery("shown")
        each = (shown.c.outcome, shown.c.number, shown.c.won, shown.c.changed)
        statement = sa.select(
            *each,
            sa.func.count().label("number_of_rows"),
            sa.select(sa.func.count()).select_from(inserted).scalar_subquery().label("inserted"),
            sa.select(sa.func.count()).select_from(updated).scalar_subquery().label("updated"),
        ).group_by(*each)
        if self._settings.version is not None:
            statement = statement.add_cte(*self._noting(found, sa.or_(row.there, made)))
        return statement

    def _updating(self, found: sa.CTE) -> sa.Update:
        numbers = {name: number for number, name in enumerate(self._names)}
        target, row = self._target, found.c
        values = {
            name: sa.case((row[f"w{numbers[name]}"], row[f"c{numbers[name]}"]), else_=target.c[name])
            for name in self._names
            if name not in self._settings.key
        }
        same = (target.c[name] == row[f"c{numbers[name]}"] for name in self._settings.key)
        differs = sa.or_(*(row[f"d{n}"] for n in self._numbers))
        return sa.update(target).values(values).where(*same, differs).returning(sa.literal(1).label("one"))

    def _inserting(self, found: sa.CTE, made: ColumnElement[bool]) -> Any:
        row = found.c
        rows = sa.select(*(row[f"c{n}"] for n in self._numbers)).where(made)
        rows = rows.order_by(*(row[f"c{self._names.index(name)}"] for name in self._settings.key))
        insert = pg.insert(self._target).from_select(self._names, rows)
        others = [name for name in self._names if name not in self._settings.key]
        if others:  # a row that another program made just now is taken over, as by any upsert
            insert = insert.on_conflict_do_update(
                index_elements=list(self._settings.key), set_={name: insert.excluded[name] for name in others}
            )
        else:
            insert = insert.on_conflict_do_nothing(index_elements=list(self._settings.key))
        return insert.returning(sa.literal(1).label("one"))

    def _noting(self, found: sa.CTE, written: ColumnElement[bool]) -> tuple[sa.CTE, sa.CTE]:
        """Build the writes of the versions of columns: those that changed, and those that are no longer needed."""
        row, known = found.c, column_versions
        entries = sa.select(sa.literal(self._target.name, sa.Text), row.id, row.entry).where(
            written, row.entry.is_not(None), row.entry.is_distinct_from(row.had)
        )
        insert = pg.insert(known).from_select(["table_name", "key", "versions"], entries)
        insert = insert.on_conflict_do_update(
            index_elements=["table_name", "key"], set_={"versions": insert.excluded.versions}
        )
        delete = sa.delete(known).where(
            known.c.table_name == self._target.name,
            known.c.key == row.id,
            written,
            row.entry.is_(None),
            row.had.is_not(None),
        )
        return insert.returning(sa.literal(1).label("one")).cte("noted"), delete.returning(
            sa.literal(1).label("one")
        ).cte("forgotten")


def _layer(
    name: str, below: sa.CTE, make: Callable[[Any], list[ColumnElement[Any]]], kept: Sequence[str] | None = None
) -> sa.CTE:
    """Add columns to those of a layer, or to some of them."""
    columns = below.c if kept is None else [below.c[each] for each in kept]
    return _cte(name, sa.select(*columns, *make(below.c)))


def _cte(name: str, rows: "sa.Select[Any]") -> sa.CTE:
    return rows.cte(name).prefix_with("MATERIALIZED", dialect="postgresql")


def _version_of(name: str, versions: Any, otherwise: ColumnElement[Any]) -> ColumnElement[Any]:
    """Give the version of a column: its own, or else the row's."""
    own = sa.cast(versions.op("->>")(sa.literal(name, sa.Text)), otherwise.type)
    return sa.case((versions.op("?", return_type=sa.Boolean)(sa.literal(name, sa.Text)), own), else_=otherwise)


def _holds(versions: Any, operator: str, names: ColumnElement[Any]) -> ColumnElement[bool]:
    return cast("ColumnElement[bool]", versions.op(operator, return_type=sa.Boolean)(names))


def _combined(objects: list[Any]) -> Any:
    """Join JSON objects two by two: a chain of hundreds is deeper than SQLAlchemy goes."""
    while len(objects) > 1:
        pairs = [objects[at : at + 2] for at in range(0, len(objects), 2)]
        objects = [pair[0].op("||")(pair[1]) if len(pair) == 2 else pair[0] for pair in pairs]
    return objects[0]


def _as_text(version: ColumnElement[Any]) -> ColumnElement[Any]:
    """Write a version as text that any session reads the same."""
    return sa.func.to_jsonb(version).op("#>>")(sa.literal_column("'{}'"))
