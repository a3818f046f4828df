"""Fixtures of the spool's tests."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from structlog.typing import EventDict

from service.buffer.files import Files
from service.buffer.spool import Spool
from tests.lanes import FEED, MIB


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture
def open_spool(path: Path) -> Callable[..., Spool]:
    """Make a spool, in the same folder each time, with small segments, that always reads from its files."""

    def make(files: Files | None = None) -> Spool:
        return Spool(path, MIB, [FEED], files=files, recent_bytes=0)

    return make


@pytest.fixture
def logs() -> Iterator[list[EventDict]]:
    """What is logged while the test runs."""
    with capture_logs() as entries:
        yield entries
