"""SQLAlchemy classes such as a user's own package has, for the tests of ``model``."""

import enum
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    """Of all of them."""


class Status(enum.Enum):
    """Stored by name."""

    scheduled = "S"
    live = "L"


class Match(Base):
    """Most of what a column can be."""

    __tablename__ = "matches"
    __table_args__ = (sa.CheckConstraint("goals >= 0", name="no_negative_goals"),)

    provider: Mapped[str] = mapped_column(sa.String(20), primary_key=True)
    number: Mapped[int] = mapped_column(sa.BigInteger, primary_key=True, autoincrement=False)
    home: Mapped[str] = mapped_column(sa.Text)
    away: Mapped[str | None] = mapped_column(sa.String(5))
    country: Mapped[str | None] = mapped_column(sa.CHAR(2))
    status: Mapped[Status] = mapped_column(default=Status.scheduled)
    goals: Mapped[int | None]
    round: Mapped[int | None] = mapped_column(sa.SmallInteger)
    odds: Mapped[Decimal | None] = mapped_column(sa.Numeric(6, 2))
    ratio: Mapped[float | None]
    kickoff: Mapped[datetime] = mapped_column(sa.DateTime(timezone=True))
    tags: Mapped[list[str] | None] = mapped_column(sa.ARRAY(sa.Text))
    extra: Mapped[dict[str, object] | None] = mapped_column(pg.JSONB)
    neutral: Mapped[bool] = mapped_column(default=False)
    serial: Mapped[int] = mapped_column(sa.Identity(always=True))
    goals_twice: Mapped[int | None] = mapped_column(sa.Computed("goals * 2"))
    added_at: Mapped[datetime] = mapped_column(sa.DateTime(timezone=True), server_default=sa.func.now())
    changed_by: Mapped[str] = mapped_column(sa.Text, default=lambda: "somebody")


class Numbered(Base):
    """A key that the database gives."""

    __tablename__ = "numbered"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)


class Naive(Base):
    """A moment without a zone."""

    __tablename__ = "naive"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    at: Mapped[datetime] = mapped_column(sa.DateTime, default=datetime.now(UTC))


class Elsewhere(Base):
    """In a schema of its own."""

    __tablename__ = "elsewhere"
    __table_args__ = {"schema": "sports"}

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)


class Colour(sa.TypeDecorator[str]):
    """A type that changes values in Python."""

    impl = sa.Text
    cache_ok = True


KINDS: list[sa.types.TypeEngine[Any]] = [
    pg.CITEXT(),
    pg.INET(),
    sa.REAL(),
    sa.Float(10),
    Colour(),
    sa.Interval(),
    sa.ARRAY(sa.Text, dimensions=2),
]
ODD = [
    sa.Table(f"odd_{number}", sa.MetaData(), sa.Column("id", sa.BigInteger, primary_key=True), sa.Column("c", kind))
    for number, kind in enumerate(KINDS)
]
odd_0, odd_1, odd_2, odd_3, odd_4, odd_5, odd_6 = ODD


Lists = sa.Table(
    "lists",
    sa.MetaData(),
    sa.Column("id", sa.BigInteger, primary_key=True),
    sa.Column("small", sa.ARRAY(sa.Integer)),
    sa.Column("short", sa.ARRAY(sa.String(2))),
    sa.Column("exact", sa.ARRAY(sa.Numeric(6, 2))),
)
