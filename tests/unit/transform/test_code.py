import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.transform.code import Code, build
from service.transform.transform import Piece
from tests.unit.transform.making import make, message, run

NASTY = [
    "'); raise SystemExit  #",
    '"""',
    "v\n    import os",
    "\\",
    "{v}",
    "k0_0",
    "__import__('os')",
    "None",
    "\u2028",
    "é'%s",
]


def test_lines_close_over_their_constants() -> None:
    code = Code("k")
    code.add(f"v = {code.constant([1])} + {code.constant([2])}")
    assert build("value(r)", [*code.lines, "return v, r"], code.constants)(3) == ([1, 2], 3)


def test_guarded_lines_run_only_where_there_is_a_value() -> None:
    code = Code("k")
    code.add("v = v + 1")
    code.unless_null(0)
    value = build("value(v)", [*code.lines, "return v"], code.constants)
    assert value(1) == 2
    assert value(None) is None


@pytest.mark.parametrize("word", NASTY)
def test_no_word_of_the_configuration_becomes_code(word: str) -> None:
    columns = {
        word: {"type": "text", "trim": False, "values": [word, "other"], "default": "other"},
        "constant": {"type": "text", "trim": False},
        "matched": {"type": "text", "trim": False, "pattern": re.escape(word), "on_invalid": "null", "null": True},
    }
    field = "x" if '"' in word else f'"{word}"'
    mapping = {
        word: {"from": [field], "values": {"in": word}, "otherwise": word},
        "constant": {"const": word},
        "matched": "plain",
    }
    mapped = run(make(columns, mapping), {word: "in", "x": "out", "plain": word}, {"plain": "no match"})
    assert mapped.rows == [(word, word, word), ("other", word, None)]


@given(st.text(min_size=1).filter(lambda name: '"' not in name), st.integers(0, 9))
def test_any_name_of_a_column_and_a_field_finds_its_value(name: str, value: int) -> None:
    transform = make({name: {"type": "integer", "max": 5}})
    mapped = transform.map([Piece(message([]), [{name: value}])]) if value <= 5 else None
    assert mapped is None or mapped.rows == [(value,)]
