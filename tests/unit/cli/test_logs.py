"""The log: no local variable, and so no password, gets into it with a traceback."""

import pytest
import structlog

from service.cli.logs import set_up_logging
from service.config.settings import Log


@pytest.mark.parametrize("style", ["console", "json"])
def test_a_traceback_shows_no_local_variables(style: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        set_up_logging(Log.model_validate({"format": style}))
        password = "hush" * 2
        try:
            _ = {0: 0}[len(password)]
        except KeyError:
            structlog.get_logger().exception("feed failed")
    finally:
        structlog.reset_defaults()
    said = capsys.readouterr().err
    assert "test_logs.py" in said
    assert "hushhush" not in said
