"""The service's own tables, in the schema ``headrace``."""

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    DateTime,
    Double,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    Uuid,
    func,
)
from sqlalchemy.dialects.postgresql import JSONB

from service.model import Counts

SCHEMA = "headrace"
COUNTS = Counts.__struct_fields__
"""The terms of the ledger, each a column of ``positions`` and ``batches``."""


def _counts() -> list[Column[int]]:
    return [Column(name, BigInteger, nullable=False, server_default="0") for name in COUNTS]


metadata = MetaData(schema=SCHEMA)

positions = Table(
    "positions",
    metadata,
    Column("feed", Text, primary_key=True),
    Column("lane", Text, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    # json, not jsonb: a provider's cursor may hold \u0000, which jsonb refuses.
    Column("source", JSON(none_as_null=True)),
    *_counts(),
    Column("updated_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    # Of the last message whose effect is committed: up to there the tables are what was heard.
    Column("received_at", DateTime(timezone=True)),
)

quarantine = Table(
    "quarantine",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("provider", Text, nullable=False),
    Column("feed", Text, nullable=False),
    Column("table_name", Text),
    Column("reason", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("record", LargeBinary),
    Column("message", LargeBinary),
    # What it takes to decode and map the record again: its number in the message, and the message's meta data.
    Column("number", Integer, nullable=False, server_default="0"),
    Column("meta", JSON(none_as_null=True)),
    Column("received_at", DateTime(timezone=True), nullable=False),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("resolved_at", DateTime(timezone=True)),
    Index("quarantine_feed_id", "feed", "id"),
)

deleted = Table(
    "deleted",
    metadata,
    Column("table_name", Text, primary_key=True),
    Column("key", JSONB, primary_key=True),
    Column("version", JSONB, nullable=False),
    Column("deleted_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Index("deleted_deleted_at", "deleted_at"),
)

# Deltas whose row does not exist yet. One with an outcome is settled; its feed counts it, and takes it out.
waiting = Table(
    "waiting",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("feed", Text, nullable=False),
    Column("table_name", Text, nullable=False),
    Column("key", JSONB, nullable=False),
    Column("delta", JSONB, nullable=False),
    Column("carried", JSONB, nullable=False),
    # As in quarantine, which it goes to when the time is over.
    Column("detail", Text, nullable=False),
    Column("record", LargeBinary),
    Column("message", LargeBinary),
    Column("number", Integer, nullable=False),
    Column("meta", JSON(none_as_null=True)),
    Column("received_at", DateTime(timezone=True), nullable=False),
    Column("until", DateTime(timezone=True), nullable=False),
    Column("outcome", Text),
    Index("waiting_key", "key", postgresql_using="hash"),  # a key may be longer than a B-tree takes
    Index("waiting_feed_until", "feed", "until"),
)

# Of rows that partial feeds write: the versions of the columns that are not of the row's own; null: of none.
column_versions = Table(
    "column_versions",
    metadata,
    Column("table_name", Text, primary_key=True),
    Column("key", JSONB, primary_key=True),
    Column("versions", JSONB, nullable=False),
)

batches = Table(
    "batches",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("feed", Text, nullable=False),
    Column("first_sequence", BigInteger, nullable=False),
    Column("last_sequence", BigInteger, nullable=False),
    *_counts(),
    Column("seconds", Double, nullable=False),
    Column("committed_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    # Where there are several tables, what became of the rows of each: {table: {outcome: rows}}, without zeros.
    Column("tables", JSONB(none_as_null=True)),
    Index("batches_committed_at", "committed_at"),
)

gaps = Table(
    "gaps",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("feed", Text, nullable=False),
    Column("cause", Text, nullable=False),
    Column("key", Text),
    Column("from_position", BigInteger),
    Column("to_position", BigInteger),
    Column("from_time", DateTime(timezone=True), nullable=False),
    Column("to_time", DateTime(timezone=True)),
    Column("filled_by", Text),
    Column("filled_at", DateTime(timezone=True)),
    Index("gaps_feed_from_time", "feed", "from_time"),
)

sequences = Table(
    "sequences",
    metadata,
    Column("feed", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("last", BigInteger, nullable=False),
    Column("epoch", Text),
    Column("received_at", DateTime(timezone=True), nullable=False),
)
