from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
import pytest

from service.transform.texts import CLEANINGS, json, octets, text, uuid
from service.transform.violations import Violation

decode = msgspec.json.Decoder(float_hook=Decimal).decode


def rule(convert: Any, value: Any) -> str:
    with pytest.raises(Violation) as caught:
        convert(value)
    return caught.value.rule


@pytest.mark.parametrize(
    ("literal", "stored"),
    [(b"12", "12"), (b"1.10", "1.10"), (b"0.0000000001", "0.0000000001"), (b"-0.0", "-0.0"), (b"1e5", "100000")],
)
def test_a_number_becomes_text_with_the_digits_that_were_sent(literal: bytes, stored: str) -> None:
    assert text(decode(literal)) == stored


@pytest.mark.parametrize("value", [True, None, [], {}, Decimal("1e999999999"), Decimal("1e-999999999")])
def test_what_is_no_text_is_a_violation(value: Any) -> None:
    assert rule(text, value) == "text"


def test_text_that_cannot_be_written_is_a_violation() -> None:
    assert rule(text, "\ud800") == "text"
    assert rule(text, 10**5000) == "text"


def test_a_nul_is_a_violation() -> None:
    assert rule(text, "a\0b") == "nul"


def test_a_uuid_has_32_digits_with_or_without_hyphens() -> None:
    expected = UUID("6ba7b810-9dad-11d1-80b4-00c04fd430c8")
    assert uuid(" 6BA7B810-9dad-11d1-80b4-00c04fd430c8 ") == uuid(expected.hex) == expected
    assert uuid("") is None
    for wrong in ("6ba7b8109dad11d180b400c04fd4_0c8", "{6ba7b810-9dad-11d1-80b4-00c04fd430c8}", 12, "x"):
        assert rule(uuid, wrong) == "uuid"


def test_bytes_come_from_base64() -> None:
    assert octets(" AAEC ") == b"\0\1\2"
    assert octets("") is None
    for wrong in ("AAE", "A*==", "é", 12, [1]):
        assert rule(octets, wrong) == "bytes"


@pytest.mark.parametrize(
    "literal", [b'{"a":[1.10,123456789012345678901234567890,null,"\\u00e9"]}', b'"x"', b"1E+5", b"[]"]
)
def test_json_keeps_the_value_and_its_digits(literal: bytes) -> None:
    assert decode(json(decode(literal))) == decode(literal)
    assert b"1.10" not in literal or "1.10" in json(decode(literal))


def test_an_escaped_backslash_is_no_nul() -> None:
    assert decode(json({"a": "\\u0000"})) == {"a": "\\u0000"}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"a": ["x\0"]}, "nul"),
        ({"a\0": 1}, "nul"),
        ([Decimal("1e131072")], "decimal"),
        ([Decimal("1e-16384")], "decimal"),
        ([Decimal("0." + "1" * 16384)], "decimal"),
        (["\ud800"], "json"),
        ([object()], "json"),
    ],
)
def test_what_jsonb_cannot_hold_is_a_violation(value: Any, expected: str) -> None:
    assert rule(json, value) == expected


def test_json_that_is_nested_too_deeply_is_a_violation() -> None:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    assert rule(json, value) == "json"


@pytest.mark.parametrize(
    ("step", "value", "cleaned"),
    [
        ("trim", " a ", "a"),
        ("collapse", "a \n\t b", "a b"),
        ("lower", "ÀB", "àb"),
        ("upper", "àb", "ÀB"),
        ("title", "real madrid", "Real Madrid"),
        ("nfc", "e\u0301", "é"),
        ("strip_tags", "<b class='x'>a</b> < b <3<br/><!-- c -->", "a < b <3"),
        ("digits", "+44 (0)20 7946", "440207946"),
    ],
)
def test_each_cleaning_does_what_its_name_says(step: str, value: str, cleaned: str) -> None:
    assert CLEANINGS[step](value) == cleaned
