"""Masking: what a text of any format holds under a secret name is not shown, and known secrets are nowhere."""

import pytest

from service.jsontext import beginning
from service.masking import hidden_raw, without


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"token":"abc"...', '{"token":"***"...'),
        ('{"id": 1, "Password": "cut in tw', '{"id": 1, "Password":"***"'),
        ('{"api_key": 123, "id": 1', '{"api_key":"***", "id": 1'),
        ('{"tokens": ["abc", {"b": "def"', '{"tokens":"***"'),
        ('{"credentials": {"user": "abc", "id": 1}', '{"credentials":"***"'),
        ("<r><password>abc</password><id>1</id>", "<r><password>***</password><id>1</id>"),
        ('<r token="abc" id="1"', '<r token=*** id="1"'),
        ("token=abc&id=1", "token=***&id=1"),
        ("Authorization: Bearer abc\nid: 1", "Authorization: ***\nid: 1"),
        ("https://user:abc@host/", "https://***@host/"),
        ('{"id": 1, "status": "live"', '{"id": 1, "status": "live"'),
    ],
)
def test_a_value_under_a_secret_name_is_three_stars_in_whatever_was_sent(text: str, expected: str) -> None:
    assert hidden_raw(text) == expected
    assert "abc" not in beginning(text.encode())


def test_a_secret_that_is_cut_where_the_beginning_ends_is_not_shown() -> None:
    assert beginning(b'{"id": 1234567890, "token": "abcdefghijklmnopqrstuvwxyz"}') == (
        '\'{"id": 1234567890, "token":"***"}\''
    )
    assert beginning(b'{"token": "' + b"x" * 10_000) == '\'{"token":"***"\''


def test_known_secrets_are_taken_out_the_longer_first_and_short_words_stay() -> None:
    assert without("no s3cret2, s3cret or to", ["s3cret", "s3cret2", "to"]) == "no ***, *** or to"
