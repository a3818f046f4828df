"""What all kinds of feed have in common: which records they carry and how those become rows."""

from collections.abc import Iterable
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

from pydantic import ConfigDict, Field, field_validator, model_validator

from service.config.connectors import Connector, OneOf, Settings, short_form
from service.config.sequence import OnGap, Sequence
from service.config.tables import Scalar
from service.config.units import Breaker, Duration, MemoryWindow


class MapValue(Settings):
    """Where the value of a column comes from. ``a.b[0].c`` alone is short for ``{from: a.b[0].c}``."""

    model_config = ConfigDict(json_schema_extra=short_form({"type": "string"}))

    from_: tuple[str, ...] = Field((), alias="from", json_schema_extra={"type": ["array", "string"]})
    """Dotted paths into the record; the first that is present wins. Names that begin with `$` come from the
    envelope: $record $provider $feed $received_at $position $params.NAME."""
    const: Any = None
    """A constant."""
    values: dict[str, Scalar | None] | None = None
    """What each value of the provider becomes; any other is refused unless `otherwise` is set."""
    otherwise: Scalar | None = None
    """What a value that `values` does not list becomes."""
    default: Scalar | None = None
    """What an absent or null value becomes."""
    expr: str | None = None
    """A CEL expression over the record's fields (an absent one is null; the whole is `record`)."""

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"from": (value,)}
        if isinstance(value, dict) and isinstance(value.get("from"), str):
            return {**value, "from": (value["from"],)}
        return value

    @model_validator(mode="after")
    def _one_origin(self) -> "MapValue":
        if bool(self.from_) + ("const" in self.model_fields_set) + (self.expr is not None) != 1:
            raise ValueError("a mapped column needs either `from` (a path), `const` (a constant) or `expr` (CEL)")
        return self

    @property
    def is_constant(self) -> bool:
        """Whether it is the same for all records of a feed."""
        return "const" in self.model_fields_set or self.from_ in {("$provider",), ("$feed",)}


Map: TypeAlias = dict[str, MapValue]
"""For each column of a table, where its value comes from."""


class Route(Settings):
    """One kind of record, the table that it is loaded into, and how."""

    into: str
    """The table that the records are loaded into."""
    map: Map
    """For each column of the table, where its value comes from."""
    where: str | None = None
    """A CEL expression; the first route for which it is true takes the record. Without it the route takes every
    record that comes to it."""
    delete_when: str | None = None
    """A CEL expression; a record for which it is true deletes the row of its key."""
    partial: bool = False
    """Whether a record is a delta: only the columns that it carries are written."""


