"""Adds what modes need: deletions that are remembered, and a count of rows that were absent from a full set.

Builds between the two releases made both without noting a revision, so what is there stays as it is.
"""

import sqlalchemy as sa
from alembic.operations import Operations
from sqlalchemy.dialects.postgresql import JSONB

revision = "0002"
down_revision = "0001"


def upgrade(op: Operations) -> None:
    """Make ``deleted``; add ``absent`` to positions and batches."""
    op.create_table(
        "deleted",
        sa.Column("table_name", sa.Text, primary_key=True),
        sa.Column("key", JSONB, primary_key=True),
        sa.Column("version", JSONB, nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        schema="headrace",
        if_not_exists=True,
    )
    op.create_index("deleted_deleted_at", "deleted", ["deleted_at"], schema="headrace", if_not_exists=True)
    for table in ("positions", "batches"):
        absent = sa.Column("absent", sa.BigInteger, nullable=False, server_default="0")
        op.add_column(table, absent, schema="headrace", if_not_exists=True)
