"""Makes the tables of release 0.1.0.

That release made them without noting a revision, so this one leaves what is there as it is.
"""

import sqlalchemy as sa
from alembic.operations import Operations

revision = "0001"
down_revision = None

_COUNTS = (
    *("received", "inserted", "updated", "deleted", "unchanged"),
    *("stale", "duplicate", "filtered", "quarantined"),
)


def upgrade(op: Operations) -> None:
    """Make positions, quarantine and batches."""
    op.create_table(
        "positions",
        sa.Column("feed", sa.Text, primary_key=True),
        sa.Column("lane", sa.Text, nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("source", sa.JSON),
        *_counts(),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        schema="headrace",
        if_not_exists=True,
    )
    op.create_table(
        "quarantine",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("provider", sa.Text, nullable=False),
        sa.Column("feed", sa.Text, nullable=False),
        sa.Column("table_name", sa.Text),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("record", sa.LargeBinary),
        sa.Column("message", sa.LargeBinary),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
        sa.Column("resolved_at", sa.DateTime(timezone=True)),
        schema="headrace",
        if_not_exists=True,
    )
    op.create_table(
        "batches",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("feed", sa.Text, nullable=False),
        sa.Column("first_sequence", sa.BigInteger, nullable=False),
        sa.Column("last_sequence", sa.BigInteger, nullable=False),
        *_counts(),
        sa.Column("seconds", sa.Double, nullable=False),
        sa.Column("committed_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        schema="headrace",
        if_not_exists=True,
    )
    op.create_index("quarantine_feed_id", "quarantine", ["feed", "id"], schema="headrace", if_not_exists=True)
    op.create_index("batches_committed_at", "batches", ["committed_at"], schema="headrace", if_not_exists=True)


def _counts() -> list[sa.Column[int]]:
    return [sa.Column(name, sa.BigInteger, nullable=False, server_default="0") for name in _COUNTS]
