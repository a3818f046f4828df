import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.config.paths import dotted, parse_path

names = st.text(min_size=1).filter(lambda name: '"' not in name and name.isprintable() and name[0] != "$")


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("a", ("a",)),
        ("a.b[0].c", ("a", "b", 0, "c")),
        ('a."b.c"', ("a", "b.c")),
        ('"a[0]".b', ("a[0]", "b")),
        ("[0][12].b", (0, 12, "b")),
        ("team.@id", ("team", "@id")),
        ("team.#text", ("team", "#text")),
        ("first name.x-y", ("first name", "x-y")),
        ("$record", ("$record",)),
        ("$record.$oid", ("$record", "$oid")),
        ("$params.day", ("$params", "day")),
        ("id.$oid", ("id", "$oid")),
    ],
)
def test_a_path_is_split_into_names_and_indexes(text: str, path: tuple[str | int, ...]) -> None:
    assert parse_path(text) == path


@pytest.mark.parametrize(
    ("text", "place"),
    [("", 1), (".", 1), ("a.", 3), ("a..b", 3), ("a[x]", 2), ("a]", 2), ("a[0]b", 5), ('"a"b', 4), ('a."b', 3)],
)
def test_what_is_no_path_is_refused_with_the_place(text: str, place: int) -> None:
    with pytest.raises(ValueError, match=rf"at character {place},"):
        parse_path(text)


def test_an_unknown_name_of_the_envelope_is_refused_with_the_way_to_a_field_of_that_name() -> None:
    with pytest.raises(ValueError, match=r"\$oid is no part of the envelope .* is \$record\.\$oid"):
        parse_path("$oid")


def test_params_need_a_name() -> None:
    with pytest.raises(ValueError, match=r"such as \$params\.day"):
        parse_path("$params")


@given(st.text())
def test_any_text_is_a_path_or_a_value_error(text: str) -> None:
    try:
        path = parse_path(text)
    except ValueError:
        return
    assert path


@given(st.lists(names | st.integers(0, 10**6), min_size=1))
def test_a_path_that_is_written_and_read_is_the_same(path: list[str | int]) -> None:
    assert parse_path(dotted(tuple(path))) == tuple(path)
