"""Places in what is sent: filled with values of any type, left out, or told to be unknown."""

from typing import Any

import pytest

from service.provider.template import Unfilled, check, fill, message

VALUES = {
    "item": "BTC",
    "items": ["BTC", 7],
    "number": 3,
    "reply": {"id": 9, "a": [{"b": "c"}]},
    "replies": [{"token": "t"}],
    "resume": {"clk": "x1"},
}


@pytest.mark.parametrize(
    ("template", "filled"),
    [
        ("{item}", "BTC"),
        ("{items}", ["BTC", 7]),
        ("trades:{item}@{number}", "trades:BTC@3"),
        ({"id": "{number}", "args": ["{item}"]}, {"id": 3, "args": ["BTC"]}),
        ("{reply.a[0].b}{replies[0].token}", "ct"),
        ({"{item}": 1}, {"BTC": 1}),
        ({"clk": "{resume.clk}", "other": "{resume.other}"}, {"clk": "x1"}),
        (["{resume.other}", "a{resume.other}b"], ["ab"]),
        ('{"op":"ping"}', '{"op":"ping"}'),
        ({"deep": {"as": [True, None, 1.5]}}, {"deep": {"as": [True, None, 1.5]}}),
    ],
)
def test_places_are_filled(template: Any, filled: Any) -> None:
    assert fill(template, VALUES) == filled


def test_a_place_without_a_value_is_told() -> None:
    with pytest.raises(Unfilled, match=r"there is no \{reply.nothing\}"):
        fill({"a": ["{reply.nothing}"]}, VALUES)


def test_a_text_is_sent_as_it_is_and_anything_else_as_json() -> None:
    assert message("LOGIN {item}", VALUES) == "LOGIN BTC"
    assert message({"n": "{number}"}, VALUES) == '{"n":3}'


@pytest.mark.parametrize("template", ["{itme}", {"a": ["x {reply.a..b}"]}, {"{nothing}": 1}])
def test_a_name_or_path_that_cannot_be_filled_is_refused_beforehand(template: Any) -> None:
    with pytest.raises(ValueError, match=r"not known here|not a path"):
        check(template, frozenset({"item", "reply"}))


def test_what_looks_like_json_is_no_place() -> None:
    assert check('{"op": "subscribe", "args": {}}', frozenset({"item"}))
