"""Adds to the quarantine what it takes to map a refused record again: its number in its message, and the meta data.

Builds between the two releases made both without noting a revision, so what is there stays as it is.
"""

import sqlalchemy as sa
from alembic.operations import Operations

revision = "0003"
down_revision = "0002"


def upgrade(op: Operations) -> None:
    """Add ``number`` and ``meta`` to quarantine."""
    number = sa.Column("number", sa.Integer, nullable=False, server_default="0")
    op.add_column("quarantine", number, schema="headrace", if_not_exists=True)
    op.add_column("quarantine", sa.Column("meta", sa.JSON), schema="headrace", if_not_exists=True)
