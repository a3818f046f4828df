"""Rules about answers: which one fits."""

import time
from typing import Any

import pytest

from service.config.answers import ErrorRule
from service.provider.rules import Rules, is_page


def action(rules: list[dict[str, Any]], status: int = 200, body: bytes = b"", **headers: str) -> str | None:
    return Rules([ErrorRule.model_validate(rule) for rule in rules]).action(status, headers, body)


@pytest.mark.parametrize(
    ("status", "fits"),
    [(404, [404]), ([404, 410], [404, 410]), ("4xx", [400, 404, 410, 499]), (["5xx", 404], [404, 500])],
)
def test_a_rule_fits_its_statuses(status: Any, fits: list[int]) -> None:
    found = [code for code in (200, 400, 404, 410, 499, 500) if action([{"status": status, "action": "ignore"}], code)]
    assert found == fits


def test_a_text_is_found_in_any_case_and_in_any_bytes() -> None:
    rule = {"text": "Limit EXCEEDED", "action": "rate_limited"}
    assert action([rule], body=b"\xff the limit exceeded!") == "rate_limited"
    assert action([rule], body=b"fine") is None


@pytest.mark.parametrize(
    ("when", "holds"),
    [
        ("body.error.code == 88", True),
        ("status == 400 && body.error.message.contains('slow')", True),
        ("headers['x-reason'] == 'quota'", True),
        ("body.absent.deeper == 1", False),
        ("status + 'text' == 1", False),
        ("has(body.error)", True),
        ("body.error", False),
    ],
)
def test_an_expression_sees_status_headers_and_body(when: str, holds: bool) -> None:
    body = b'{"error": {"code": 88, "message": "slow down"}}'
    found = action([{"when": when, "action": "retry"}], 400, body, **{"X-Reason": "quota"})
    assert (found == "retry") is holds


@pytest.mark.parametrize("body", [b"", b"not json", b'{"cut": ', b"[" * 5000, b"\xff\xfe"])
def test_a_body_that_is_no_json_is_text(body: bytes) -> None:
    assert action([{"when": "body.error == 1", "action": "retry"}], body=body) is None
    assert action([{"when": "size(body) >= 0", "action": "retry"}], body=body) == "retry"


def test_all_conditions_of_a_rule_must_hold_and_the_first_rule_that_fits_decides() -> None:
    rules: list[dict[str, Any]] = [
        {"status": 400, "text": "expired", "action": "refresh_token"},
        {"status": 400, "when": "body.page > 5", "action": "reset_pagination"},
        {"status": "4xx", "action": "ignore"},
    ]
    assert action(rules, 400, b"token expired") == "refresh_token"
    assert action(rules, 400, b'{"page": 6}') == "reset_pagination"
    assert action(rules, 400, b'{"page": 5}') == "ignore"
    assert action(rules, 500, b"token expired") is None


@pytest.mark.parametrize(
    ("body", "page"),
    [
        (b"<!DOCTYPE html><html>", True),
        (b"\xef\xbb\xbf\r\n <!doctype HTML PUBLIC>", True),
        (b"<html lang='en'>", True),
        (b"<?xml version='1.0'?>\n<!-- a --><!-- b --> <!DOCTYPE html>", True),
        (b"<htmlish/>", False),
        (b"<?xml version='1.0'?><matches/>", False),
        (b'{"html": "<html>"}', False),
        (b"id;name\n1;<html>", False),
        (b"", False),
    ],
)
def test_a_web_page_is_known_by_how_it_begins(body: bytes, page: bool) -> None:
    assert is_page(body) is page


def test_a_hostile_page_costs_no_time() -> None:
    started = time.monotonic()
    for body in (b"<!---->" * 9000, b"<!--" * 16000, b" " * 65536, b"<?xml" * 13000):
        assert not is_page(body)
    assert time.monotonic() - started < 1