class FeedSettings(Connector):
    """One live source of a provider.

    Attributes:
        replayable: whether the provider can be asked again for what was missed, so that nothing is lost while
            we are away; a source that only hears what is said while it listens leaves this False.
        pushed: whether the provider speaks without being asked, so that what it says while we are away is missed.
        whole_sets: whether its messages can say which set they belong to and which is the last (`Message.meta`).
        missed: half a sentence on what is never received, and when.
    """

    replayable: ClassVar[bool] = False
    pushed: ClassVar[bool] = True
    whole_sets: ClassVar[bool] = False
    missed: ClassVar[str] = "what the provider sends while the connection is down is never received"

    into: str | None = None
    """The table that the records are loaded into."""
    map: Map | None = None
    """For each column of the table, where its value comes from. Only with `transform` it may be left out: then each
    column comes from the field of its own name."""
    routes: tuple[Route, ...] = ()
    """In place of `into` and `map`, where the feed carries several kinds of record. One that no route takes is counted
    as filtered."""
    transform: str | None = None
    """`package.module:function`, a function of your own that makes records of records before they are mapped."""
    records: str | None = None
    """Where the list of records lies in a message, dotted; by default the message itself is the list, or the
    one record."""
    where: str | None = None
    """A CEL expression over a record's fields (an absent one is null; the whole is `record`); records for
    which it is not true are counted as filtered."""
    delete_when: str | None = None
    """A CEL expression as in `where`; a record for which it is true deletes the row of its key. Of such a record only
    the key columns and the version are looked at."""
    absent: Literal["delete", "mark"] | None = None
    """What becomes of rows that are no longer in the full set that the feed sends: they are deleted, or the column
    `absent_since` says since when. Only rows that carry the constants which the feed maps to key columns."""
    partial: bool = False
    """Whether a record is a delta: only the columns that it carries are written, and each column keeps its newest
    version. An explicit null is written, an absent field leaves its column as it is."""
    wait_for_row: Duration = Field(default=30.0, ge=0)
    """How long a delta whose row does not exist, and which cannot make one, waits for it before it is quarantined."""
    snapshot: tuple[str, ...] = Field(default=(), json_schema_extra={"type": ["array", "string"]})
    """The columns of the key, such as `symbol`, of which each answer is the full set: all rows with its value in them,
    as of the greatest `version` in it. Rows with that value that are not in it go, unless they are newer."""
    weight: int = Field(default=1, ge=1)
    """What one request of this feed counts against the provider's `rate_limit`."""
    freshness: Duration | None = Field(default=None, gt=0)
    """The longest time without data before the feed is `stale`. By default it is learned from the pace of the data, and
    only shown; where it is set, feeds that are able to ask anew do so."""
    when_full: Literal["block", "conflate"] = "block"
    """What happens when the buffer is full: `block` lets the source wait; `conflate` drops, of what waits, records of
    which a newer one of the same key waits too, and counts them as stale."""
    format: Annotated[Connector, OneOf("service.formats")] = Field(default="json", validate_default=True)
    """How a message is decoded."""
    dedupe: MemoryWindow | None = None
    """Leave out a row that is the same as the last of its key: for how long (`10m`), or among how many keys
    (`1000000`). It spares the database work and is not needed for correct tables."""
    on_drift: Literal["ignore", "warn", "quarantine"] = "warn"
    """What becomes of records when a field vanishes or changes its type: nothing; a warning in the log and in
    `/status`, as for a new field; or quarantine, which looks at every record, where a warning rests on samples."""
    breaker: Breaker = 1000
    """The feed parks when more than half of the last so many records are refused, rather than filling the quarantine;
    `off`: never."""

    sequence: Sequence | None = None
    """The numbers of the feed's messages, which tell gaps."""
    on_gap: OnGap | None = None
    """What repairs a gap of a feed without `sequence`: the time that a connection, or the daemon, was away."""

    def polls_per_second(self) -> float:
        """Give how often the provider is asked; 0 for a feed that only listens."""
        return 0.0

    @property
    def repair(self) -> OnGap | None:
        """What repairs a gap."""
        return self.sequence.on_gap if self.sequence is not None else self.on_gap

    @property
    def branches(self) -> tuple[Route, ...]:
        """The routes; a feed without any has one, made of its own options. A missing map is left to the table."""
        if self.routes or self.into is None:
            return self.routes
        options: Any = {"where": None, "delete_when": self.delete_when, "partial": self.partial}
        return (Route.model_construct(into=self.into, map=self.map or {}, **options),)

    @model_validator(mode="after")
    def _one_way(self) -> "FeedSettings":
        own = [option for option in ("into", "map", "delete_when", "absent") if getattr(self, option) is not None]
        own += ["partial"] if self.partial else []
        if self.routes and own:
            raise ValueError(f"with `routes`, `{own[0]}` has no place beside them")
        if not self.routes and self.into is None:
            raise ValueError("a feed needs `into` and `map`, or `routes`")
        if not self.routes and self.map is None and self.transform is None:
            raise ValueError("a feed needs a `map` for its `into`")
        return self

    @model_validator(mode="after")
    def _waits_for_rows(self) -> "FeedSettings":
        if "wait_for_row" in self.model_fields_set and not any(branch.partial for branch in self.branches):
            raise ValueError("`wait_for_row` belongs to a feed, or a route, with `partial: true`")
        return self

    def secrets(self) -> Iterable[str]:
        """Give texts, besides those in headers, that must not be shown."""
        return ()

    @field_validator("snapshot", mode="before")
    @classmethod
    def _single_column(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @model_validator(mode="after")
    def _whole_sets(self) -> "FeedSettings":
        for option in ("absent", "snapshot"):
            if getattr(self, option) and not self.whole_sets:
                raise ValueError(f"`{option}` needs a feed that always sends the full set, such as kind rest")
        if self.snapshot and (self.absent is not None or self.routes):
            raise ValueError("`snapshot` is for rows of one table, in place of `absent`")
        return self

    @model_validator(mode="after")
    def _conflates_what_is_pushed(self) -> "FeedSettings":
        if self.when_full == "conflate" and self.replayable:
            raise ValueError("`when_full: conflate` is for feeds that are pushed to us; this one is simply asked later")
        if self.when_full == "conflate" and (self.routes or self.transform or self.on_drift == "quarantine"):
            raise ValueError(
                "`when_full: conflate` needs to know at once what a record becomes: one table, and no `transform`"
            )
        return self

    @model_validator(mode="after")
    def _numbers_what_is_pushed(self) -> "FeedSettings":
        for option in ("sequence", "on_gap"):
            if getattr(self, option) is not None and not self.pushed:
                raise ValueError(f"`{option}` is for feeds that are pushed to us; this one is simply asked again")
        if self.sequence is not None and self.on_gap is not None:
            raise ValueError("with `sequence`, `on_gap` stands inside it")
        if self.sequence is not None and self.when_full == "conflate":
            raise ValueError("`sequence` counts every message, and `when_full: conflate` drops some; use `block`")
        return self
