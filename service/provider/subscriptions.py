"""The subscriptions of one connection: what each was told, when it last had data, and what is to be done about it."""

from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Any, Literal, TypeAlias

from service.errors import SourceLost, SourceRefused
from service.provider.matching import Frame, Index, Rule
from service.provider.subscription import Acknowledge, Subscription, Wanted, wanted
from service.provider.template import Unfilled, fill, message
from service.provider.template import texts as texts_of

State: TypeAlias = Literal["pending", "silent", "live", "stale", "refused"]
"""Not confirmed yet; confirmed, without data yet; with data; without data for too long; refused by the provider."""

REFUSED_AGAIN = 60.0
"""Seconds after which a refused subscription is asked for again: the provider may have changed its mind."""
SILENT_AFTER = 300.0
"""Seconds without any data after which a subscription counts as stale where no freshness is set; only shown."""


class Held:
    """One subscription of a connection."""

    def __init__(self, what: Wanted, name: str, freshness: float | None) -> None:
        self.spec = what.spec
        self.item = what.item
        self.name = name
        self.freshness = what.spec.freshness or freshness
        self.state: State = "pending"
        self.since = 0.0
        self.again = False
        self.reason = ""


class Subscriptions:
    """Keeps the subscriptions of one connection. It sends nothing and knows no clock: both are the caller's.

    Times are seconds of the caller's clock, which should stand still while nothing is read.

    Args:
        specs: what to subscribe to.
        acknowledge: how those without a `confirm` of their own are confirmed.
        freshness: seconds without data after which those without their own are stale; None: they are never renewed.
        where: the address, for errors.
        said: shortens what a provider said and blanks out secrets.
        missed: told for how many seconds what should have had data had none.

    Attributes:
        due: when ``look`` has to be called, at the latest.
    """

    what = "subscriptions"

    def __init__(
        self,
        specs: Sequence[Subscription],
        acknowledge: Acknowledge | None,
        freshness: float | None,
        where: str,
        said: Callable[[bytes], str],
        missed: Callable[[float], None],
    ) -> None:
        everything = enumerate(wanted(specs), 1)
        self._all = [Held(what, what.name(number), freshness) for number, what in everything]
        self._acknowledge = acknowledge
        self._confirmed = Rule(acknowledge.match) if acknowledge is not None else None
        self._where = where
        self._said = said
        self._missed = missed
        self._number = 0
        self._values: Mapping[str, Any] = {}
        self._confirm: Index[Held] = Index()
        self._refuse: Index[Held] = Index()
        self._data: Index[Held] = Index()
        self._undivided = [held for held in self._all if held.spec.data is None]
        self._anything = 0.0
        self.due = 0.0

    def begin(self, now: float, values: Mapping[str, Any]) -> list[str]:
        """Give the messages that subscribe to everything.

        Args:
            now: the time.
            values: of the handshake, and what to resume from.

        Raises:
            SourceRefused: the handshake did not give a value that is to be sent.
        """
        self._values = values
        self._anything = now
        texts: list[str] = []
        group: list[Held] = []
        for held in self._all:
            if group and (held.spec is not group[0].spec or len(group) == held.spec.batch):
                texts += self._ask(group, now)
                group = []
            group.append(held)
        return [*texts, *(self._ask(group, now) if group else ())]

    def signs(self) -> list[bytes]:
        """Give bytes of which a message holds at least one if it has to be noted."""
        signs = [*self._confirm.signs(), *self._refuse.signs(), *self._data.signs()]
        return [*signs, self._confirmed.sign] if self._confirmed is not None else signs

    def note(self, frame: Frame, now: float) -> bool:
        """Note what a message says; return whether it is the protocol's, and no data.

        Raises:
            SourceRefused: it refuses the last subscription that was left.
        """
        if self._confirm and (found := self._confirm.find(frame)):
            for held in found:
                self._confirm_one(held, frame, now)
            return True
        if self._refuse and (found := self._refuse.find(frame)):
            self._refuse_all(found, frame, now)
            return True
        if self._confirmed is not None and self._confirmed.holds(frame):
            waiting = (held for held in self._all if held.state == "pending" and held.spec.confirm is None)
            for held in islice(waiting, 1):
                self._confirm_one(held, frame, now)
            return True
        if self._data:
            for held in self._data.find(frame):
                self._fresh(held, now)
        return False

    def data(self, now: float) -> None:
        """Note that there were data: they are signs of life of every subscription that does not tell its own."""
        if now > self._anything:
            self._anything = now
            for held in self._undivided:
                if held.state in {"silent", "stale"}:
                    self._fresh(held, now)

    def look(self, now: float) -> list[str]:
        """Give the messages that are to be sent now: for what is stale, and for what was refused a while ago.

        Raises:
            SourceLost: a subscription was not confirmed in time, or is stale although it was begun again.
        """
        if now < self.due:
            return []
        texts: list[str] = []
        self._unconfirmed(now)
        overdue = [held for held in self._all if held.freshness is not None and self._overdue(held, now)]
        if overdue:
            self._missed(max(now - self._last(held) for held in overdue))
        for held in self._all:
            if held.state == "refused" and now - held.since >= REFUSED_AGAIN:
                texts += self._ask([held], now)
            elif self._overdue(held, now):
                texts += self._renew(held, now)
        self.due = min((self._deadline(held) for held in self._all), default=float("inf"))
        return texts

    def counts(self) -> dict[str, int]:
        """Give how many are in which state."""
        counts: dict[str, int] = {}
        for held in self._all:
            counts[held.state] = counts.get(held.state, 0) + 1
        return counts

    def troubles(self) -> dict[str, str]:
        """Give what is wrong, by name."""
        troubled = (held for held in self._all if held.state in {"stale", "refused"})
        return {held.name: held.reason or held.state for held in troubled}

    def is_heard(self) -> bool:
        """Whether all are confirmed, and none was begun again that has yet to be heard."""
        return not any(held.state == "pending" or held.again for held in self._all)

    def _ask(self, group: Sequence[Held], now: float) -> list[str]:
        """Give the message that subscribes to some things, and expect the answers to it."""
        self._number += 1
        spec = group[0].spec
        self.due = now
        for held in group:
            places = self._places(group, held)
            for index, match in ((self._confirm, spec.confirm), (self._refuse, spec.refuse)):
                index.discard(held)
                if match is not None:
                    index.add(Rule(self._filled(match, places)), held)
            if not self._told_late(spec):
                self._expect_data(held, places)
            held.since = now
            if held.state != "stale":
                held.state = "pending" if self._answered(spec) else "silent"
        return [] if spec.send is None else [self._message(spec.send, self._places(group, group[0]))]

    def _places(self, group: Sequence[Held], held: Held) -> dict[str, Any]:
        return {**self._values, "item": held.item, "items": [each.item for each in group], "number": self._number}

    def _message(self, template: Any, places: dict[str, Any]) -> str:
        try:
            return message(template, places)
        except Unfilled as error:
            raise SourceRefused(f"{self._where}: a subscription: {error}") from None

    def _filled(self, template: Any, places: dict[str, Any]) -> Any:
        try:
            return fill(template, places)
        except Unfilled as error:
            raise SourceRefused(f"{self._where}: a subscription: {error}") from None

    def _expect_data(self, held: Held, places: dict[str, Any]) -> None:
        self._data.discard(held)
        if held.spec.data is not None:
            self._data.add(Rule(self._filled(held.spec.data, places)), held)

    def _told_late(self, spec: Subscription) -> bool:
        """Whether only the confirmation says what the data contain."""
        return spec.confirm is not None and any("{reply" in text for text in texts_of(spec.data))

    def _answered(self, spec: Subscription) -> bool:
        return spec.send is not None and (spec.confirm is not None or self._acknowledge is not None)

    def _confirm_one(self, held: Held, frame: Frame, now: float) -> None:
        if self._told_late(held.spec):
            self._expect_data(held, {**self._places([held], held), "reply": frame.document})
        if held.state in {"pending", "refused"}:
            held.state, held.since, held.reason = "silent", now, ""
            self.due = now

    def _refuse_all(self, refused: Sequence[Held], frame: Frame, now: float) -> None:
        said = self._said(frame.body)
        for held in refused:
            held.state, held.since, held.reason = "refused", now, f"refused: {said}"
        self.due = now
        if all(held.state == "refused" for held in self._all):
            raise SourceRefused(f"{self._where}: subscription refused: {said}")

    def _fresh(self, held: Held, now: float) -> None:
        held.state, held.since, held.again, held.reason = "live", now, False, ""

    def _limit(self, held: Held) -> float:
        """Give the seconds that it may be in its state."""
        if held.state == "pending":
            confirm = held.spec.confirm is None and self._acknowledge is not None
            return self._acknowledge.timeout if confirm and self._acknowledge is not None else held.spec.timeout
        if held.state == "refused":
            return REFUSED_AGAIN
        if held.freshness is not None:
            return held.freshness
        return SILENT_AFTER if held.state == "silent" else float("inf")

    def _last(self, held: Held) -> float:
        """Give when its state was last true."""
        if held.spec.data is None and held.state == "live":
            return max(held.since, self._anything)
        return held.since

    def _deadline(self, held: Held) -> float:
        return self._last(held) + self._limit(held)

    def _overdue(self, held: Held, now: float) -> bool:
        return held.state in {"silent", "live", "stale"} and now >= self._deadline(held)

    def _unconfirmed(self, now: float) -> None:
        late = [held for held in self._all if held.state == "pending" and now >= self._deadline(held)]
        if late:
            missing = sum(held.state == "pending" for held in self._all)
            limit = self._limit(late[0])
            raise SourceLost(f"{self._where}: {missing} subscriptions not acknowledged for {limit:g} s")

    def _renew(self, held: Held, now: float) -> list[str]:
        limit = self._limit(held)
        what = f"{held.name}: no data for {limit:g} s"
        held.reason, held.state = f"no data for {limit:g} s", "stale"
        if held.freshness is None:  # a guess of ours: it is shown, and nothing is done
            held.since = now
            return []
        if held.spec.unsubscribe is None:
            raise SourceLost(f"{self._where}: {what}")
        if held.again:
            raise SourceLost(f"{self._where}: {what}, although it was unsubscribed and subscribed again")
        held.again = True
        return [self._message(held.spec.unsubscribe, self._places([held], held)), *self._ask([held], now)]
