from pathlib import Path

import pytest

from service.config.substitute import MAX_FILE, Unsubstituted, substitute

ENVIRON = {"NAME": "value", "EMPTY": "", "NESTED": "${NAME}"}


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("${NAME}", "value"),
        ("a ${NAME} b ${NAME}", "a value b value"),
        ("${EMPTY}", ""),
        ("${EMPTY:-other}", "other"),
        ("${ABSENT:-other}", "other"),
        ("${ABSENT:-}", ""),
        ("${ABSENT:-a:-b}", "a:-b"),
        ("${NESTED}", "${NAME}"),
        ("$${NAME}", "${NAME}"),
        ("$record $$ $params.NAME ^\\d+$", "$record $$ $params.NAME ^\\d+$"),
    ],
)
def test_variables_are_replaced(text: str, result: str) -> None:
    assert substitute(text, ENVIRON) == result


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("${ABSENT}", "the variable ABSENT is not set"),
        ("${a-b}", "is not a variable"),
        ("${}", "is not a variable"),
        ("${ABSENT:-${NAME}}", "is not a variable"),
        ("${NAME", "no closing brace"),
        ("${file:/nowhere/at/all}", "the file '/nowhere/at/all' cannot be read"),
        ("${file:\0}", "not a file name"),
    ],
)
def test_what_has_no_value_is_refused(text: str, said: str) -> None:
    with pytest.raises(Unsubstituted, match=said):
        substitute(text, ENVIRON)


def test_all_that_is_missing_in_a_text_is_said_at_once() -> None:
    with pytest.raises(Unsubstituted, match=r"variable A .*; the variable B "):
        substitute("${A} ${B}", {})


def test_a_file_loses_one_newline_at_its_end(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"s3cret\n\n")
    assert substitute(f"<${{file:{secret}}}>", {}) == "<s3cret\n>"


@pytest.mark.parametrize(
    ("content", "said"), [(b"\xff\xfe", "not UTF-8"), (b"a" * (MAX_FILE + 1), "larger than")], ids=["bytes", "large"]
)
def test_a_file_that_is_no_secret_is_refused_without_its_content(tmp_path: Path, content: bytes, said: str) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(content)
    with pytest.raises(Unsubstituted, match=said):
        substitute(f"${{file:{secret}}}", {})
