"""A poll that is asked for begins after it was asked for, whatever is under way."""

import asyncio

from service.pipeline.strand import Polls


async def test_a_poll_that_was_under_way_does_not_count() -> None:
    polls = Polls()
    polls.begin()
    asked = asyncio.create_task(polls.done(polls.ask()))
    await asyncio.sleep(0)
    assert not polls.end()  # there is no time to wait: another is wanted
    await asyncio.sleep(0)
    assert not asked.done()
    polls.begin()
    assert polls.end()
    await asked


async def test_a_poll_that_failed_does_not_count() -> None:
    polls = Polls()
    polls.begin()
    polls.end()
    asked = asyncio.create_task(polls.done(polls.ask()))
    polls.begin()  # and fails: the source is begun again
    await asyncio.sleep(0)
    assert not asked.done()
    polls.begin()
    polls.end()
    await asked
