"""What answers mean."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from service.errors import SourceLost, SourceRefused
from service.provider.answers import judge, plain, retry_after


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 599])
def test_a_failure_that_passes_is_a_source_lost(status: int) -> None:
    error = judge("GET https://a.example/x", status, "busy", "7")
    assert isinstance(error, SourceLost)
    assert error.retry_after == 7
    assert error.reason == f"GET https://a.example/x: {status}: busy"


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 405, 410, 422, 451])
def test_a_failure_that_stays_is_a_refusal(status: int) -> None:
    assert isinstance(judge("GET https://a.example/x", status, "", None), SourceRefused)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("0", 0), ("120", 120), (" 5 ", 5), ("86400", 86400), (None, None), ("", None), ("soon", None), ("-1", None)],
)
def test_retry_after_in_seconds(value: str | None, seconds: float | None) -> None:
    assert retry_after(value) == seconds


@pytest.mark.parametrize("form", ["%a, %d %b %Y %H:%M:%S GMT", "%a %b %d %H:%M:%S %Y"])
def test_retry_after_as_a_date_is_counted_from_now(form: str) -> None:
    later = datetime.now(UTC) + timedelta(hours=3)
    seconds = retry_after(later.strftime(form))
    assert seconds is not None
    assert 3 * 3600 - 10 < seconds <= 3 * 3600


def test_retry_after_in_the_past_is_now() -> None:
    assert retry_after(format_datetime(datetime(2015, 10, 21, tzinfo=UTC), usegmt=True)) == 0


@given(st.text(max_size=60))
def test_any_retry_after_is_survived(value: str) -> None:
    seconds = retry_after(value)
    assert seconds is None or seconds >= 0


def test_an_address_is_shown_without_what_may_be_secret() -> None:
    assert plain(URL("https://me:pw@a.example/x/y?key=1#z")) == "https://a.example/x/y"
