"""Rules know what contains them and nothing else; an index finds what going through all rules would."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from service.provider.matching import Frame, Index, Match, Rule

NAMES = st.text(st.characters(codec="utf-8", exclude_characters='"\\$'), min_size=1, max_size=8)
LEAVES = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8).filter(lambda text: text != "*")
VALUES: st.SearchStrategy[Any] = st.recursive(
    LEAVES,
    lambda inner: st.dictionaries(NAMES, inner, max_size=3) | st.lists(inner, max_size=3),
    max_leaves=8,
)


def quoted(value: Any) -> Any:
    """Write names as paths."""
    if not isinstance(value, dict):
        return value
    return {f'"{name}"': quoted(inner) for name, inner in value.items()}


@given(match=st.dictionaries(NAMES, VALUES, min_size=1, max_size=3), other=st.dictionaries(st.text(), VALUES))
def test_a_message_that_holds_the_match_is_always_known(match: dict[str, Any], other: dict[str, Any]) -> None:
    rule = Rule(quoted(match))
    for body in (orjson.dumps({**other, **match}), json.dumps({**other, **match}).encode()):
        assert rule.holds(Frame(body))


@given(frame=st.binary(max_size=60) | VALUES.map(orjson.dumps))
def test_anything_else_is_data(frame: bytes) -> None:
    assert not Rule({"no such name": 1}).holds(Frame(frame))
    assert not Rule("no such text, certainly none of sixty bytes: its length alone forbids it").holds(Frame(frame))


@pytest.mark.parametrize(
    ("match", "body", "holds"),
    [
        ({"ping": "*"}, b'{"ping": 1690}', True),
        ({"ping": "*"}, b'{"ping": null}', False),
        ({"ping": "*"}, b'{"pong": 1}', False),
        ({"[1]": "hb"}, b'[17,"hb"]', True),
        ({"[1]": "hb"}, b'[17,"te",[1,2]]', False),
        ({"arg.channel": "books"}, b'{"arg":{"channel":"books","id":1}}', True),
        ({"arg": {"channel": "books"}}, b'{"arg":{"channel":"books","id":1}}', True),
        ({"arg": {}}, b'{"arg":{"channel":"books"}}', True),
        ({"arg": {}}, b'{"arg":"books"}', False),
        ({"ids": [1, 2]}, b'{"ids":[1,2]}', True),
        ("pong", b"pong", True),
        ("pong", b'"pong"', False),
    ],
)
def test_what_a_match_means(match: Any, body: bytes, holds: bool) -> None:
    assert Rule(match).holds(Frame(body)) is holds


@pytest.mark.parametrize("match", ["", {}, {"a..b": 1}, {"$nothing": 1}])
def test_a_match_that_matches_nothing_sensible_is_refused(match: Any) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Match).validate_python(match)


SMALL = st.dictionaries(
    st.sampled_from(["a", "b", "c.d"]), st.sampled_from([1, 2, "x", "*", None, True, [1]]), min_size=1, max_size=3
)
DOCUMENTS = st.fixed_dictionaries(
    {},
    optional={
        "a": st.sampled_from([1, 2, "x", None, [1]]),
        "b": st.sampled_from([1, "x", True]),
        "c": st.just(5) | st.fixed_dictionaries({"d": st.sampled_from([1, 2, "x", [1]])}),
    },
)


@given(matches=st.lists(SMALL, max_size=8), document=DOCUMENTS, gone=st.sets(st.integers(0, 7)))
def test_an_index_finds_what_going_through_all_rules_would(
    matches: list[dict[str, Any]], document: Any, gone: set[int]
) -> None:
    index: Index[object] = Index()
    owners = [object() for _ in matches]
    for owner, match in zip(owners, matches, strict=True):
        index.add(Rule(match), owner)
    for number in gone & set(range(len(owners))):
        index.discard(owners[number])
    frame = Frame(orjson.dumps(document))
    expected = {
        id(owner)
        for number, (owner, match) in enumerate(zip(owners, matches, strict=True))
        if number not in gone and Rule(match).holds(frame)
    }
    assert {id(owner) for owner in index.find(frame)} == expected
