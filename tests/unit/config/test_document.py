import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.config.document import MAX_DEPTH, Place, parse


def codes(text: str) -> list[str]:
    return [fault.code for fault in parse(text).faults]


def test_keys_and_values_know_their_places() -> None:
    document = parse("a:\n  b: [x, 1]\n")
    assert document.data == {"a": {"b": ["x", 1]}}
    assert document.keys == {("a",): Place(1, 1), ("a", "b"): Place(2, 3)}
    assert document.values["a", "b", 1] == Place(2, 10)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("on", "on"),
        ("12:30", "12:30"),
        ("2026-01-01", "2026-01-01"),
        ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z"),
        ("1_000", "1_000"),
        ("0x1F", 31),
        ("0o17", 15),
        ("017", 17),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("-.inf", float("-inf")),
        ("True", True),
        ("~", None),
        ("''", ""),
        ("'1'", "1"),
        ("!!str 1", "1"),
        ("!!int '1'", 1),
    ],
)
def test_scalars_are_those_of_yaml_1_2(text: str, value: object) -> None:
    found = parse(f"a: {text}").data["a"]
    assert (found, type(found)) == (value, type(value))


def test_keys_are_always_text() -> None:
    assert parse("{1: a, true: b, no: c, 2026-01-01: d}").data == {"1": "a", "true": "b", "no": "c", "2026-01-01": "d"}


def test_a_key_that_comes_twice_is_a_fault_at_the_second() -> None:
    (fault,) = parse("a: 1\nb: 2\na: 3\n").faults
    assert (fault.code, fault.place, fault.message) == ("duplicate-key", Place(3, 1), "the key is already on line 1")


def test_anchors_and_merge_keys_work_and_keep_their_places() -> None:
    document = parse("x: &x {a: 1, b: 2}\ny:\n  b: 3\n  <<: *x\nz: {<<: [{a: 9}, *x]}\n")
    assert document.faults == []
    assert document.data["y"] == {"b": 3, "a": 1}
    assert document.data["z"] == {"a": 9, "b": 2}
    assert document.values["y", "a"] == Place(1, 11)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("a: b: c", "yaml-syntax"),
        ("a:\n\tb: 1", "yaml-syntax"),
        ("a: *b", "yaml-syntax"),
        ("a: 1\n---\nb: 2", "yaml-syntax"),
        ("\x00", "yaml-syntax"),
        ('a: "\\UFFFFFFFF"', "yaml-syntax"),
        ('a: "\\uD800"', "yaml-syntax"),
        ("[" * (MAX_DEPTH + 1), "yaml-syntax"),
        ("[" * 100_000, "yaml-syntax"),
        ("a: &a [*a]", "yaml-alias"),
        ("a: &a {<<: *a}", "yaml-merge"),
        ("<<: 3", "yaml-merge"),
        ("? [a]\n: 1", "yaml-key"),
        ("a: !!python/object/apply:os.system [id]", "yaml-tag"),
        ("a: !!int x", "yaml-tag"),
    ],
)
def test_what_is_wrong_as_yaml_is_a_fault(text: str, code: str) -> None:
    assert codes(text) == [code]


@pytest.mark.parametrize("wrap", ["[{0}]", "{{<<: [{0}]}}"])
def test_aliases_that_multiply_are_stopped(wrap: str) -> None:
    lines = ["a0: &a0 {x: 1}"]
    lines += [f"a{i}: &a{i} {wrap.format(', '.join([f'*a{i - 1}'] * 10))}" for i in range(1, 9)]
    assert codes("\n".join(lines)) == ["yaml-size"]


def test_an_empty_document_has_no_data_and_no_faults() -> None:
    document = parse("# nothing yet\n")
    assert (document.data, document.faults) == (None, [])


@given(st.text(alphabet=st.sampled_from("ab:-[]{}&*!<>|#'\"\\ \n\t,?~1.%@`\x85\ufeff")) | st.text())
def test_any_text_is_parsed_or_faulted(text: str) -> None:
    document = parse(text)
    assert all(fault.place.line >= 1 and fault.place.column >= 1 for fault in document.faults)
