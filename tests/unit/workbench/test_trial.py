"""Trials: each record beside what becomes of it."""

from service.model import Message
from service.workbench.trial import trials
from tests.unit.transform.making import make, message


def test_a_record_is_shown_as_it_came_though_the_function_changes_it() -> None:
    transform = make({"n": "integer"}, {"n": "n"}, transform="tests.unit.transform.functions:later")
    (tried,) = trials(transform, [message([{"n": 1}])])
    assert (tried.record, tried.verdict.row) == ({"n": 1}, (101,))


def test_a_record_may_be_nested_deeply() -> None:
    nested: object = 1
    for _ in range(600):
        nested = [nested]
    (tried,) = trials(make({"id": "text"}, {"id": "id"}), [message([{"id": "a", "deep": nested}])])
    assert tried.outcome == "loads"


def test_of_a_message_that_does_not_decode_no_secret_is_shown() -> None:
    (trial,) = trials(make({"a": "integer"}), [Message(b'{"token": "abc", "a": oops', 0.0)])
    assert trial.record == '{"token":"***", "a": oops'
    assert "abc" not in trial.verdict.detail
