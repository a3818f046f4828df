"""What is subscribed to: the settings of subscriptions, how many a connection holds, and the messages they make."""

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, NamedTuple, Self

from pydantic import AfterValidator, Field, model_validator

from service.config.connectors import Settings
from service.config.tables import Scalar
from service.config.units import Duration
from service.provider.matching import Match
from service.provider.template import REPLIES, RESUME, check, fill

ITEM = frozenset({"item", "items", "number"})


def _sendable(template: Any) -> Any:
    return check(template, ITEM | REPLIES | {RESUME})


def _matchable(match: Any) -> Any:
    return check(match, ITEM | REPLIES)


Sent = Annotated[Any, AfterValidator(_sendable)]
_Told = Annotated[Match, AfterValidator(_matchable)]


class Acknowledge(Settings):
    """How the provider confirms a subscription."""

    match: Match
    """What a confirming message contains."""
    timeout: Duration = Field(default=10.0, gt=0)
    """The longest that a confirmation may take."""


class Subscription(Settings):
    """One subscription, or with `for` one for each item.

    In its texts `{item}` stands for the item, `{items}` for the list of those in one message, `{number}` for the number
    of the message.
    """

    send: Sent
    """What subscribes: a text, or a value that is sent as JSON."""
    for_: tuple[Scalar, ...] = Field(default=(), alias="for")
    """The items, such as symbols; each is a subscription of its own."""
    batch: int = Field(default=1, ge=1)
    """How many items go into one message."""
    name: Annotated[str, AfterValidator(_sendable)] | None = None
    """What the status calls it; by default the item, or the number."""
    confirm: _Told | None = None
    """What the message contains that confirms it; by default that of `acknowledge`, in the order of subscribing."""
    refuse: _Told | None = None
    """What the message contains that refuses it; the others go on."""
    data: _Told | None = None
    """What its data contain, to tell them from those of others."""
    unsubscribe: Sent = None
    """What ends it: then one that is stale is ended and begun again before the connection is given up."""
    timeout: Duration = Field(default=10.0, gt=0)
    """The longest that its confirmation may take."""
    freshness: Duration | None = Field(default=None, gt=0)
    """The longest time without its data before it is stale; by default that of the feed."""

    @model_validator(mode="after")
    def _items_are_used(self) -> Self:
        if self.batch > 1 and not self.for_:
            raise ValueError("`batch` says how many items of `for` go into one message; there are none")
        return self


class Wanted(NamedTuple):
    """One thing that is subscribed to: a subscription, and one of its items or None."""

    spec: Subscription
    item: Any

    def name(self, number: int) -> str:
        """Give what the status calls it; ``number`` is that among all of the connection, from 1."""
        if self.spec.name is not None:
            return str(fill(self.spec.name, {"item": self.item, "items": [self.item], "number": number}))
        return str(number) if self.item is None else str(self.item)


def wanted(specs: Sequence[Subscription]) -> Iterator[Wanted]:
    """Give everything that is subscribed to, in order."""
    for spec in specs:
        for item in spec.for_ or (None,):
            yield Wanted(spec, item)


def packed(specs: Sequence[Subscription], most: int | None) -> list[tuple[Subscription, ...]]:
    """Divide subscriptions among connections, each full before the next is begun.

    Args:
        specs: all of them.
        most: how many a connection may hold; None for no limit.

    Returns:
        For each connection its subscriptions; at least one connection.
    """
    everything = list(wanted(specs))
    if most is None or len(everything) <= most:
        return [tuple(specs)]
    return [_regrouped(everything[start : start + most]) for start in range(0, len(everything), most)]


def _regrouped(part: Sequence[Wanted]) -> tuple[Subscription, ...]:
    groups: list[tuple[Subscription, list[Any]]] = []
    for spec, item in part:
        if not groups or groups[-1][0] is not spec or item is None:
            groups.append((spec, []))
        groups[-1][1].append(item)
    return tuple(spec.model_copy(update={"for_": tuple(items)}) if spec.for_ else spec for spec, items in groups)
