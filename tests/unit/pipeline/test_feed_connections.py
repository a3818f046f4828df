"""A feed of several connections: parts and redundant copies, each with a life of its own."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Literal

from pydantic import PrivateAttr

from service.buffer.memory import Memory
from service.config.settings import Provider as ProviderSettings
from service.errors import SourceLost, SourceRefused
from service.model import Message
from service.pipeline.feed import Feed
from service.pipeline.gaps import META
from service.pipeline.inlet import Inlet
from service.provider import Provider
from service.sources import Link, Source

Act = Callable[[Link], Awaitable[None]]


class Part(Source):
    """Does what the test says, each time that it is run; the last act again and again."""

    kind: Literal["part"] = "part"
    _acts: list[Act] = PrivateAttr(default_factory=list)

    async def run(self, link: Link) -> None:
        await (self._acts.pop(0) if len(self._acts) > 1 else self._acts[0])(link)


class Divided(Source):
    """Consists of parts."""

    kind: Literal["divided"] = "divided"
    redundant: int = 1
    _parts: list[Part] = PrivateAttr(default_factory=list)

    @property
    def copies(self) -> int:
        return self.redundant

    def parts(self) -> Sequence[Source]:
        return self._parts

    async def run(self, link: Link) -> None:
        raise NotImplementedError


def part(*acts: Act) -> Part:
    made = Part(into="t", map={})
    made._acts.extend(acts)
    return made


async def feed(*parts: Part, copies: int = 1, **settings: Any) -> tuple[Feed, Any]:
    source = Divided(into="t", map={}, redundant=copies, **settings)
    source._parts.extend(parts)
    rest: dict[str, Any] = {"kind": "rest", "into": "t", "map": {}}
    provider = Provider("acme", ProviderSettings.model_validate({"url": "http://127.0.0.1:1", "feeds": {"f": rest}}))
    lane = await Memory(1 << 20, ["acme.f"]).lane("acme.f")
    return Feed("acme.f", source, provider, Inlet(lane, 1 << 20)), lane


async def run_until(tested: Feed, condition: Callable[[], bool]) -> None:
    stop = asyncio.Event()
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        appending = group.create_task(tested._inlet.run())
        running = group.create_task(tested.run(stop))
        while not condition():
            await asyncio.sleep(0.005)
        stop.set()
        await running
        await tested.settled()
        appending.cancel()


async def stays(link: Link) -> None:
    link.alive()
    await asyncio.Event().wait()


async def kept(lane: Any) -> list[Message]:
    lane.close()
    group = await lane.read(0, 1 << 20)
    return list(group.messages) if group is not None else []


async def bodies(lane: Any) -> list[bytes]:
    return [message.body for message in await kept(lane) if message.meta is None]


async def causes(lane: Any) -> list[str]:
    """Give why nobody listened, as often as it was noted."""
    return [
        message.meta[META]["cause"] for message in await kept(lane) if message.meta and "cause" in message.meta[META]
    ]


def says(*numbers: int, then: Act = stays) -> Act:
    async def act(link: Link) -> None:
        for number in numbers:
            await link.emit([Message(b"%d" % number, 1.0)])
        await then(link)

    return act


async def lost(_link: Link) -> None:
    raise SourceLost("cut")


async def refused(_link: Link) -> None:
    raise SourceRefused("401: no")


async def test_the_first_copy_wins_and_one_that_dies_is_no_outage() -> None:
    turn: list[Act] = [says(1, 2, 3, then=stays), says(1, 2, 3, 4, 5, then=lost), lost]
    tested, lane = await feed(part(*turn), copies=2)
    await run_until(tested, lambda: tested.reconnects >= 1)
    assert tested.state in {"live", "quiet"}
    assert tested.up
    assert tested.last_error == "cut"
    assert set(await causes(lane)) == {"restart"}  # before this run, and after it
    assert await bodies(lane) == [b"1", b"2", b"3", b"4", b"5"]
    shown = tested.connections()
    assert [each["first"] for each in shown] == [3, 2]
    assert [each["later"] for each in shown] == [0, 3]


async def test_all_copies_down_is_one_gap_and_an_outage() -> None:
    tested, lane = await feed(part(says(1, then=lost), says(1, then=lost), lost), copies=2)
    await run_until(tested, lambda: tested.reconnects >= 2 and tested.state == "reconnecting")
    assert set(await causes(lane)) == {"restart", "reconnect"}


async def test_a_feed_is_as_well_as_the_worst_of_its_parts() -> None:
    tested, lane = await feed(part(says(1)), part(refused), part(says(2)))
    await run_until(tested, lambda: tested.state == "parked" and tested.last_message_at is not None)
    assert tested.last_error == "401: no"
    assert [each["state"] for each in tested.connections()][:2] == ["live", "parked"]
    assert b"1" in await bodies(lane)


async def test_connections_do_not_all_begin_at_once() -> None:
    moments: list[float] = []

    async def note(link: Link) -> None:
        moments.append(asyncio.get_running_loop().time())
        await stays(link)

    tested, _ = await feed(part(note), part(note), part(note))
    await run_until(tested, lambda: len(moments) == 3)
    assert moments[1] - moments[0] > 0.1
    assert moments[2] - moments[1] > 0.1


async def test_each_part_goes_on_from_its_own_position() -> None:
    seen: dict[int, Any] = {}

    def resuming(number: int) -> Act:
        async def act(link: Link) -> None:
            seen[number] = link.position
            await link.emit([Message(b"x%d" % number, 1.0, {"at": number + 10})])
            await stays(link)

        return act

    tested, lane = await feed(part(resuming(0)), part(resuming(1)))
    tested.position = {"parts": {"0": {"at": 5}}}
    await run_until(tested, lambda: len(seen) == 2)
    assert seen == {0: {"at": 5}, 1: None}
    assert lane.last_position == {"parts": {"0": {"at": 10}, "1": {"at": 11}}}
    again, _ = await feed(part(resuming(0)), part(resuming(1)))
    again.position = lane.last_position
    await run_until(again, lambda: len(seen) == 2 and seen[1] is not None)
    assert seen == {0: {"at": 10}, 1: {"at": 11}}


async def test_a_position_of_another_number_of_parts_is_not_used() -> None:
    single, _ = await feed(part(stays))
    single.position = {"parts": {"0": {"at": 5}}}
    double, _ = await feed(part(stays), part(stays))
    double.position = {"at": 5}
    assert [each.position for each in (single, double)] == [None, None]


async def test_a_feed_without_data_for_longer_than_its_freshness_is_stale() -> None:
    tested, _ = await feed(part(says(1)), freshness="50ms")
    await run_until(tested, lambda: tested.last_message_at is not None)
    assert tested.freshness == 0.05
    assert tested.silence is not None
    assert tested.silence > 0.05  # the message is dated long ago
    assert tested.state == "stale"


async def test_a_stale_subscription_makes_the_feed_stale_unless_another_copy_has_data() -> None:
    class Some:
        what = "subscriptions"

        def __init__(self, state: str) -> None:
            self.state = state

        def counts(self) -> dict[str, int]:
            return {self.state: 1}

        def troubles(self) -> dict[str, str]:
            return {"A": "no data for 5 s"} if self.state == "stale" else {}

        def is_heard(self) -> bool:
            return True

    def follows(state: str) -> Act:
        async def act(link: Link) -> None:
            link.follow(Some(state))
            await stays(link)

        return act

    tested, _ = await feed(part(follows("stale")))
    await run_until(tested, lambda: tested.state == "stale")
    assert tested.connections()[0]["troubles"] == {"A": "no data for 5 s"}
    tested, _ = await feed(part(follows("stale"), follows("live")), copies=2)
    await run_until(tested, lambda: len([each for each in tested.connections() if "subscriptions" in each]) == 2)
    assert tested.state != "stale"


async def test_a_connection_listens_once_all_that_it_subscribes_to_is_confirmed() -> None:
    class Confirmed:
        what = "subscriptions"

        def __init__(self) -> None:
            self.pending = 2

        def counts(self) -> dict[str, int]:
            return {"pending": self.pending} if self.pending else {"silent": 2}

        def troubles(self) -> dict[str, str]:
            return {}

        def is_heard(self) -> bool:
            return self.pending == 0

    confirmed, heard = Confirmed(), list[bool]()

    async def act(link: Link) -> None:
        link.follow(confirmed)
        for pending in (2, 1, 0):
            confirmed.pending = pending
            link.alive()
            heard.append(not tested._coverage._away)
        await stays(link)

    tested, lane = await feed(part(act))
    await run_until(tested, lambda: len(heard) == 3 and len(lane._messages) == 2)
    assert heard == [False, False, True]
    assert [sorted(message.meta[META]) for message in lane._messages][:2] == [["cause", "from"], ["to"]]
