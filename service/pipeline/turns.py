"""Turns: the order in which the batches of a feed are committed, while the next is already on its way."""

import asyncio
import time

from service.pipeline.events import first_of

MOST_SECONDS = 30.0
"""The longest that a batch waits for its turn with a transaction open."""


class NotYet(Exception):  # noqa: N818  it is no error: the batch is written again when its turn has come
    """It is not the batch's turn, and will not be soon."""


class Turn:
    """A batch's place in the order.

    Attributes:
        before: the turn of the batch before, as long as that is not known to be done.
        done: set once the batch is committed.
        held_up: set once it could not be: whoever comes next does not wait with a transaction open.
        waited: seconds that the batch has waited for the one before.
    """

    def __init__(self, before: "Turn | None" = None) -> None:
        self.before = before
        self.done = asyncio.Event()
        self.held_up = asyncio.Event()
        self.waited = 0.0

    @property
    def is_ahead(self) -> bool:
        """Whether the batch before is yet to be committed."""
        return self.before is not None and not self.before.done.is_set()

    async def comes(self) -> None:
        """Wait until the batch before is committed.

        Raises:
            NotYet: that takes its time.
        """
        before = self.before
        if before is not None and self.is_ahead:
            started = time.monotonic()
            try:
                async with asyncio.timeout(MOST_SECONDS):
                    await first_of(before.done, before.held_up)
            except TimeoutError:
                raise NotYet from None
            finally:
                self.waited += time.monotonic() - started
            if self.is_ahead:
                raise NotYet
        self.before = None
