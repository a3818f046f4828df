"""Tables: the internal schema that every feed is mapped to."""

from typing import Any, Literal, TypeAlias, get_args

from pydantic import ConfigDict, Field, field_validator, model_validator

from service.config.connectors import Settings, short_form

ColumnType: TypeAlias = Literal[
    "text", "integer", "float", "decimal", "boolean", "timestamp", "date", "time", "uuid", "json", "bytes"
]
Cleaning: TypeAlias = Literal["trim", "collapse", "lower", "upper", "title", "nfc", "strip_tags", "digits"]
OnInvalid: TypeAlias = Literal["quarantine", "null", "drop"]
Mode: TypeAlias = Literal["upsert", "append", "update"]
Scalar: TypeAlias = bool | int | float | str


class Column(Settings):
    """One column: its type, and what a value must satisfy. ``text`` alone is short for ``{type: text}``."""

    model_config = ConfigDict(json_schema_extra=short_form({"enum": [*get_args(ColumnType)]}))

    type: ColumnType
    """What is stored: text, integer (bigint), float (double precision), decimal (numeric), boolean, timestamp
    (timestamptz, UTC), date, time, uuid, json (jsonb) or bytes (bytea)."""
    list: bool = False
    """An array of the type."""
    null: bool = False
    """Whether the column may be null."""
    default: Any = None
    """The value that stands for an absent or null one."""
    min: Any = None
    """The smallest value allowed."""
    max: Any = None
    """The largest value allowed."""
    min_length: int | None = Field(default=None, ge=0)
    """The fewest characters (bytes for `bytes`, items for a list) allowed."""
    max_length: int | None = Field(default=None, ge=0)
    """The most characters (bytes for `bytes`, items for a list) allowed."""
    scale: int | None = Field(default=None, ge=0)
    """The most digits of a decimal after the point, zeros at the end aside."""
    pattern: str | None = None
    """A regular expression that the whole text must match."""
    values: tuple[Scalar, ...] | None = None
    """The values allowed."""
    clean: tuple[Cleaning, ...] = ()
    """Cleaning of text before it is checked; text is always trimmed."""
    trim: bool = True
    """Whether text loses white space at both ends; empty text is null."""
    format: str | tuple[str, ...] | None = None
    """How a timestamp, date or time is written: iso8601, epoch_s, epoch_ms, epoch_us, epoch_ns or a strptime
    pattern; the first of several that fits."""
    timezone: str | None = None
    """The zone of a timestamp that is written without one, such as Europe/London."""
    on_invalid: OnInvalid | None = None
    """What becomes of a record whose value does not satisfy: quarantine (default), null or drop."""

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        return {"type": value} if isinstance(value, str) else value


class Table(Settings):
    """A table: columns, the key that identifies a row, and the version that says which of two is newer."""

    mode: Mode = "upsert"
    """upsert: a record inserts its row or updates it. append: every record becomes a new row, exactly once, because
    the feed's position commits with it. update: a record whose row does not exist is left out, counted as filtered."""
    key: tuple[str, ...] = Field((), json_schema_extra={"type": ["array", "string"]})
    """The columns that identify a row; they become the primary key. With `mode: append` it may be left out, and is a
    plain index otherwise."""
    version: str | None = None
    """The column that orders versions of a row: an older record never overwrites a newer one. Without it the
    record that arrived last wins."""
    history: bool = False
    """Keep every version in a second table, `NAME_history`, with the same columns and `valid_from`, `valid_to` (null:
    valid now). Needs a `version` of type timestamp."""
    columns: dict[str, Column] = {}
    """The columns by name, in order."""
    model: str | None = None
    """In place of `columns`, an SQLAlchemy class whose table is there already: `my_package.models:Match`. Its types,
    rules and primary key hold; Headrace never makes or changes the table."""
    indexes: tuple[tuple[str, ...], ...] = ()
    """Further indexes, each a list of columns."""
    on_invalid: OnInvalid = "quarantine"
    """What becomes of a record with a value that does not satisfy its column."""

    @model_validator(mode="after")
    def _some_columns(self) -> "Table":
        if not self.columns and self.model is None:
            raise ValueError("a table needs `columns`, or a `model`")
        return self

    @field_validator("key", mode="before")
    @classmethod
    def _single_key(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value
