"""What passes between us and a provider besides data, told to whoever watches: a recording, for one.

Who watches does so for the task that runs a source, and those that it starts.
"""

from contextvars import ContextVar
from typing import Protocol


class Witness(Protocol):
    """Is told, at once, and in order. What it is told may hold secrets."""

    def opened(self, address: str) -> None:
        """A connection is open."""

    def sent(self, text: str) -> None:
        """We sent this."""

    def heard(self, text: str | bytes) -> None:
        """The provider said this, and it is no data."""


WITNESS: ContextVar[Witness | None] = ContextVar("witness", default=None)


def opened(address: str) -> None:
    """Tell that a connection is open; of its address only what may be shown."""
    if (witness := WITNESS.get()) is not None:
        witness.opened(address)


def sent(text: str) -> None:
    """Tell what was sent."""
    if (witness := WITNESS.get()) is not None:
        witness.sent(text)


def heard(text: str | bytes) -> None:
    """Tell what the provider said that is no data."""
    if (witness := WITNESS.get()) is not None:
        witness.heard(text)
