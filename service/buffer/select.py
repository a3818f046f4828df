"""Which buffer the configuration asks for."""

from collections.abc import Sequence

from service.buffer.memory import Memory
from service.buffer.spool import Spool
from service.config.settings import BufferSettings
from service.model import Buffer


def open_buffer(settings: BufferSettings, feeds: Sequence[str]) -> Buffer:
    """Give the buffer, to be entered.

    Args:
        settings: the ``buffer`` part of the configuration.
        feeds: the names of all feeds; each is sure of its share of the room.
    """
    match settings.kind:
        case "memory":
            return Memory(settings.max_bytes, feeds)
        case "spool":
            return Spool(settings.path, settings.max_bytes, feeds)
