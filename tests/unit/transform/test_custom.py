"""The user's own function: what it gives is mapped, and what it breaks on costs only itself."""

import asyncio
import subprocess
import sys
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from service.transform.custom import Applied, Function
from service.transform.transform import Mapped, Piece, Transform
from tests.daemon import ROOT
from tests.unit.transform import functions
from tests.unit.transform.making import make, message

HERE = "tests.unit.transform.functions"


def transform_with(name: str, columns: dict[str, Any] | None = None, **feed: Any) -> Transform:
    return make(columns or {"n": "integer"}, transform=f"{HERE}:{name}", **feed)


async def send(name: str, *records: Any, transform: Transform | None = None) -> tuple[Applied, Mapped]:
    transform = transform or transform_with(name)
    sent = message(records)
    function = Function(f"{HERE}:{name}", transform.decode)
    applied = await function.apply([Piece(sent, transform.read(sent))])
    return applied, transform.map(applied.pieces)


async def test_its_results_are_mapped_in_place_of_the_records() -> None:
    applied, mapped = await send("double", {"n": 1}, {"n": 2})
    assert mapped.rows == [(2,), (4,)]
    assert (applied.failures, applied.filtered, applied.added) == ([], 0, 0)


async def test_a_function_that_is_not_async_runs_beside_the_loop() -> None:
    functions.IN_THREADS.clear()
    await send("double", {"n": 1})
    assert functions.IN_THREADS == [True]


@pytest.mark.parametrize(("name", "row"), [("later", (101,)), ("counter", (1,))])
async def test_a_function_may_be_async(name: str, row: Any) -> None:
    _, mapped = await send(name, {"n": 1})
    assert mapped.rows == [row]


async def test_a_record_may_become_several_or_none() -> None:
    applied, mapped = await send("several", {"n": 2}, {"n": 0}, {"n": 1}, {"n": 3})
    assert mapped.rows == [(2,), (2,), (1,), (3,), (3,), (3,)]
    assert [index for _, index in mapped.origins] == [0, 0, 2, 3, 3, 3]
    assert (applied.filtered, applied.added) == (1, 3)


async def test_none_stands_for_no_record() -> None:
    applied, mapped = await send("every_second", {"n": 1}, {"n": 2}, {"n": 3})
    assert (mapped.rows, applied.filtered) == ([(1,), (3,)], 1)


async def test_what_it_raises_costs_only_the_record_though_it_spoilt_the_others() -> None:
    applied, mapped = await send("spoil", {"n": 1}, {"n": 2, "bad": True}, {"n": 3})
    assert mapped.rows == [(1001,), (1003,)]
    (failure,) = applied.failures
    assert (failure.index, failure.reason) == (1, "transform: KeyError")
    assert "spoil raised KeyError: 'odds' [transform]; correct it" in failure.detail


@pytest.mark.parametrize(
    ("name", "said"), [("nonsense", "gave a number, not a list of records"), ("words", "gave text for a record")]
)
async def test_a_wrong_result_costs_only_its_record(name: str, said: str) -> None:
    applied, mapped = await send(name, {"n": 1}, {"n": 2})
    assert len(mapped.rows) + len(applied.failures) == 2
    assert {failure.reason for failure in applied.failures} == {"transform: wrong result"}
    assert said in applied.failures[0].detail


async def test_a_result_that_does_not_fit_is_refused_as_the_record_it_came_from() -> None:
    transform = transform_with("double", {"n": {"type": "integer", "max": 5}})
    _, mapped = await send("double", {"n": 1}, {"n": 4}, transform=transform)
    (refusal,) = mapped.refusals
    assert (mapped.rows, refusal.record, refusal.reason) == ([(2,)], b'{"n":4}', "n: max")
    assert "8 is more than the maximum 5" in refusal.detail


