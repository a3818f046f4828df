import string
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.config.tables import Column
from service.transform.code import Code, build
from service.transform.kinds import KINDS
from service.transform.violations import Violation

MOMENTS = st.datetimes().map(lambda moment: f"{moment.isoformat()}Z") | st.from_regex(
    r"(2024-?W01-?1|2024-?02-?30|20240101|2024-01-01)[T ]?"
    r"[0-9]{2}:?[0-9]{2}:?[0-9]{2}([.,][0-9]{1,9})?(Z|[+-]0[0-9]:?00)?",
    fullmatch=True,
)
NUMBERS = (
    st.integers()
    | st.integers(2**63 - 2, 2**63 + 2)
    | st.decimals(allow_nan=False, allow_infinity=False)
    | st.floats()
    | st.integers().map(str)
)
WORDS = (
    st.text() | st.text(string.printable) | st.sampled_from(["", " ", "true", "no", "\0", "\ud800", "1e400", "AAEC"])
)
EDGES = st.sampled_from(
    [
        "2026-01-02T12:00:00.1234567Z",
        "2026-01-02T12:00:00.123456Z",
        "20260102T120000.1234567Z",
        "2024-W01-1T000000.1234567Z",
        "2026-01-02T12:00:00.1234567",
        Decimal("1e309"),
        Decimal("-1e-400"),
        Decimal("1e131072"),
        Decimal("1e-16384"),
        Decimal("0e-16384"),
        Decimal("0e9"),
        Decimal("0e131071"),
        Decimal("0e131072"),
        Decimal("1." + "0" * 16_384),
    ]
)
VALUES = (
    EDGES
    | MOMENTS
    | NUMBERS
    | WORDS
    | st.booleans()
    | st.lists(st.integers())
    | st.dictionaries(st.text(), st.integers())
)


def outcome(convert: Callable[[Any], Any], value: Any) -> Any:
    try:
        stored = convert(value)
    except Violation as violation:
        return violation.rule, violation.said
    return type(stored), str(stored)


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"text"}))
@given(value=VALUES)
def test_the_lines_of_a_type_give_what_its_conversion_gives(kind: str, value: Any) -> None:
    convert = KINDS[kind].convert(Column(type=kind))  # type: ignore[arg-type]
    assert outcome(LINES[kind], value) == outcome(convert, value)


@given(value=VALUES)
def test_the_lines_of_text_trim_what_its_conversion_gives(value: Any) -> None:
    convert = KINDS["text"].convert(Column(type="text"))
    assert outcome(LINES["text"], value) == outcome(lambda sent: convert(sent).strip() or None, value)


def lines(kind: str) -> Callable[[Any], Any]:
    code, column = Code("k"), Column(type=kind)  # type: ignore[arg-type]
    KINDS[kind].emit(code, column, code.constant(KINDS[kind].convert(column)))
    return build("value(v)", [*code.lines, "return v"], code.constants)


LINES = {kind: lines(kind) for kind in KINDS}
