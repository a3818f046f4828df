"""``delete_when``: which records delete, and that nothing else of them matters."""

from typing import Any

import msgspec

from service.config.feeds import FeedSettings
from service.config.tables import Table
from service.model import Message
from service.transform.transform import Mapped, Piece, Transform

COLUMNS: dict[str, Any] = {"id": "text", "at": "integer", "score": {"type": "integer", "max": 9}}


def load(*records: Any, **options: Any) -> Mapped:
    columns = options.pop("columns", COLUMNS)
    table = Table.model_validate({"key": "id", "version": "at", "columns": columns})
    feed = {"into": "t", "map": {name: name for name in columns}, "delete_when": "gone == true", **options}
    transform = Transform("acme.scores", FeedSettings.model_validate(feed), {"t": table}, {"t"})
    message = Message(msgspec.json.encode(records), 1.0)
    return transform.map([Piece(message, transform.read(message))])


def test_a_deletion_needs_only_its_key_and_version() -> None:
    mapped = load({"id": "a", "at": 1, "score": 2}, {"id": "a", "at": 3, "gone": True, "score": "none"})
    assert mapped.rows == [("a", 1, 2, False), ("a", 3, None, True)]
    assert mapped.refusals == []


def test_a_deletion_without_its_key_is_refused_for_that_alone() -> None:
    mapped = load({"at": 3, "gone": True, "score": "none"})
    assert [refusal.reason for refusal in mapped.refusals] == ["id: required"]
    assert "none" not in mapped.refusals[0].detail


def test_a_deletion_whose_version_may_be_null_deletes_though_the_version_is_wrong() -> None:
    columns = COLUMNS | {"at": {"type": "integer", "null": True, "on_invalid": "null"}}
    assert load({"id": "a", "at": "soon", "gone": True}, columns=columns).rows == [("a", None, None, True)]


def test_a_row_that_is_mended_is_no_deletion() -> None:
    columns = COLUMNS | {"score": {"type": "integer", "null": True, "on_invalid": "null"}}
    assert load({"id": "a", "at": 1, "score": "x"}, columns=columns).rows == [("a", 1, None, False)]


def test_where_is_asked_first() -> None:
    mapped = load({"id": "a", "at": 1, "gone": True, "kind": "other"}, where="kind == 'score'")
    assert (mapped.rows, mapped.filtered) == ([], 1)


def test_an_expression_that_cannot_be_computed_is_named() -> None:
    mapped = load({"id": "a", "at": 1, "score": 1, "gone": "x"}, delete_when="gone > 1")
    assert [refusal.reason for refusal in mapped.refusals] == ["delete_when: not computable"]
    assert "`delete_when: gone > 1`" in mapped.refusals[0].detail


def test_a_feed_that_deletes_nothing_says_so_in_a_table_where_another_does() -> None:
    assert load({"id": "a", "at": 1, "score": 1, "gone": True}, delete_when=None).rows == [("a", 1, 1, False)]
