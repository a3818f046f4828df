"""What answers mean."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from yarl import URL

from service.config.answers import Action
from service.errors import AnswerIgnored, SourceLost, SourceRefused, TokenRefused, WalkRefused
from service.provider.answers import judge, plain, retry_after, usual_action


@pytest.mark.parametrize(
    ("statuses", "action"),
    [
        ([200, 204, 206, 304], None),
        ([401], "refresh_token"),
        ([429], "rate_limited"),
        ([408, 425, 500, 502, 503, 504, 599], "retry"),
        ([300, 301, 400, 402, 403, 404, 405, 410, 422, 451], "fail"),
    ],
)
def test_a_status_says_what_follows(statuses: list[int], action: str | None) -> None:
    assert {usual_action(status) for status in statuses} == {action}


@pytest.mark.parametrize(
    ("action", "error"),
    [
        ("retry", SourceLost),
        ("rate_limited", SourceLost),
        ("ignore", AnswerIgnored),
        ("fail", SourceRefused),
        ("refresh_token", TokenRefused),
        ("reset_pagination", WalkRefused),
    ],
)
def test_an_action_is_an_error_with_its_reason(action: Action, error: type[SourceLost | SourceRefused]) -> None:
    raised = judge(action, "GET https://a.example/x: 503: busy", 7)
    assert type(raised) is error
    assert raised.reason == "GET https://a.example/x: 503: busy"
    assert getattr(raised, "retry_after", None) == (7 if error is SourceLost else None)


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


@example("0\x1f")
@given(st.text(max_size=60))
def test_any_retry_after_is_survived(value: str) -> None:
    seconds = retry_after(value)
    assert seconds is None or seconds >= 0


def test_an_address_is_shown_without_what_may_be_secret() -> None:
    assert plain(URL("https://me:pw@a.example/x/y?key=1#z")) == "https://a.example/x/y"
