"""Adds what partial feeds need: deltas that wait for their row, and versions of columns that differ from the row's."""

import sqlalchemy as sa
from alembic.operations import Operations
from sqlalchemy.dialects.postgresql import JSONB

revision = "0005"
down_revision = "0004"


def upgrade(op: Operations) -> None:
    """Make ``waiting`` and ``column_versions``."""
    op.create_table(
        "waiting",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("feed", sa.Text, nullable=False),
        sa.Column("table_name", sa.Text, nullable=False),
        sa.Column("key", JSONB, nullable=False),
        sa.Column("delta", JSONB, nullable=False),
        sa.Column("carried", JSONB, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("record", sa.LargeBinary),
        sa.Column("message", sa.LargeBinary),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("meta", sa.JSON),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("outcome", sa.Text),
        schema="headrace",
    )
    op.create_index("waiting_key", "waiting", ["key"], schema="headrace", postgresql_using="hash")
    op.create_index("waiting_feed_until", "waiting", ["feed", "until"], schema="headrace")
    op.create_table(
        "column_versions",
        sa.Column("table_name", sa.Text, primary_key=True),
        sa.Column("key", JSONB, primary_key=True),
        sa.Column("versions", JSONB, nullable=False),
        schema="headrace",
    )
