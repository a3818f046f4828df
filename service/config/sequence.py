"""Sequences: how the numbers of a feed's messages are read, and what is done about a gap."""

from typing import Self

from pydantic import Field, model_validator

from service.config.connectors import Settings
from service.config.units import Duration

MAX_NUMBER = 1 << 62
"""Numbers from here on are not understood: they would not fit where positions are kept."""

MAX_KEY = 500
"""Characters of a `key` or an `epoch`; longer ones are not understood: the index of those that are kept has no room."""


class OnGap(Settings):
    """What repairs a gap: a rest feed of the same provider is asked anew."""

    refetch: str
    """The rest feed. By itself it is polled at once, as by hand; a gap is filled once all that the poll brought is in
    the tables."""
    after: Duration = Field(default=0.0, ge=0)
    """The time to wait before it is asked: for messages that come late, and for a REST side that lags behind."""
    params: dict[str, str | int | float | bool] = {}
    """In place of a poll, one request of the feed with these parameters besides its own. `{gap.key}`, `{gap.first}` and
    `{gap.last}` (the missing numbers), `{gap.from_time}` and `{gap.to_time}` stand for what is missing."""
    path: str | None = None
    """In place of a poll, one request to this path of the provider; places as in `params`."""
    number: str | None = None
    """Where the answer to such a request says up to which number it goes, dotted; it is asked again until that is
    beyond the gap."""

    @property
    def is_narrow(self) -> bool:
        """Whether each gap is asked for by itself."""
        return bool(self.params) or self.path is not None

    @model_validator(mode="after")
    def _number_of_a_request(self) -> Self:
        if self.number is not None and not self.is_narrow:
            raise ValueError("`number` is looked for in the answer to a request of its own: set `params` or `path`")
        return self


class Sequence(Settings):
    """The numbers of a feed's messages.

    Paths lead into the message itself, whatever `records` says; where the message is a list, into each of its items.
    """

    field: str | None = None
    """The number of a message."""
    first: str | None = None
    """With `last`: the first number that a message covers."""
    last: str | None = None
    """With `first`: the last number that a message covers."""
    previous: str | None = None
    """With `field`: the number of the message before, where numbers are not consecutive."""
    key: str | None = None
    """What each value of has a sequence of its own."""
    epoch: str | None = None
    """What changes when the numbers begin anew."""
    reset_when: str | None = None
    """A CEL expression as in `where`; a message for which it is true begins the numbers anew, and stands for all before
    it, as a snapshot does."""
    reset_below: int | None = None
    """A number below this one, after one that was not, begins the numbers anew."""
    wraps_at: int | None = Field(default=None, ge=1, lt=MAX_NUMBER)
    """The greatest number, after which comes `starts_at`."""
    starts_at: int = Field(default=0, ge=0)
    """The number that follows `wraps_at`."""
    on_gap: OnGap | None = None
    """What repairs a gap; without it, gaps are only written down."""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        pair = (self.first is not None, self.last is not None)
        if (self.field is None) == (pair == (False, False)) or pair[0] != pair[1]:
            raise ValueError("a sequence has either a `field` or `first` and `last`")
        if self.previous is not None and self.field is None:
            raise ValueError("`previous` belongs to a `field`; `first` says as much")
        if self.wraps_at is not None and self.starts_at >= self.wraps_at:
            raise ValueError("`starts_at` must be less than `wraps_at`")
        return self

    def paths(self) -> dict[str, str]:
        """Give the paths by option."""
        options = ("field", "first", "last", "previous", "key", "epoch")
        return {name: path for name in options if (path := getattr(self, name)) is not None}
