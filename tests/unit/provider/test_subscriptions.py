"""What subscriptions are told, and what becomes of them, on a clock of the test's."""

from typing import Any

import orjson
import pytest

from service.errors import SourceLost, SourceRefused
from service.provider.matching import Frame
from service.provider.subscription import Acknowledge, Subscription
from service.provider.subscriptions import REFUSED_AGAIN, SILENT_AFTER, Subscriptions


def held(
    *specs: dict[str, Any],
    acknowledge: dict[str, Any] | None = None,
    freshness: float | None = None,
    lapses: list[float] | None = None,
) -> Subscriptions:
    return Subscriptions(
        [Subscription.model_validate(spec) for spec in specs],
        Acknowledge.model_validate(acknowledge) if acknowledge is not None else None,
        freshness,
        "ws://x",
        lambda body: body.decode()[:50],
        (lapses if lapses is not None else []).append,
    )


def frame(**document: Any) -> Frame:
    return Frame(orjson.dumps(document))


SYMBOLS = {
    "send": {"op": "sub", "s": "{item}", "id": "{number}"},
    "for": ["A", "B", "C"],
    "confirm": {"ok": "{number}"},
    "refuse": {"error": "*", "id": "{number}"},
    "data": {"s": "{item}"},
    "unsubscribe": {"op": "unsub", "s": "{item}"},
}


def test_each_is_confirmed_by_its_own_message_and_live_with_its_own_data() -> None:
    tested = held(SYMBOLS)
    assert tested.begin(0, {}) == [f'{{"op":"sub","s":"{s}","id":{n}}}' for n, s in enumerate("ABC", 1)]
    assert tested.counts() == {"pending": 3}
    assert tested.note(frame(ok=2), 1)
    assert tested.counts() == {"pending": 2, "silent": 1}
    assert not tested.note(frame(s="B", p=1), 2)
    assert not tested.note(frame(s="A", p=1), 2)  # data of one that is not confirmed yet confirm it
    assert tested.counts() == {"live": 2, "pending": 1}
    assert not tested.note(frame(s="Z"), 2)


def test_items_of_one_message_are_confirmed_and_refused_together() -> None:
    batch = {**SYMBOLS, "batch": 2, "send": {"subs": "{items}", "id": "{number}"}}
    tested = held(batch)
    assert tested.begin(0, {}) == ['{"subs":["A","B"],"id":1}', '{"subs":["C"],"id":2}']
    tested.note(frame(ok=1), 1)
    assert tested.counts() == {"silent": 2, "pending": 1}
    tested.note(frame(error="no such thing", id=2), 1)
    assert tested.counts() == {"silent": 2, "refused": 1}
    assert tested.troubles() == {"C": 'refused: {"error":"no such thing","id":2}'}


def test_a_refused_one_does_not_trouble_the_others_and_is_asked_for_again_later() -> None:
    tested = held(SYMBOLS)
    tested.begin(0, {})
    for message in (frame(ok=1), frame(ok=3), frame(error="x", id=2)):
        assert tested.note(message, 1)
    assert tested.look(REFUSED_AGAIN) == []
    assert tested.look(REFUSED_AGAIN + 1) == ['{"op":"sub","s":"B","id":4}']
    tested.note(frame(ok=4), REFUSED_AGAIN + 2)
    assert tested.counts() == {"silent": 3}
    assert tested.troubles() == {}


def test_when_the_last_is_refused_the_feed_is() -> None:
    tested = held({**SYMBOLS, "for": ["A", "B"]})
    tested.begin(0, {})
    tested.note(frame(error="x", id=1), 1)
    with pytest.raises(SourceRefused, match="subscription refused"):
        tested.note(frame(error="y", id=2), 1)


def test_one_that_is_not_confirmed_in_time_loses_the_connection() -> None:
    tested = held({**SYMBOLS, "timeout": "5s"})
    tested.begin(100, {})
    tested.note(frame(ok=1), 101)
    assert tested.look(104.9) == []
    with pytest.raises(SourceLost, match="2 subscriptions not acknowledged for 5 s"):
        tested.look(105)


def test_a_stale_one_is_begun_again_alone_before_the_connection_is_given_up() -> None:
    tested = held(SYMBOLS, freshness=30)
    tested.begin(0, {})
    for message in (frame(ok=1), frame(ok=2), frame(ok=3)):
        tested.note(message, 0)
    for now in range(1, 30):
        for symbol in "AC":
            tested.note(frame(s=symbol), now)
    assert tested.look(30) == ['{"op":"unsub","s":"B"}', '{"op":"sub","s":"B","id":4}']
    assert tested.counts() == {"live": 2, "stale": 1}
    assert tested.troubles() == {"B": "no data for 30 s"}
    tested.note(frame(ok=4), 31)
    assert tested.counts() == {"live": 2, "stale": 1}  # a confirmation is no data
    tested.note(frame(s="B"), 32)
    assert tested.counts() == {"live": 3}


