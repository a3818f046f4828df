"""Adds what became of the rows of each table to ``batches``, so that a repeated batch is counted as it was written."""

import sqlalchemy as sa
from alembic.operations import Operations
from sqlalchemy.dialects.postgresql import JSONB

revision = "0006"
down_revision = "0005"


def upgrade(op: Operations) -> None:
    """Add the column."""
    op.add_column("batches", sa.Column("tables", JSONB(none_as_null=True)), schema="headrace")
