"""Adds the gaps of feeds, where their sequences stand, and up to when each feed's messages are loaded."""

import sqlalchemy as sa
from alembic.operations import Operations

revision = "0004"
down_revision = "0003"


def upgrade(op: Operations) -> None:
    """Make ``gaps`` and ``sequences``; add ``received_at`` to positions."""
    op.create_table(
        "gaps",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("feed", sa.Text, nullable=False),
        sa.Column("cause", sa.Text, nullable=False),
        sa.Column("key", sa.Text),
        sa.Column("from_position", sa.BigInteger),
        sa.Column("to_position", sa.BigInteger),
        sa.Column("from_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("to_time", sa.DateTime(timezone=True)),
        sa.Column("filled_by", sa.Text),
        sa.Column("filled_at", sa.DateTime(timezone=True)),
        schema="headrace",
    )
    op.create_index("gaps_feed_from_time", "gaps", ["feed", "from_time"], schema="headrace")
    op.create_table(
        "sequences",
        sa.Column("feed", sa.Text, primary_key=True),
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("last", sa.BigInteger, nullable=False),
        sa.Column("epoch", sa.Text),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        schema="headrace",
    )
    op.add_column("positions", sa.Column("received_at", sa.DateTime(timezone=True)), schema="headrace")