def test_one_that_stays_stale_loses_the_connection_and_says_which() -> None:
    tested = held(SYMBOLS, freshness=30)
    tested.begin(0, {})
    for message in (frame(ok=1), frame(ok=2), frame(ok=3)):
        tested.note(message, 0)
    assert len(tested.look(30)) == 6
    for now in (40, 50):
        tested.note(frame(s="A"), now)
        tested.note(frame(s="B"), now)
    with pytest.raises(SourceLost, match="C: no data for 30 s, although it was unsubscribed"):
        tested.look(60)


def test_without_a_way_to_unsubscribe_a_stale_one_loses_the_connection_at_once() -> None:
    tested = held({"send": "a"}, freshness=30)
    tested.begin(0, {})
    tested.data(10)
    assert tested.look(30) == []
    with pytest.raises(SourceLost, match="no data for 30 s"):
        tested.look(40)


def test_where_no_freshness_is_set_silence_is_shown_and_nothing_is_done() -> None:
    tested = held(SYMBOLS)
    tested.begin(0, {})
    for message in (frame(ok=1), frame(ok=2), frame(ok=3), frame(s="A")):
        tested.note(message, 0)
    assert tested.look(SILENT_AFTER) == []
    assert tested.counts() == {"live": 1, "stale": 2}
    assert tested.look(100 * SILENT_AFTER) == []
    tested.note(frame(s="B"), 100 * SILENT_AFTER)
    assert tested.counts() == {"live": 2, "stale": 1}


def test_confirmations_that_name_nobody_confirm_in_the_order_of_subscribing() -> None:
    tested = held({"send": "a"}, {"send": "b"}, acknowledge={"match": {"ok": True}, "timeout": "5s"})
    tested.begin(0, {})
    assert tested.note(frame(ok=True), 1)
    assert tested.counts() == {"silent": 1, "pending": 1}
    assert tested.note(frame(ok=True), 1)
    assert tested.note(frame(ok=True), 1)  # one too many is still no data
    tested.data(2)
    assert tested.counts() == {"live": 2}


def test_data_can_be_known_by_what_the_confirmation_says() -> None:
    spec = {
        "send": {"event": "subscribe", "symbol": "{item}"},
        "for": ["tBTC", "tETH"],
        "confirm": {"event": "subscribed", "symbol": "{item}"},
        "data": {"[0]": "{reply.chanId}"},
    }
    tested = held(spec)
    tested.begin(0, {"reply": {"chanId": 17}})  # an earlier reply is not meant
    assert not tested.note(Frame(b"[17,[1,2]]"), 1)
    assert tested.counts() == {"pending": 2}
    tested.note(frame(event="subscribed", symbol="tETH", chanId=17), 1)
    assert not tested.note(Frame(b"[17,[1,2]]"), 2)
    assert tested.counts() == {"pending": 1, "live": 1}


def test_what_the_handshake_did_not_say_cannot_be_sent() -> None:
    tested = held({"send": {"session": "{reply.session}"}})
    with pytest.raises(SourceRefused, match=r"no \{reply.session\}"):
        tested.begin(0, {"reply": {}})


def test_five_thousand_begin_and_are_watched_quickly_enough_for_a_busy_feed() -> None:
    tested = held({**SYMBOLS, "for": [f"S{n}" for n in range(5000)]}, freshness=30)
    assert len(tested.begin(0, {})) == 5000
    for number in range(5000):
        tested.note(frame(ok=number + 1), 1)
    assert tested.counts() == {"silent": 5000}
    tested.look(1)
    due = tested.due
    for _ in range(100_000):  # looking costs nothing before something is due
        tested.look(2)
    assert tested.due == due


def test_what_falls_silent_is_told_with_its_silence_and_is_not_heard_until_it_has_data_again() -> None:
    lapses: list[float] = []
    tested = held(SYMBOLS, {"send": "quiet", "data": {"s": "Z"}}, lapses=lapses)
    for each in tested._all[:3]:
        each.freshness = 10
    tested.begin(0, {})
    for number in (1, 2, 3):
        tested.note(frame(ok=number), 0)
    for number, symbol in ((1, "A"), (4, "B"), (8, "C")):
        tested.note(frame(s=symbol), number)
    assert tested.is_heard()
    tested.look(15)  # A since 14 s, B since 11 s
    assert lapses == [14]
    tested.note(frame(ok=5), 16)
    tested.note(frame(s="A"), 16)
    assert not tested.is_heard()
    tested.note(frame(s="B"), 17)
    assert tested.is_heard()
    tested.note(frame(s="C"), SILENT_AFTER)
    tested.note(frame(s="A"), SILENT_AFTER)
    tested.note(frame(s="B"), SILENT_AFTER)
    tested.look(SILENT_AFTER + 1)  # that the fourth has no data yet is a guess of ours
    assert tested.counts() == {"live": 3, "stale": 1}
    assert lapses == [14]
