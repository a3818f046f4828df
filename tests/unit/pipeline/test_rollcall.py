"""The roll call: only a set that was seen whole, and understood to the last record, deletes anything."""

import asyncio
import json
from typing import Any

from service.config.settings import Batch as BatchBounds
from service.config.tables import Table
from service.errors import FormatError
from service.model import Message
from service.pipeline.batch import Batches, Parsed
from service.pipeline.rollcall import RollCall, snapshot_of
from service.sources.rest import Rest
from service.store.write import Sweep
from service.transform.transform import Piece, Transform

TABLE = Table.model_validate({"key": ["source", "id"], "columns": {"source": "text", "id": "integer", "n": "integer"}})
MAP = {"source": {"const": "acme"}, "id": "id", "n": "n"}


class Roll:
    """A roll call behind a real transform."""

    def __init__(self, **feed: Any) -> None:
        settings = Rest.model_validate({"into": "t", "map": MAP, "absent": "delete", "path": "/", **feed})
        self.transform = Transform("acme.all", settings, {"t": TABLE})
        assert self.transform.keys is not None
        self.call = RollCall("acme.all", "t", self.transform.keys, mark=False)

    def page(self, records: Any, walk: str | None, number: int = 0, *, last: bool = True) -> Sweep | None:
        body = records if isinstance(records, bytes) else json.dumps(records).encode()
        meta = None if walk is None else {"set": walk, "page": number, "last": last}
        return self.call.note(*self._parse(Message(body, 5.0, None, meta)))

    def _parse(self, message: Message) -> tuple[Message, Parsed]:
        try:
            mapped = self.transform.map([Piece(message, self.transform.read(message))])
        except FormatError:
            return message, Parsed(lost=[None])
        parsed = Parsed()
        parsed.add(mapped, [message])
        return message, parsed


def record(key: Any, n: Any = 1) -> dict[str, Any]:
    return {"id": key, "n": n}


def keys(sweep: Sweep | None) -> list[int]:
    assert sweep is not None
    assert sweep.scope == {"source": "acme"}
    return sorted(key[1] for key in sweep.keys)


def test_the_keys_of_all_pages_are_gathered_and_told_with_the_last() -> None:
    roll = Roll()
    assert roll.page([record(1), record(2)], "one", 0, last=False) is None
    assert roll.page([record(2)], "one", 1, last=False) is None
    assert keys(roll.page([record(3)], "one", 2)) == [1, 2, 3]
    assert keys(roll.page([record(4)], "two")) == [4]
    assert roll.call.trouble is None


def test_an_empty_set_is_a_set() -> None:
    assert keys(Roll().page([], "one")) == []


def test_a_refused_record_was_seen_if_its_key_can_be_told() -> None:
    assert keys(Roll().page([record(1), record(2, "many")], "one")) == [1, 2]


def test_a_record_that_where_leaves_out_is_not_in_the_set() -> None:
    assert keys(Roll(where="n > 0").page([record(1), record(2, 0)], "one")) == [1]


def test_a_set_with_a_record_that_is_not_known_deletes_nothing_and_says_so() -> None:
    roll = Roll()
    for records in ([record(1), record("x")], [record(1), 7], [record(1), [2]], b"not json"):
        assert roll.page(records, str(records)) is None
        assert roll.call.trouble == "absent rows stay: a record of which not even the key can be told"
    assert keys(roll.page([record(1)], "next")) == [1]
    assert roll.call.trouble is None


def test_a_set_whose_first_pages_an_earlier_run_saw_deletes_nothing() -> None:
    roll = Roll()
    assert roll.page([record(2)], "one", 1, last=False) is None
    assert roll.page([record(3)], "one", 2) is None
    assert roll.call.trouble is not None
    assert keys(roll.page([record(1)], "two")) == [1]


def test_a_set_that_breaks_off_deletes_nothing_and_says_so() -> None:
    roll = Roll()
    assert roll.page([record(1)], "one", 0, last=False) is None
    assert roll.page([record(2)], "two", 0, last=False) is None
    assert roll.call.trouble == "absent rows stay: the set broke off before its last page"
    assert roll.page([record(3)], "two", 2) is None
    assert keys(roll.page([record(1)], "three")) == [1]


def test_a_message_that_belongs_to_no_set_ends_the_set() -> None:
    roll = Roll()
    assert roll.page([record(1)], "one", 0, last=False) is None
    assert roll.page(b"oops", None) is None
    assert roll.page([record(2)], "one", 1) is None


async def test_a_batch_ends_with_the_set() -> None:
    roll = Roll()
    batches = Batches(roll.transform, BatchBounds())
    sweep = roll.page([record(1)], "one")
    message = Message(b"", 1.0)
    await batches.add(1, Parsed([message], [0]))
    adding = batches.add(2, Parsed([message], [0], sweep=sweep))
    batches.abandon()  # nobody takes it here: adding to a full batch waits
    await adding
    async with asyncio.timeout(10):
        batch = await batches.take(60)  # at once, however long it may linger
    assert batch is not None
    assert batch.write("acme.all", "lane", None).sweep is sweep


def test_a_snapshot_is_of_one_value_and_of_the_greatest_version_in_it() -> None:
    roll = Roll(absent=None, snapshot=["id"])
    made = Table.model_validate({**TABLE.model_dump(), "version": "n"})
    assert roll.transform.keys is not None
    roll.call = RollCall("acme.all", "t", roll.transform.keys, mark=False, snapshot=snapshot_of(["id"], made))
    found = roll.page([record(1, 7), record(1, 9), record(1, 8)], "one")
    assert found is not None
    assert (found.scope, found.until) == ({"source": "acme", "id": 1}, 9)
    assert roll.page([record(1, 7), record(2, 9)], "two") is None
    assert roll.call.trouble == "absent rows stay: a snapshot of 2 different values of id, not of one"
    assert roll.page([], "three") is None
    again = roll.page([record(2, 3)], "four")
    assert again is not None
    assert (again.scope["id"], again.until) == (2, 3)