async def test_objects_and_values_of_python_are_taken_as_they_are() -> None:
    columns = {"n": "integer", "day": "date", "at": "timestamp", "ratio": "decimal"}
    transform = transform_with("objects", columns)
    _, mapped = await send("objects", {"n": 1}, transform=transform)
    assert mapped.rows == [(1, date(2026, 1, 2), datetime(2026, 1, 2, tzinfo=UTC), Decimal("0.1"))]


async def test_without_a_map_columns_come_from_fields_of_their_name() -> None:
    transform = transform_with("double", map=None)
    _, mapped = await send("double", {"n": 4}, transform=transform)
    assert mapped.rows == [(8,)]


async def test_what_is_no_object_passes_by_and_is_refused() -> None:
    applied, mapped = await send("double", {"n": 1}, 7)
    assert (mapped.rows, applied.failures) == ([(2,)], [])
    assert [refusal.reason for refusal in mapped.refusals] == ["record: not an object"]


@pytest.mark.parametrize("name", ["raise_odd", "raise_odd_later"])
@pytest.mark.parametrize("odd", ["exit", "cancel", "close", "stop", "mute"])
async def test_not_even_what_would_end_a_program_costs_more_than_its_record(name: str, odd: str) -> None:
    applied, mapped = await send(name, {"n": 1}, {"n": 2, "odd": odd}, {"n": 3})
    assert mapped.rows == [(1,), (3,)]
    assert [failure.index for failure in applied.failures] == [1]


async def test_a_feed_that_is_stopped_within_the_function_stops() -> None:
    transform = transform_with("wait_for_ever")
    sent = message([{"n": 1}])
    task = asyncio.create_task(
        Function(f"{HERE}:wait_for_ever", transform.decode).apply([Piece(sent, transform.read(sent))])
    )
    await functions.WAITING.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_an_async_function_may_yield() -> None:
    _, mapped = await send("yield_later", {"n": 1}, {"n": 2})
    assert mapped.rows == [(1,), (2,)]


async def test_a_function_may_take_records_out_of_its_list() -> None:
    applied, mapped = await send("take_out", {"n": 1}, {"n": 2}, {"n": 3})
    assert (mapped.rows, applied.filtered) == ([(1,), (3,)], 1)


async def test_what_an_error_says_is_shortened_and_holds_no_secret() -> None:
    applied, _ = await send("tell_all", {"n": 1})
    (failure,) = applied.failures
    assert "ValueError: {'n': 1, 'password':\"***\", 'rest': 'xxx" in failure.detail
    assert "hunter2" not in failure.detail
    assert len(failure.detail) < 300


@pytest.mark.parametrize("name", ["endless", "endless_later"])
async def test_a_generator_without_end_costs_only_its_record(name: str) -> None:
    applied, mapped = await send(name, {"n": 1}, {"n": 0})
    assert mapped.rows == [(0,)]
    (failure,) = applied.failures
    assert (failure.index, failure.reason) == (0, "transform: wrong result")
    assert failure.detail == f"{HERE}:{name} gave more than 100000 records for one [transform]; correct it"


async def test_one_record_may_become_many_and_an_async_generator_is_closed() -> None:
    functions.CLOSED.clear()
    await send("endless_later", {"n": 1})
    assert functions.CLOSED == [True, True]  # the batch, and the record by itself
    applied, mapped = await send("several", {"n": 50_000})
    assert (len(mapped.rows), applied.added) == (50_000, 49_999)


STUCK = f"""\
import asyncio
from service.transform.custom import Function
from tests.unit.transform import functions

async def main():
    task = asyncio.create_task(Function("{HERE}:stuck", lambda _: []).one({{"n": 1}}))
    await asyncio.to_thread(functions.STARTED.wait)
    task.cancel()
    await asyncio.wait([task])
    print(task.cancelled())

asyncio.run(main())
"""


def test_a_function_that_never_returns_does_not_keep_the_program_from_ending() -> None:
    ended = subprocess.run([sys.executable, "-c", STUCK], cwd=ROOT, capture_output=True, check=True, timeout=60)
    assert (ended.stdout, ended.stderr) == (b"True\n", b"")
