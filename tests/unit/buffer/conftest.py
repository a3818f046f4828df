"""What the tests of the spool share."""

from collections.abc import Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from structlog.typing import EventDict

from service.buffer.files import Files
from service.buffer.spool import Spool

FEED = "acme.scores"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture
def spool(path: Path) -> Callable[..., Spool]:
    """Make a spool in the same folder each time; small segments, reading from the files."""

    def make(files: Files | None = None, max_bytes: int = 1 << 20, recent_bytes: int = 0) -> Spool:
        return Spool(path, max_bytes, [FEED], files=files, recent_bytes=recent_bytes)

    return make


@pytest.fixture
def logs() -> object:
    """What is logged while the test runs."""
    with capture_logs() as entries:
        yield entries


Logs = list[EventDict]
